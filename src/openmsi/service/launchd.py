"""The agent under launchd of macOS: a daemon of the machine, or an agent of one user."""

from __future__ import annotations

import os
import plistlib
import re
from collections.abc import Mapping
from pathlib import Path

from openmsi.errors import ServiceError
from openmsi.service.manager import ServiceStatus, Spec, Verb, check_root
from openmsi.service.plan import (
    HIDDEN,
    Delete,
    MakeDirectory,
    Plan,
    Run,
    Step,
    WriteFile,
    output_of,
)

_LIBRARY = Path("/Library")
# launchctl's codes for what is loaded already, or not loaded.
_LOADED, _NOT_LOADED = (5, 17, 37), (3, 5, 113)


class Launchd:
    """The service `name` as `org.openmsi.NAME`.

    The machine's services run as the user who called sudo: that is who may read the files of the
    instrument, and macOS asks a person before any other program may.
    """

    def __init__(self, name: str, *, user: bool = False) -> None:
        self._name = name
        self._user = user
        self._label = f"org.openmsi.{name}"
        library = Path.home() / "Library" if user else _LIBRARY
        self._plist = (
            library / ("LaunchAgents" if user else "LaunchDaemons") / f"{self._label}.plist"
        )
        self._home = library / "Application Support" / "openmsi" / name
        self._config = self._home / "agent.toml"
        self._log = library / "Logs" / "openmsi" / f"{name}.log"
        self._domain = f"gui/{os.getuid()}" if user else "system"
        self._target = f"{self._domain}/{self._label}"
        self._account = "" if user else os.environ.get("SUDO_USER", "")

    def install(self, spec: Spec) -> Plan:
        if self._plist.exists() and not self._is_ours():
            why = f"{self._plist} is there and was not made by openmsi"
            raise ServiceError(f"service {self._name}", why, "Choose another --name.")
        steps: list[Step] = [
            MakeDirectory(self._home, 0o700, self._account),
            MakeDirectory(self._log.parent, 0o755, self._account),
            WriteFile(self._config, spec.config, 0o600, self._account, spec.shown),
        ]
        steps += [MakeDirectory(path, 0o755, self._account) for path in spec.writes]
        text, shown = (
            plistlib.dumps(self._content(spec, variables)).decode()
            for variables in (spec.variables, dict.fromkeys(spec.variables, HIDDEN))
        )
        # It may hold secrets: launchd and its owner read it, nobody else.
        steps.append(WriteFile(self._plist, text, 0o600, shown=shown))
        steps.append(Run(("launchctl", "enable", self._target)))
        notes = () if self._user or self._account else ("no SUDO_USER: the service runs as root",)
        return Plan(tuple(steps), notes)

    def remove(self) -> Plan:
        self._check_installed()
        steps = (self._stop(), Delete(self._plist), Delete(self._config))
        return Plan(steps, (f"kept: {self._home} with its state, and the log {self._log}",))

    def control(self, verb: Verb) -> Plan:
        self._check_installed()
        start = Run(("launchctl", "bootstrap", self._domain, str(self._plist)), (0, *_LOADED))
        match verb:
            case "start":
                steps: tuple[Step, ...] = (start,)
            case "stop":
                steps = (self._stop(),)
            case "restart":
                steps = (start, Run(("launchctl", "kickstart", "-k", self._target)))
            case "reload":
                steps = (Run(("launchctl", "kill", "SIGHUP", self._target)),)
        return Plan(steps)

    def status(self) -> ServiceStatus:
        installed = self._plist.exists()
        code, said, _ = output_of(("launchctl", "print", self._target))
        if code:
            return ServiceStatus(self._name, installed, False, installed, "not loaded")
        found = dict(re.findall(r"^\t([a-z ]+) = (.*)$", said, re.MULTILINE))
        last = found.get("last exit code", "")
        return ServiceStatus(
            self._name,
            installed,
            found.get("state") == "running",
            installed,
            found.get("state", ""),
            int(found["pid"]) if found.get("pid", "").isdecimal() else None,
            restarts=max(int(found["runs"]) - 1, 0) if found.get("runs", "").isdecimal() else None,
            failure="" if last in ("", "0", "(never exited)") else f"exit code {last}",
        )

    def files(self) -> tuple[Path, Path]:
        return self._home / "state", self._config

    def logs(self, lines: int, follow: bool) -> Path:
        return self._log

    def check_rights(self, verb: str) -> None:
        if not self._user and verb not in ("status", "logs"):
            check_root(verb, "only root may change daemons")

    def _content(self, spec: Spec, variables: Mapping[str, str]) -> dict[str, object]:
        """The keys of launchd.plist(5)."""
        environment = {**variables, "OPENMSI_STATE_DIR": str(self._home / "state")}
        content: dict[str, object] = {
            "Label": self._label,
            "ProgramArguments": [spec.python, "-m", "openmsi", "run", str(self._config)],
            "EnvironmentVariables": environment,
            "WorkingDirectory": str(self._home),
            "RunAtLoad": True,
            "KeepAlive": True,
            "ThrottleInterval": 5,
            "ExitTimeOut": 15,
            "ProcessType": "Background",
            "StandardOutPath": str(self._log),
            "StandardErrorPath": str(self._log),
            "Umask": 0o022,
        }
        if self._account:
            content["UserName"] = self._account
        return content

    def _stop(self) -> Run:
        # Until it is loaded again: a job with KeepAlive that is only killed comes back.
        return Run(("launchctl", "bootout", self._target), (0, *_NOT_LOADED))

    def _is_ours(self) -> bool:
        with open(self._plist, "rb") as file:
            arguments = plistlib.load(file).get("ProgramArguments", [])
        return list(arguments[1:4]) == ["-m", "openmsi", "run"]

    def _check_installed(self) -> None:
        if not self._plist.exists():
            cure = f"Install it:  openmsi service install --config FILE --name {self._name}"
            raise ServiceError(f"service {self._name}", "it is not installed", cure)
