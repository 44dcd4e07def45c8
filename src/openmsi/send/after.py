"""What happens to a file after it is sent: kept, moved away, or deleted.

Moving and reading back take long, so a thread of its own does them, one file after the other.
What it did not come to before a stop is found by the next start's scan.
"""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from openmsi.errors import OpenMSIError, UsageError
from openmsi.send.files import identity_of
from openmsi.send.ledger import Entry

# Reads a sent version back from the topic. Returns what is wrong with it; empty when nothing is.
ReadBack = Callable[[Entry], str]


class Outcome(NamedTuple):
    """What became of a sent file: `to` is where it is now, empty when it is deleted, and
    `problem` why it was left alone."""

    entry: Entry
    to: str = ""
    problem: str = ""


class AfterSending:
    """Does one thing with each sent file, in the background.

    Args:
        act: does it; raises OSError or OpenMSIError when the file must stay where it is.
    """

    def __init__(self, act: Callable[[Entry], str]) -> None:
        self._act = act
        self._tasks: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._waiting: set[str] = set()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="after-sending", daemon=True)
        self._thread.start()

    def sent(self, entry: Entry) -> None:
        """The file of `entry` is in the topic and was not changed since."""
        if entry.native not in self._waiting:
            self._waiting.add(entry.native)
            self._tasks.put(entry)

    @property
    def busy(self) -> bool:
        return bool(self._waiting)

    def outcomes(self) -> list[Outcome]:
        """What was done since the last call."""
        done: list[Outcome] = []
        with contextlib.suppress(queue.Empty):
            while True:
                done.append(self._outcomes.get_nowait())
        self._waiting.difference_update(each.entry.native for each in done)
        return done

    def stop(self) -> None:
        """Finish the file at hand, leave the others for the next start."""
        self._stopping = True
        self._tasks.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (entry := self._tasks.get()) is not None and not self._stopping:
            try:
                self._outcomes.put(Outcome(entry, to=self._act(entry)))
            except OSError as error:
                self._outcomes.put(Outcome(entry, problem=error.strerror or str(error)))
            except OpenMSIError as error:
                self._outcomes.put(Outcome(entry, problem=str(error)))


class Changed(OpenMSIError):
    """The file is not the one any more that was sent; the new one is sent in its turn."""


def deleter(root: Path, read_back: ReadBack) -> Callable[[Entry], str]:
    """Deletes a file once the topic's copy was read back and has its digest."""

    def delete(entry: Entry) -> str:
        problem = read_back(entry)
        if problem:
            raise OpenMSIError("it is not deleted", problem)
        _check_unchanged(root, entry)
        os.unlink(root / entry.native)
        return ""

    return delete


def mover(root: Path, target: Path) -> Callable[[Entry], str]:
    """Moves a file below `target`, under its own relative name; nothing there is overwritten.

    Raises:
        UsageError: `target` is inside the watched directory.
    """
    if Path(os.path.realpath(target)).is_relative_to(root):
        raise UsageError(f"--after move:{target}", "it is inside the watched directory")

    def move(entry: Entry) -> str:
        _check_unchanged(root, entry)
        wanted = target / entry.native
        wanted.parent.mkdir(parents=True, exist_ok=True)
        free = _free_name(wanted, entry.version)
        _move(root / entry.native, free)
        return str(free)

    return move


def _check_unchanged(root: Path, entry: Entry) -> None:
    if not entry.describes(identity_of(os.lstat(root / entry.native))):
        raise Changed("it is left where it is", "it changed after it was sent")


def _free_name(wanted: Path, version: str) -> Path:
    if not os.path.lexists(wanted):
        return wanted
    return wanted.with_name(f"{wanted.stem}.{version[:12]}{wanted.suffix}")


def _move(source: Path, target: Path) -> None:
    try:
        os.rename(source, target)
    except OSError:
        # Another file system: the copy must be on its disk before the original goes.
        partial = target.with_name(f".{target.name}.part")
        shutil.copy2(source, partial)
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
        os.unlink(source)
