"""What a platform's service manager must be able to do for `openmsi service`."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from openmsi.errors import ServiceError, UsageError
from openmsi.service.plan import Plan

DEFAULT_NAME = "openmsi"
# Names of units, of registry keys and of files on every platform.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

Verb = Literal["start", "stop", "restart", "reload"]


@dataclass(frozen=True, slots=True)
class Spec:
    """What is to run as a service.

    Args:
        config: the text of its agent.toml.
        shown: the same without the secrets that stand in it.
        variables: the environment variables that it refers to; their values may be secrets.
        reads, writes: the directories that it must be able to read, or to write too.
        named: the paths in it as they stand there.
        secret_files: files with secrets that it must be able to read.
        python: the interpreter that has openmsi.
    """

    config: str = field(repr=False)
    shown: str
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    reads: tuple[Path, ...] = ()
    writes: tuple[Path, ...] = ()
    secret_files: tuple[Path, ...] = ()
    named: tuple[str, ...] = ()
    python: str = sys.executable


class ServiceStatus(msgspec.Struct, frozen=True):
    """How a service is.

    Args:
        state: the service manager's own word.
        since: when it came into this state, as the service manager writes it.
        restarts: how often it was started again after a crash; None if that is not known.
        text: what the service says about itself.
        failure: why it ended last, if not because it was told to; empty if it never did.
    """

    name: str
    installed: bool
    running: bool
    from_boot: bool = False
    state: str = ""
    pid: int | None = None
    since: str = ""
    restarts: int | None = None
    text: str = ""
    failure: str = ""


class ServiceManager(Protocol):
    """One service, by name, under one platform's service manager."""

    def install(self, spec: Spec) -> Plan:
        """Raises ServiceError if it cannot work here, or the name is somebody else's."""
        ...

    def remove(self) -> Plan:
        """Raises ServiceError for a service that is not installed, or not ours."""
        ...

    def control(self, verb: Verb) -> Plan: ...

    def status(self) -> ServiceStatus: ...

    def files(self) -> tuple[Path, Path]:
        """The state directory, and the copy of the configuration."""
        ...

    def logs(self, lines: int, follow: bool) -> tuple[str, ...] | Path:
        """The command that shows the last lines, or the file that holds them."""
        ...

    def check_rights(self, verb: str) -> None:
        """Raises ServiceError, with the command that has the rights, if they do not suffice."""
        ...


def check_name(name: str) -> str:
    """Raises UsageError for a name that cannot be that of a service everywhere."""
    if not _NAME.fullmatch(name):
        cure = "Use letters, digits, - and _, at most 64, with a letter first."
        raise UsageError(f"--name {name}", "it cannot be the name of a service", cure)
    return name


def check_root(verb: str, why: str) -> None:
    """Raises ServiceError, with `why` and the command for sudo, unless this is root (POSIX)."""
    if os.geteuid() == 0:
        return
    again = shlex.join([sys.executable, "-m", "openmsi", *sys.argv[1:]])
    cure = f"Give the command:  sudo {again}\n  Or add --user for a service of your own."
    raise ServiceError(f"openmsi service {verb}", why, cure)


def service_manager(name: str = DEFAULT_NAME, *, user: bool = False) -> ServiceManager:
    """This platform's service manager, for the service `name`.

    Args:
        user: a service of the one who calls, not of the machine.

    Raises:
        UsageError: the name is impossible.
        ServiceError: this platform has none that openmsi knows.
    """
    check_name(name)
    platform: str = sys.platform  # a variable: mypy looks at every branch
    if platform == "win32":
        from openmsi.service.scm import WindowsServices

        return WindowsServices(name, user=user)
    if platform == "darwin":
        from openmsi.service.launchd import Launchd

        return Launchd(name, user=user)
    if platform == "linux":
        from openmsi.service.systemd import Systemd

        return Systemd(name, user=user)
    cure = "Start `openmsi run FILE` from the service manager that this system has."
    raise ServiceError(platform, "openmsi knows no service manager here", cure)
