"""Running contestants alternately, and measuring each as a whole process."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.results import Bar, Bars, Run, Table

if TYPE_CHECKING:
    import resource

Command = Sequence[str | Path]

MB = 10**6
_QUIT_SECONDS = 120
_LOOK_SECONDS = 0.05


@dataclass
class Contestant:
    """`run` is given the number of the repeat, for names that must be new each time; `after` runs
    when it has ended, outside the measured time. `amount` is what a run of it moves, if that is
    not what the others move.

    Nothing may delete many files before the last repeat: ext4 without a journal avoids their inodes
    for a minute, and making files takes up to ten times as long meanwhile.
    """

    name: str
    run: Callable[[int], Run]
    after: Callable[[int], None] = lambda _: None
    amount: float = 0
    runs: list[Run] = field(default_factory=list)


def contest(
    contestants: Sequence[Contestant], repeats: int, source: Path | None = None
) -> dict[str, list[Run]]:
    """Let each run once, then each again, neighbours changing places: what disturbs the machine
    meets all of them, and of the first two, each comes as often first as second.

    The files of `source` are read before each run.
    """
    for number in range(repeats):
        for place in sorted(range(len(contestants)), key=(number % 2).__xor__):
            each = contestants[place]
            if source is not None:
                read_through(source)
            each.runs.append(each.run(number))
            print(f"  {each.name}: {each.runs[-1].seconds:.2f} s", file=sys.stderr)
            each.after(number)
    return {each.name: each.runs for each in contestants}


def read_through(source: Path) -> None:
    """Read all files of `source`: a machine may take what nobody uses out of its page cache, where
    they would be after an acquisition."""
    for each in source.rglob("*") if source.is_dir() else [source]:
        if each.is_file():
            with open(each, "rb") as file:
                while file.read(MB):
                    pass


def rates(contestant: Contestant, amount: float) -> Bar:
    moved = contestant.amount or amount
    return Bar.of(contestant.name, [moved / run.seconds for run in contestant.runs])


def rated(title: str, contestants: Sequence[Contestant], amount: float, unit: str) -> Table:
    """Rates of `amount`, in MB or files, and what that costs."""
    cost = "CPU s per GB" if unit == "MB" else "CPU ms each"
    table = Table(title, [f"{unit}/s", "min", "max", cost, "peak MB"], [])
    for each in contestants:
        cpu = statistics.median(run.cpu for run in each.runs) * 1000 / (each.amount or amount)
        peak = max(run.rss for run in each.runs) / MB
        table.rows.append([*rates(each, amount).cells(), cpu, peak])
    return table


def compared(title: str, contestants: Sequence[Contestant], amount: float, unit: str) -> Table:
    """The same, and how the first of them, openmsi, compares with each."""
    table = rated(title, contestants, amount, unit)
    table.columns.insert(3, "openmsi / this")
    ours = rates(contestants[0], amount).median
    for row, each in zip(table.rows, contestants, strict=True):
        row.insert(4, ours / rates(each, amount).median)
    return table


def panel(title: str, contestants: Sequence[Contestant], amount: float, unit: str) -> Bars:
    """The same as bars."""
    return Bars(title, f"{unit}/s", [rates(each, amount) for each in contestants])


def process(command: Callable[[int], Command]) -> Callable[[int], Run]:
    """A contestant's `run` that is one process, from its start to its end."""
    return lambda number: measured(command(number))


def measured(command: Command, finished: Callable[[], bool] | None = None) -> Run:
    """Run it to its end; or until `finished`, then type `q` for it to end. What it needs for
    ending is not in its seconds, but in its CPU.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    os.sync()  # nobody pays for what another one wrote
    with tempfile.TemporaryFile() as said:
        began = time.monotonic()
        running = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL if finished is None else subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            with _Peak(running.pid) as peak:
                if finished is None:
                    _, status, usage = os.wait4(running.pid, 0)
                    seconds = time.monotonic() - began
                else:
                    seconds = _until(finished, running) - began
                    status, usage = _quit(running)
            running.returncode = os.waitstatus_to_exitcode(status)
        finally:
            if running.stdin is not None:
                running.stdin.close()
            if running.returncode is None:
                running.kill()
                running.wait()
        if running.returncode:
            said.seek(0)
            shown = said.read().decode(errors="replace")[-2000:]
            raise RuntimeError(f"exit code {running.returncode}: {command}\n{shown}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak.rss)


class _Peak:
    """The largest resident set of a process, read now and then while it runs.

    What wait4 tells would not do: it is never less than the peak of this program, since Linux
    counts what a process has before exec, too.
    """

    def __init__(self, pid: int) -> None:
        self.rss = 0
        self._pid = pid
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        over = False
        while not over:
            self.rss = max(self.rss, peak_rss(self._pid))
            over = self._over.wait(_LOOK_SECONDS)


def peak_rss(pid: int) -> int:
    """Of a process until now, in bytes; 0 if it has ended. Linux only."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def _until(finished: Callable[[], bool], running: subprocess.Popen[bytes]) -> float:
    while True:
        began = time.monotonic()
        if finished():
            return began
        if _has_ended(running):
            raise RuntimeError(f"it ended by itself: {running.args!r}")
        # To look through many files takes a while, and is not to slow down who makes them.
        time.sleep(max(0.005, 5 * (time.monotonic() - began)))


def _quit(running: subprocess.Popen[bytes]) -> tuple[int, resource.struct_rusage]:
    assert running.stdin is not None
    running.stdin.write(b"q\n")
    running.stdin.flush()
    deadline = time.monotonic() + _QUIT_SECONDS
    while not _has_ended(running):
        if time.monotonic() > deadline:
            raise RuntimeError(f"it does not end: {running.args!r}")
        time.sleep(0.02)
    return os.wait4(running.pid, 0)[1:]


def _has_ended(running: subprocess.Popen[bytes]) -> bool:
    # Not Popen.poll: that would take the exit status, and with it the usage.
    return os.waitid(os.P_PID, running.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def remove(path: Path) -> None:
    """A file or a tree, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
