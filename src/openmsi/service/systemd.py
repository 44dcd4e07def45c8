"""The agent as a unit of systemd: of the machine, or of one user."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import openmsi
from openmsi.errors import ServiceError
from openmsi.service.access import access_to, belongs_to, readable_by_group
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
from openmsi.state import default_state_dir

if sys.platform != "win32":
    import pwd

USER = "openmsi"
MARK = "# Made by `openmsi service install`, which writes it anew."
STATE = Path("/var/lib/openmsi")

# A sandbox in which the agent has the network, its state, and the directories of its
# configuration; see systemd.exec(5). `systemd-analyze security NAME` judges it.
_SANDBOX = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
_HOMES = ("/home", "/root", "/run/user")
_TEMPORARY = ("/tmp", "/var/tmp")


class Systemd:
    """The service `name` as `name.service`.

    Args:
        user: one of the calling user's own services instead of the machine's.
        etc: where configurations are; of the machine's services `/etc/openmsi`.
    """

    def __init__(self, name: str, *, user: bool = False) -> None:
        self._name = name
        self._user = user
        config_home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        self._etc = config_home / "openmsi" if user else Path("/etc/openmsi")
        units = config_home / "systemd" / "user" if user else Path("/etc/systemd/system")
        self._unit = units / f"{name}.service"
        self._config = self._etc / f"{name}.toml"
        self._environment = self._etc / f"{name}.env"

    def install(self, spec: Spec) -> Plan:
        self._check_ours()
        notes: list[str] = []
        groups: set[str] = set()
        before: list[Step] = []
        if not self._user:
            _check_program(spec.python)
            before += _user_steps()
            for path in (*spec.reads, *spec.writes):
                before += _directory_steps(path, path in spec.writes, groups, notes)
            notes += _notes_on_secrets(spec.secret_files)
        steps: list[Step] = [*before, MakeDirectory(self._etc)]
        rights = (0o600, "") if self._user else (0o640, f":{USER}")
        steps.append(WriteFile(self._config, spec.config, *rights, spec.shown))
        if spec.variables:
            text = "".join(f"{key}={_quoted(spec.variables[key])}\n" for key in spec.variables)
            shown = "".join(f"{key}={HIDDEN}\n" for key in spec.variables)
            # systemd itself reads it, before it gives up its rights.
            steps.append(WriteFile(self._environment, text, 0o600, shown=shown))
        else:
            steps.append(Delete(self._environment))
        steps.append(WriteFile(self._unit, self._unit_text(spec, groups)))
        steps += [
            self._systemctl("daemon-reload", name=False),
            self._systemctl("enable"),
            self._systemctl("try-restart"),
        ]
        if self._user:
            notes.append("it runs while you are logged in; from boot:  loginctl enable-linger")
        return Plan(tuple(steps), tuple(notes))

    def remove(self) -> Plan:
        if not self._unit.exists():
            raise self._unknown()
        self._check_ours()
        files = [self._config, self._environment]
        steps: list[Step] = [
            self._systemctl("disable", "--now"),
            Delete(self._unit),
            Delete(self._unit.with_name(self._unit.name + ".d")),
            *(Delete(each) for each in files),
        ]
        if self._etc.is_dir() and not set(self._etc.iterdir()) - set(files):
            steps.append(Delete(self._etc))
        steps.append(self._systemctl("daemon-reload", name=False))
        steps.append(self._systemctl("reset-failed", fine=(0, 1)))
        kept = "~/.local/state/openmsi" if self._user else str(STATE / self._name)
        note = f"kept: what was sent and received, in {kept}"
        if not self._user:
            note += f", and the user {USER}, who owns it"
        return Plan(tuple(steps), (note,))

    def control(self, verb: Verb) -> Plan:
        if not self._unit.exists():
            raise self._unknown()
        cure = f"`{self._again('logs')}` shows what it said."
        return Plan((self._systemctl(verb, cure=cure),))

    def status(self) -> ServiceStatus:
        wanted = "LoadState,ActiveState,SubState,UnitFileState,MainPID,StateChangeTimestamp,"
        wanted += "NRestarts,StatusText,Result,ExecMainStatus"
        asked = self._command("show", "--property", wanted)
        code, said, complaint = output_of(asked)
        if code:
            raise ServiceError(" ".join(asked), complaint.strip(), "Is systemd running here?")
        found = dict(line.partition("=")[::2] for line in said.splitlines())
        result = found.get("Result", "success")
        failure = "" if result == "success" else result
        if failure and (status := found.get("ExecMainStatus", "0")) != "0":
            failure += f", status {status}"
        return ServiceStatus(
            self._name,
            found.get("LoadState") == "loaded",
            found.get("ActiveState") in ("active", "reloading"),
            found.get("UnitFileState") == "enabled",
            f"{found.get('ActiveState', '')} ({found.get('SubState', '')})",
            int(found.get("MainPID") or 0) or None,
            found.get("StateChangeTimestamp", ""),
            int(found.get("NRestarts") or 0),
            found.get("StatusText", ""),
            failure,
        )

    def files(self) -> tuple[Path, Path]:
        return default_state_dir() if self._user else STATE / self._name, self._config

    def logs(self, lines: int, follow: bool) -> tuple[str, ...]:
        which = "--user-unit" if self._user else "--unit"
        more = ("--follow",) if follow else ("--no-pager",)
        return (
            "journalctl",
            which,
            self._name,
            "--lines",
            str(lines),
            "--output",
            "short-iso",
            *more,
        )

    def check_rights(self, verb: str) -> None:
        if not self._user and verb not in ("status", "logs"):
            check_root(verb, "only root may change the machine's services")

    def _unit_text(self, spec: Spec, groups: Iterable[str]) -> str:
        return "".join(f"{line}\n" for line in self._unit_lines(spec, sorted(groups)))

    def _unit_lines(self, spec: Spec, groups: list[str]) -> Iterator[str]:
        yield MARK
        edit = "systemctl --user edit" if self._user else "systemctl edit"
        yield f"# Settings of your own: {edit} {self._name}"
        yield "[Unit]"
        yield f"Description=openmsi streams files through Apache Kafka ({self._name})"
        if not self._user:
            yield "Wants=network-online.target"
            yield "After=network-online.target remote-fs.target"
        yield "# It is started again for ever, whatever happens."
        yield "StartLimitIntervalSec=0"
        yield ""
        yield "[Service]"
        yield "Type=notify"
        program = [spec.python, "-m", "openmsi", "run", str(self._config)]
        yield f"ExecStart={' '.join(_word(each, '$') for each in program)}"
        # The shell's own kill: not every system has one as a program.
        yield 'ExecReload=/bin/sh -c "kill -HUP $$MAINPID"'
        if spec.variables:
            yield f"EnvironmentFile={_word(str(self._environment))}"
        yield "# On the watchdog's signal Python writes where it hung into the journal."
        yield "Environment=PYTHONFAULTHANDLER=1 PYTHONUNBUFFERED=1"
        yield "Restart=always"
        yield "RestartSec=2"
        yield "# A wrong command line or configuration does not heal by itself."
        yield "RestartPreventExitStatus=2 9"
        yield "WatchdogSec=30"
        yield "TimeoutStopSec=15"
        yield "LimitCORE=0"
        if not self._user:
            yield from self._sandbox(spec, groups)
        yield ""
        yield "[Install]"
        yield f"WantedBy={'default' if self._user else 'multi-user'}.target"

    def _sandbox(self, spec: Spec, groups: list[str]) -> Iterator[str]:
        yield ""
        yield f"User={USER}"
        yield f"Group={USER}"
        if groups:
            yield "# To read the directories of the configuration."
            yield f"SupplementaryGroups={' '.join(groups)}"
        yield f"StateDirectory=openmsi/{self._name}"
        yield "StateDirectoryMode=0750"
        yield f"Environment=OPENMSI_STATE_DIR=%S/openmsi/{self._name}"
        yield f"WorkingDirectory=%S/openmsi/{self._name}"
        yield "UMask=0022"
        used = [Path(spec.python), *spec.reads, *spec.writes, *spec.secret_files]
        yield f"ProtectHome={'read-only' if _any_below(used, _HOMES) else 'yes'}"
        yield f"PrivateTmp={'no' if _any_below(used, _TEMPORARY) else 'yes'}"
        for path in spec.writes:
            yield f"ReadWritePaths={_word('-' + str(path))}"
        yield from _SANDBOX.splitlines()

    def _check_ours(self) -> None:
        places = [self._unit]
        if not self._user:
            places += [
                Path(each, self._unit.name)
                for each in ("/usr/lib/systemd/system", "/lib/systemd/system")
            ]
        for path in places:
            if path.exists() and not path.read_text(errors="replace").startswith(MARK):
                why = f"{path} is there and was not made by openmsi"
                raise ServiceError(f"service {self._name}", why, "Choose another --name.")

    def _systemctl(
        self, verb: str, *more: str, name: bool = True, fine: tuple[int, ...] = (0,), cure: str = ""
    ) -> Run:
        return Run(self._command(verb, *more, name=name), fine, cure)

    def _command(self, verb: str, *more: str, name: bool = True) -> tuple[str, ...]:
        whose = ("--user",) if self._user else ()
        unit = (f"{self._name}.service",) if name else ()
        return ("systemctl", *whose, verb, *more, *unit)

    def _unknown(self) -> ServiceError:
        cure = f"Install it:  {self._again('install --config FILE')}"
        return ServiceError(f"service {self._name}", "it is not installed", cure)

    def _again(self, verb: str) -> str:
        return f"openmsi service {verb} --name {self._name}{' --user' if self._user else ''}"


def _user_steps() -> Iterator[Step]:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        arguments = ("--system", "--user-group", "--no-create-home", "--home-dir", str(STATE))
        shell = ("--shell", "/usr/sbin/nologin", USER)
        yield Run(("useradd", *arguments, *shell), fine=(0, 9))  # 9: another was faster


def _directory_steps(path: Path, write: bool, groups: set[str], notes: list[str]) -> Iterator[Step]:
    if not os.path.isdir(path):
        if write:
            yield MakeDirectory(path, 0o755, USER)
        else:
            notes.append(f"{path} is not there yet; nothing is sent from it until it is")
        return
    if belongs_to(path, USER):
        return
    access = access_to(path, write=write)
    groups |= access.groups
    if access.closed:
        need = "rwX" if write and access.closed == path else "rX"
        deep = f"-R -m u:{USER}:{need} -m d:u:{USER}:{need}"
        if access.closed != path:
            deep = f"-m u:{USER}:x"
        notes.append(
            f"the service's user {USER} cannot use {path}; give it the right with"
            f"  setfacl {deep} {shlex.quote(str(access.closed))}"
        )


def _notes_on_secrets(files: Iterable[Path]) -> Iterator[str]:
    for path in files:
        if not readable_by_group(path, USER):
            quoted = shlex.quote(str(path))
            cure = f"chgrp {USER} {quoted} && chmod 640 {quoted}"
            yield f"the service's user {USER} must be able to read {path}:  {cure}"


def _check_program(python: str) -> None:
    """Raises ServiceError if the service's user could not run this Python with this openmsi."""
    for path in (Path(python).parent, Path(python).resolve().parent, Path(openmsi.__file__).parent):
        if (access := access_to(path)).closed or access.groups:
            closed = access.closed or path
            why = f"the service's user {USER} could not read {closed}"
            cure = "Install openmsi for the whole machine:  python3 -m venv /opt/openmsi"
            cure += " && /opt/openmsi/bin/pip install openmsi"
            raise ServiceError(str(path), why, cure)


def _any_below(paths: Iterable[Path], places: Iterable[str]) -> bool:
    return any(path.is_relative_to(place) for path in paths for place in places)


def _word(text: str, also: str = "") -> str:
    """One word of a unit file; `also` are characters that mean something beside."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    for each in also:
        escaped = escaped.replace(each, each * 2)
    return f'"{escaped}"' if escaped != text or " " in text or not text.isascii() else text


def _quoted(text: str) -> str:
    """A value in an environment file of systemd, which expands nothing there."""
    for each in '\\"$`':
        text = text.replace(each, "\\" + each)
    return f'"{text}"'
