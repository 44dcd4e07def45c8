"""Child processes that outlive us, and are still known for ours when we come back.

A pid alone does not name a process: the system gives it to another one after the first has ended.
So each process that we start is remembered with its birth, an opaque text that no other process
with that pid has, and no signal is sent unless both fit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

# Children of this very process: they must be reaped, or they stay as zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


class ProcessId(msgspec.Struct, frozen=True):
    """A process for certain: its pid and when it was born."""

    pid: int
    birth: str


def spawn(command: Sequence[str], directory: Path, output: Path) -> ProcessId:
    """Start a program detached from us and our terminal, with its console written to `output`.

    Raises:
        OSError: the program or the output file cannot be opened.
    """
    flags = 0
    if sys.platform == "win32":
        flags = subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP
    with open(output, "wb") as console:
        child = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            env=environment(),
            start_new_session=True,
            creationflags=flags,
        )
    _children[child.pid] = child
    return ProcessId(child.pid, _birth(child.pid) or "")


def environment() -> dict[str, str]:
    """The environment for Java, in which it can open paths that are not ASCII."""
    locale = {"LC_ALL": "C.UTF-8"} if sys.platform == "linux" else {}
    return {**os.environ, **locale}


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs."""
    child = _children.get(process.pid)
    if child is not None:
        if child.poll() is None:
            return True
        del _children[process.pid]
    return process.birth != "" and _birth(process.pid) == process.birth


def stop(processes: Sequence[ProcessId], timeout: float) -> bool:
    """Ask processes to end, all at once; after `timeout` seconds end them the hard way.

    Returns whether all have ended.
    """
    for process in processes:
        _send(process, signal.SIGTERM)
    return wait_gone(processes, timeout) or kill(processes)


def kill(processes: Sequence[ProcessId]) -> bool:
    """End processes the hard way; returns whether all have ended."""
    # Windows knows only the hard way, under the name of the soft one.
    hard = getattr(signal, "SIGKILL", signal.SIGTERM)
    for process in processes:
        _send(process, hard)
    return wait_gone(processes, 10)


def wait_gone(processes: Sequence[ProcessId], timeout: float) -> bool:
    """Wait at most `timeout` seconds for all to end; whether they did."""
    deadline = time.monotonic() + timeout
    while any(is_alive(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _send(process: ProcessId, number: int) -> None:
    if is_alive(process):
        # Windows says "no permission" of a process that has ended meanwhile.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


if sys.platform == "linux":

    def _birth(pid: int) -> str | None:
        """When a running process was born; None if there is none (proc(5), fields 3, 20, 22)."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        # The program's name, in parentheses, may hold spaces and parentheses itself.
        fields = stat.rpartition(")")[2].split()
        state, threads, start = fields[0], int(fields[17]), fields[19]
        # Its first thread ends before the others, which still hold its ports and files.
        ended = state in "ZX" and threads <= 1
        return None if ended else f"{boot}:{start}"

elif sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY_LIMITED_INFORMATION = 0x1000
    _STILL_ACTIVE = 259
    _kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel32.OpenProcess.restype = wintypes.HANDLE
    _kernel32.OpenProcess.argtypes = [wintypes.DWORD, wintypes.BOOL, wintypes.DWORD]
    _kernel32.GetExitCodeProcess.argtypes = [wintypes.HANDLE, ctypes.POINTER(wintypes.DWORD)]
    _kernel32.GetProcessTimes.argtypes = [wintypes.HANDLE, *[ctypes.POINTER(wintypes.FILETIME)] * 4]
    _kernel32.CloseHandle.argtypes = [wintypes.HANDLE]

    def _birth(pid: int) -> str | None:
        """When a running process was born; None if there is none (GetProcessTimes)."""
        handle = _kernel32.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
        if not handle:
            return None
        try:
            code = wintypes.DWORD()
            created, *rest = (wintypes.FILETIME() for _ in range(4))
            _kernel32.GetExitCodeProcess(handle, ctypes.byref(code))
            known = _kernel32.GetProcessTimes(
                handle, ctypes.byref(created), *(ctypes.byref(other) for other in rest)
            )
        finally:
            _kernel32.CloseHandle(handle)
        if code.value != _STILL_ACTIVE or not known:
            return None
        return f"{created.dwHighDateTime}:{created.dwLowDateTime}"

else:

    def _birth(pid: int) -> str | None:
        """When a running process was born; None if there is none (ps(1), to the second)."""
        answer = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            check=False,
        )
        state, _, born = answer.stdout.strip().partition(" ")
        return None if not born or state.startswith("Z") else born.strip()
