"""Directories: can they be read, watched, written, and is there space? Nothing is left in them."""

from __future__ import annotations

import errno
import getpass
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.filesize import decimal

from openmsi.doctor.case import FileUse
from openmsi.doctor.finding import Finding, State
from openmsi.doctor.mounts import network_drive
from openmsi.errors import DiskFull, LocalDiskError
from openmsi.send.finder import POLL_SECONDS, RESCAN_SECONDS
from openmsi.send.watch import Watcher
from openmsi.state import disk_error

# Below the first nothing is sure to work, below the second it soon will not. In bytes.
FULL_BYTES = 16_000_000
LITTLE_BYTES = {"receive": 2_000_000_000, "move": 2_000_000_000, "state": 200_000_000}
LITTLE_BYTES |= {"log": 200_000_000}
# A tree is looked through for so long, and so many of its files are tried.
LOOK_SECONDS = 5.0
TRIED_FILES = 1000
# For so many directories file events are really asked for, which is what an agent does, too.
WATCHED_DIRECTORIES = 20_000
_WATCHES = Path("/proc/sys/fs/inotify/max_user_watches")


class Tree(NamedTuple):
    """What was seen of a tree. `whole` is False when time was over before its end."""

    directories: int
    files: int
    whole: bool
    closed: tuple[str, ...]


def examine_directory(use: FileUse) -> Iterator[Finding]:
    """Can it be used for its purpose?"""
    if use.purpose == "send":
        yield from _examine_source(use)
    else:
        yield from _examine_target(use)


def look_through(root: Path, seconds: float = LOOK_SECONDS) -> Tree:
    """Count what is in a tree, and find what this user cannot read in it."""
    closed: list[str] = []
    directories = files = 0
    deadline = time.monotonic() + seconds
    waiting = [os.fspath(root)]
    while waiting:
        directories += 1
        directory = waiting.pop()
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        files += 1
                        if files <= TRIED_FILES and not os.access(entry.path, os.R_OK):
                            closed.append(entry.path)
        except FileNotFoundError:
            continue  # gone while we looked
        except OSError:
            closed.append(directory)
        if time.monotonic() > deadline:
            return Tree(directories + len(waiting), files, not waiting, tuple(closed))
    return Tree(directories, files, True, tuple(closed))


def _examine_source(use: FileUse) -> Iterator[Finding]:
    root, about = use.directory, str(use.directory)
    if not os.path.isdir(root):
        why = "it is no directory" if os.path.lexists(root) else f"{_me()} sees none there"
        cure = "Make it, connect the drive, or correct the name. An agent waits for it."
        yield Finding("directory", about, "wrong", why, cure)
        return
    if not os.access(root, os.R_OK | os.X_OK):
        text, cure = f"{_me()} may not read it", "Give that user the right to read it."
        yield Finding("directory", about, "wrong", text, cure)
        return
    tree = look_through(root)
    yield judge_tree(about, tree)
    if use.changes and (error := _try_writing(root)):
        text = f"sent files are to go away from it, but {error.why}"
        yield Finding("directory", about, "wrong", text, error.cure)
    yield judge_events(about, network_drive(root), tree, *_events(root, tree))


def judge_tree(about: str, tree: Tree) -> Finding:
    """Can all of it be read?"""
    more = "" if tree.whole else "more than "
    text = f"{more}{_count(tree.files, 'file')} in "
    text += _count(tree.directories, "directory", "directories")
    if not tree.closed:
        return Finding("directory", about, "ok", f"{text} can be read")
    first = os.fsencode(tree.closed[0]).decode(errors="replace")
    text = f"of {text}, {_me()} may not read {len(tree.closed)}: {first}"
    return Finding("directory", about, "warning", text, "Give that user the right to read them.")


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _events(root: Path, tree: Tree) -> tuple[str, int | None]:
    """Why there are no file events, as one who asks for them is told; and Linux' limit."""
    limit = None
    if sys.platform == "linux":
        try:
            limit = int(_WATCHES.read_text())
        except (OSError, ValueError):
            limit = None
    # An agent at work has the same limit: it must not reach it because of us.
    if tree.directories > min(WATCHED_DIRECTORIES, limit // 4 if limit else WATCHED_DIRECTORIES):
        return "", limit
    watcher = Watcher(root)
    try:
        return watcher.start(), limit
    finally:
        watcher.stop()


def judge_events(about: str, drive: str, tree: Tree, problem: str, limit: int | None) -> Finding:
    """Does the system tell when files appear? If not, they are found all the same, but later.

    Args:
        drive: the kind of network drive it is on; empty for none.
        problem: why no events could be had.
        limit: how many directories one user may watch; None for no limit.
    """
    slower = "files are found by looking through the tree every {} s, less often if it is large"
    often, seldom = slower.format(f"{POLL_SECONDS:g}"), slower.format(f"{RESCAN_SECONDS:g}")
    if drive:
        text = f"on a network drive ({drive}), which may not tell what others do there: {seldom}"
        return Finding("file events", about, "ok", text)
    if problem:
        text = f"the system tells no file events ({problem}): {often}"
        cure = ""
        if "inotify" in problem:
            cure = _raise("max_user_instances=1024" if "instance" in problem else _MORE_WATCHES)
        return Finding("file events", about, "warning", text, cure)
    if limit is not None and tree.directories >= limit:
        text = f"{tree.directories} directories, and a user may watch {limit}: {often}"
        return Finding("file events", about, "warning", text, _raise(_MORE_WATCHES))
    return Finding("file events", about, "ok", "the system tells when files appear")


_MORE_WATCHES = "max_user_watches=1048576"


def _raise(limit: str) -> str:
    return f"Raise the limit: sysctl fs.inotify.{limit}, and put it into /etc/sysctl.d."


def _examine_target(use: FileUse) -> Iterator[Finding]:
    about, there = str(use.directory), _existing(use.directory)
    check = {"state": "state", "log": "log"}.get(use.purpose, "directory")
    if not os.path.isdir(there):
        text = f"{there} is no directory"
        yield Finding(check, about, "wrong", text, "Name another directory.")
        return
    if error := _try_writing(there):
        text = error.why
        if there != use.directory:
            text = f"it is not there, and cannot be made in {there}: {text}"
        yield Finding(check, about, "wrong", text, error.cure)
    elif use.purpose == "state" and (drive := network_drive(there)):
        text = f"it is on a network drive ({drive}), where its locks and databases are not safe"
        cure = "Name a directory on a local disk: state_dir, or --state-dir."
        yield Finding(check, about, "wrong", text, cure)
    else:
        text = "can be written" if there == use.directory else f"can be made in {there}"
        yield Finding(check, about, "ok", text)
    try:
        free = shutil.disk_usage(there).free
        yield judge_space(use, free, _free_names(there))
    except OSError as error:
        text = f"the free space is not known: {error.strerror}"
        yield Finding("free space", about, "unknown", text)


def judge_space(use: FileUse, free: int, names: int | None) -> Finding:
    """Is there space for what comes?

    Args:
        free: bytes.
        names: how many more files the file system can hold; None if it does not count them.
    """
    about, text = str(use.directory), f"{decimal(free)} free"
    state: State = "ok"
    if names is not None and names < 1000:
        text, state = f"the disk takes only {names} more files, whatever their size", "wrong"
    elif free < FULL_BYTES:
        text, state = f"the disk is full: {text}", "wrong"
    elif free < LITTLE_BYTES[use.purpose]:
        text, state = f"only {text}", "warning"
    cure = "" if state == "ok" else _MORE_SPACE
    return Finding("free space", about, state, text, cure)


def _existing(path: Path) -> Path:
    """`path`, or the first of its parents that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path


def _try_writing(directory: Path) -> LocalDiskError | None:
    """Why nothing can be written there. What is tried has a hidden name, which nobody sends, or on
    Linux none at all."""
    try:
        with tempfile.TemporaryFile(dir=directory, prefix=".openmsi-doctor-", buffering=0) as trial:
            trial.write(bytes(4096))
    except OSError as error:
        found = disk_error(directory, error)
        if isinstance(found, DiskFull):
            return DiskFull(found.what, found.why, _MORE_SPACE)
        why = f"{_me()} cannot write there: {found.why}"
        return LocalDiskError(found.what, why, _NO_WRITING.get(error.errno or 0, _RIGHTS))
    return None


_MORE_SPACE = "Free some space, or name a directory on another disk."
_RIGHTS = "Give that user the right to write there, or name another directory."
_NO_WRITING = {errno.EROFS: "Mount it for reading and writing, or name another directory."}


def _free_names(directory: Path) -> int | None:
    if sys.platform == "win32":
        return None
    found = os.statvfs(directory)
    return found.f_favail if found.f_files else None


def _me() -> str:
    """The user whom the rights are about: not always the one who runs the service."""
    try:
        return f"user {getpass.getuser()!r}"
    except (OSError, KeyError):  # no such name: a user by number only
        return "this user"
