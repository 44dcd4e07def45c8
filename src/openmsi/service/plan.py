"""What installing and controlling a service comes to: files to write, commands to run.

A plan is a value. `--dry-run` prints it, `execute` does it; so what is printed is what is done.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from openmsi.errors import LocalDiskError, ServiceError
from openmsi.state import disk_error, make_directory

if sys.platform != "win32":
    import grp
    import pwd

COMMAND_SECONDS = 150.0  # systemd itself gives a start 90 s


@dataclass(frozen=True, slots=True)
class WriteFile:
    """Write `text` to `path`, all or nothing.

    Args:
        mode: the file's rights.
        owner: USER, USER:GROUP or :GROUP to give it to; empty for who writes it.
        shown: what a person is shown of it; None for all of it.
    """

    path: Path
    text: str
    mode: int = 0o644
    owner: str = ""
    shown: str | None = None


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make a directory unless it is there; `owner` as in WriteFile."""

    path: Path
    mode: int = 0o755
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a file, or a directory with all that is in it, if it is there."""

    path: Path


@dataclass(frozen=True, slots=True)
class Run:
    """Run a command.

    Args:
        fine: exit codes that are no failure.
        cure: what to do if it fails.
    """

    arguments: tuple[str, ...]
    fine: tuple[int, ...] = (0,)
    cure: str = ""


Step = WriteFile | MakeDirectory | Delete | Run


HIDDEN = "(not shown)"


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps, in order, and what a person should know about them."""

    steps: tuple[Step, ...] = ()
    notes: tuple[str, ...] = ()


def describe(plan: Plan) -> Iterator[str]:
    """The plan as lines of text; secrets are left out."""
    for step in plan.steps:
        match step:
            case WriteFile(path, text, mode, owner, shown):
                yield f"write {path} ({_rights(mode, owner)}):"
                for line in (text if shown is None else shown).splitlines():
                    yield f"    {line}"
            case MakeDirectory(path, mode, owner):
                yield f"make directory {path} ({_rights(mode, owner)})"
            case Delete(path):
                yield f"delete {path}"
            case Run(arguments):
                yield f"run {command_line(arguments)}"
    yield from (f"note: {note}" for note in plan.notes)


def execute(plan: Plan) -> None:
    """Do the steps of the plan in order.

    Raises:
        ServiceError: a command failed; its own words are the reason.
        LocalDiskError: a file cannot be written or deleted.
    """
    for step in plan.steps:
        match step:
            case WriteFile():
                _write(step)
            case MakeDirectory(path, mode, owner):
                if not path.is_dir():
                    make_directory(path)
                    _give(path, mode, owner)
            case Delete(path):
                _delete(path)
            case Run():
                _run(step)


def output_of(arguments: tuple[str, ...]) -> tuple[int, str, str]:
    """Run a command: its exit code, and what it says on stdout and stderr.

    Raises:
        ServiceError: there is no such program, or it does not end.
    """
    try:
        done = subprocess.run(
            arguments,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        cure = "This system has another service manager; run `openmsi run FILE` from it."
        raise ServiceError(arguments[0], "there is no such program here", cure) from None
    except subprocess.TimeoutExpired:
        why = f"it did not end within {COMMAND_SECONDS:.0f} s"
        raise ServiceError(command_line(arguments), why) from None
    return (
        done.returncode,
        done.stdout.decode(errors="replace"),
        done.stderr.decode(errors="replace"),
    )


def command_line(arguments: tuple[str, ...]) -> str:
    """The command as one would type it."""
    if sys.platform == "win32":
        return subprocess.list2cmdline(arguments)
    return shlex.join(arguments)


def _run(step: Run) -> None:
    code, said, complaint = output_of(step.arguments)
    if code not in step.fine:
        why = (complaint.strip() or said.strip() or f"exit code {code}").replace("\n", "\n  ")
        raise ServiceError(command_line(step.arguments), why, step.cure)


def _write(step: WriteFile) -> None:
    make_directory(step.path.parent)
    try:
        # A temporary file is made for its owner alone: a secret is never readable in between.
        handle, temporary = tempfile.mkstemp(dir=step.path.parent, prefix=f".{step.path.name}.")
    except OSError as error:
        raise disk_error(step.path, error) from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(step.text)
            file.flush()
            os.fsync(file.fileno())
        _give(Path(temporary), step.mode, step.owner)
        os.replace(temporary, step.path)
    except OSError as error:
        raise disk_error(step.path, error) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _rights(mode: int, owner: str) -> str:
    return f"mode {mode:04o}{', owner ' + owner if owner else ''}"


def _give(path: Path, mode: int, owner: str) -> None:
    """Raises LocalDiskError for a user or group that is not there."""
    if sys.platform == "win32":
        return  # rights are given by icacls
    user, _, group = owner.partition(":")
    try:
        if owner:
            found = pwd.getpwnam(user) if user else None
            group_id = grp.getgrnam(group).gr_gid if group else found.pw_gid if found else -1
            os.chown(path, found.pw_uid if found else -1, group_id)
        os.chmod(path, mode)
    except (KeyError, OSError) as error:
        raise LocalDiskError(str(path), f"it cannot be given to {owner}: {error}") from None


def _delete(path: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error
