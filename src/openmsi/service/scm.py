"""The agent under the service manager of Windows."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from typing import Any

import msgspec

from openmsi.errors import ConfigError, ServiceError, UsageError
from openmsi.service.manager import ServiceStatus, Spec, Verb
from openmsi.service.places import WindowsPlaces
from openmsi.service.plan import (
    HIDDEN,
    Delete,
    MakeDirectory,
    Plan,
    Run,
    Step,
    WriteFile,
    command_line,
)

_EVENTS = r"HKLM\SYSTEM\CurrentControlSet\Services\EventLog\Application"
_SERVICES = r"SYSTEM\CurrentControlSet\Services"
# The system, administrators, and users: the same in every language of Windows.
_SYSTEM, _ADMINISTRATORS, _USERS = "*S-1-5-18", "*S-1-5-32-544", "*S-1-5-32-545"
_PROGRAM = "-m openmsi.service.windows"
_AGAIN = "restart/2000/restart/2000/restart/60000"  # milliseconds
_OWN_CODE, _NEVER_STARTED = 1066, 1077
_STATES = {
    1: "stopped",
    2: "starting",
    3: "stopping",
    4: "running",
    5: "continuing",
    6: "pausing",
    7: "paused",
}


class WindowsServices:
    """The service `name` of the machine. It runs as LocalSystem."""

    def __init__(self, name: str, *, user: bool = False) -> None:
        if user:
            cure = "Leave --user out; or put `openmsi run FILE` into the folder shell:startup."
            raise UsageError("--user", "Windows has no services of a user", cure)
        self._name = name
        self._at = WindowsPlaces(name)

    def install(self, spec: Spec) -> Plan:
        for text in spec.named:
            _refuse_mapped(text)
        before = self._program()
        if before and _PROGRAM not in before:
            why = f"a service of this name is there and runs {before}"
            raise ServiceError(f"service {self._name}", why, "Choose another --name.")
        at = self._at
        everything = f"{_SYSTEM}:(OI)(CI)F", f"{_ADMINISTRATORS}:(OI)(CI)F"
        steps: list[Step] = [
            MakeDirectory(at.logs),
            # Only the system and administrators: the configuration may hold secrets.
            Run(("icacls", str(at.home), "/inheritance:r", "/grant:r", *everything)),
            Run(("icacls", str(at.logs), "/grant", f"{_USERS}:(OI)(CI)RX")),
            WriteFile(at.config, spec.config, 0o600, shown=spec.shown),
        ]
        if spec.variables:
            texts = (spec.variables, dict.fromkeys(spec.variables, HIDDEN))
            text, shown = (msgspec.json.encode(each).decode() for each in texts)
            steps.append(WriteFile(at.variables, text, 0o600, shown=shown))
        else:
            steps.append(Delete(at.variables))
        program = f"{subprocess.list2cmdline([spec.python])} {_PROGRAM} {self._name}"
        if not before:
            steps.append(self._sc("create", "binPath=", program, "start=", "auto"))
        elif before != program:
            steps.append(self._sc("config", "binPath=", program))
        about = "Streams the files of instruments through Apache Kafka"
        steps += [
            # Windows' own services come first. Wine knows only `auto`, and says 1.
            self._sc("config", "start=", "delayed-auto", fine=(0, 1)),
            self._sc("description", about),
            # Should the service's own process crash, it is started again, and again.
            self._sc("failure", "reset=", "86400", "actions=", _AGAIN),
            self._event_source(),
        ]
        if before:
            steps += [self._control("stop"), self._control("start")]
        return Plan(tuple(steps))

    def remove(self) -> Plan:
        self._check_ours()
        at = self._at
        steps: tuple[Step, ...] = (
            self._control("stop"),
            self._sc("delete"),
            Run(("reg", "delete", rf"{_EVENTS}\{self._name}", "/f"), fine=(0, 1)),
            Delete(at.config),
            Delete(at.variables),
        )
        return Plan(steps, (f"kept: what was sent and received, and the logs, in {at.home}",))

    def control(self, verb: Verb) -> Plan:
        self._check_ours()
        verbs = ("stop", "start") if verb == "restart" else (verb,)
        return Plan(tuple(self._control(each) for each in verbs))

    def status(self) -> ServiceStatus:
        program = self._program()
        if not program:
            return ServiceStatus(self._name, False, False)
        found = self._query()
        return ServiceStatus(
            self._name,
            True,
            found["state"] == "running",
            _registry(rf"{_SERVICES}\{self._name}", "Start") == 2,
            found["state"],
            int(found["pid"]) or None,
            failure=found["failure"],
        )

    def _query(self) -> dict[str, str]:
        """From the service manager itself: sc.exe speaks the language of the country."""
        import win32service

        access = win32service.SC_MANAGER_CONNECT
        manager = win32service.OpenSCManager(None, None, access)
        try:
            service = win32service.OpenService(
                manager, self._name, win32service.SERVICE_QUERY_STATUS
            )
            try:
                found = win32service.QueryServiceStatusEx(service)
            finally:
                win32service.CloseServiceHandle(service)
        finally:
            win32service.CloseServiceHandle(manager)
        code, own = found["Win32ExitCode"], found["ServiceSpecificExitCode"]
        failure = f"exit code {own if code == _OWN_CODE else code}"
        return {
            "state": _STATES.get(found["CurrentState"], "unknown"),
            "pid": str(found["ProcessId"]),
            "failure": "" if code in (0, _NEVER_STARTED) else failure,
        }

    def files(self) -> tuple[Path, Path]:
        return self._at.state, self._at.config

    def logs(self, lines: int, follow: bool) -> Path:
        return self._at.log

    def check_rights(self, verb: str) -> None:
        if verb in ("status", "logs") or _is_administrator():
            return
        again = command_line((sys.executable, "-m", "openmsi", *sys.argv[1:]))
        cure = f'Open the "Command Prompt" with "Run as administrator", and give:  {again}'
        raise ServiceError(
            f"openmsi service {verb}", "only an administrator may change services", cure
        )

    def _program(self) -> str:
        """What the service runs; empty if there is none."""
        return str(_registry(rf"{_SERVICES}\{self._name}", "ImagePath") or "")

    def _check_ours(self) -> None:
        program = self._program()
        if not program:
            cure = f"Install it:  openmsi service install --config FILE --name {self._name}"
            raise ServiceError(f"service {self._name}", "it is not installed", cure)
        if _PROGRAM not in program:
            raise ServiceError(f"service {self._name}", "it was not made by openmsi")

    def _sc(self, verb: str, *more: str, fine: tuple[int, ...] = (0,)) -> Run:
        return Run(("sc", verb, self._name, *more), fine)

    def _control(self, verb: str) -> Run:
        return Run((sys.executable, "-m", "openmsi.service.control", verb, self._name))

    def _event_source(self) -> Run:
        import servicemanager

        where = rf"{_EVENTS}\{self._name}"
        value = (
            "/v",
            "EventMessageFile",
            "/t",
            "REG_EXPAND_SZ",
            "/d",
            str(servicemanager.__file__),
        )
        return Run(("reg", "add", where, *value, "/f"))


def _refuse_mapped(text: str) -> None:
    """Raises ConfigError for a path on a drive letter that stands for a network drive."""
    drive = PureWindowsPath(text).drive
    if len(drive) != 2:
        return
    import pywintypes
    import win32file
    import win32wnet

    kind = win32file.GetDriveType(f"{drive}\\")
    if kind not in (win32file.DRIVE_REMOTE, win32file.DRIVE_NO_ROOT_DIR):
        return
    try:
        share = win32wnet.WNetGetConnection(drive)
    except pywintypes.error:
        # An administrator's prompt does not see the drives of the one who is logged in.
        share = r"\\SERVER\SHARE"
    why = f"a service has no drive {drive}; it is perhaps a network drive of your account"
    raise ConfigError(text, why, f"Write {share}{text[2:]} instead; `net use` shows the name.")


def _registry(key: str, name: str) -> object:
    """A value below HKEY_LOCAL_MACHINE, None if there is none."""
    registry: Any = importlib.import_module("winreg")
    try:
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, key) as opened:
            value: object = registry.QueryValueEx(opened, name)[0]
            return value
    except OSError:
        return None


def _is_administrator() -> bool:
    import ctypes

    shell = getattr(ctypes, "windll").shell32  # noqa: B009 - only Windows has it
    return bool(shell.IsUserAnAdmin())
