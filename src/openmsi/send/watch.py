"""File events as hints. The scan would find everything too; a hint only makes it sooner."""

from __future__ import annotations

import logging
import os
import queue
import sys
from pathlib import Path
from typing import Any, NamedTuple

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

log = logging.getLogger(__name__)

MAX_HINTS = 100_000
_LINUX = sys.platform == "linux"
# Linux tells when a writer closes a file, so single writes need not be told.
_WANTED: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent if _LINUX else FileModifiedEvent,
    FileCreatedEvent,
    FileMovedEvent,
]


class Hint(NamedTuple):
    """Something happened to `native`. `kind` is "closed" (done with), "touched" (look at it
    when it is quiet) or "scan" (look through this directory; "" is the whole tree)."""

    kind: str
    native: str


class Watcher(FileSystemEventHandler):
    """Puts hints about everything below `root` into a queue, from a thread of its own."""

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        # Not a SimpleQueue: after a signal, its `get` may wait for ever (CPython 3.11).
        self._hints: queue.Queue[Hint] = queue.Queue()
        self._observer: Any = None
        self._overflowed = False

    def start(self) -> str:
        """Begin to watch. Returns why it cannot; empty when it can."""
        kwargs = {"generate_full_events": True} if _LINUX else {}
        observer = Observer(**kwargs)
        try:
            observer.schedule(self, self._root, recursive=True, event_filter=_WANTED)
            observer.start()
        except (OSError, RuntimeError) as error:
            log.warning("no file events: root=%s error=%s", self._root, error)
            return str(error)
        self._observer = observer
        return ""

    def stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()

    def take(self, wait: float) -> list[Hint]:
        """All hints there are, waiting up to `wait` seconds for the first."""
        hints: list[Hint] = []
        try:
            hints.append(self._hints.get(timeout=wait) if wait > 0 else self._hints.get_nowait())
            while True:
                hints.append(self._hints.get_nowait())
        except queue.Empty:
            pass
        if self._overflowed:
            self._overflowed = False
            hints.append(Hint("scan", ""))
        return hints

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog's thread for each event."""
        if self._hints.qsize() > MAX_HINTS:
            self._overflowed = True
            return
        moved = isinstance(event, (FileMovedEvent, DirMovedEvent))
        path = event.dest_path if moved else event.src_path
        native = self._native(os.fsdecode(path))
        if native is None:
            return
        if event.is_directory:
            self._hints.put(Hint("scan", native))
        elif moved or isinstance(event, FileClosedEvent):
            self._hints.put(Hint("closed", native))
        else:
            self._hints.put(Hint("touched", native))

    def _native(self, path: str) -> str | None:
        """Relative to the root, POSIX; None for what left the tree."""
        if path == self._root:
            return ""
        start = os.path.join(self._root, "")
        return path[len(start) :].replace(os.sep, "/") if path.startswith(start) else None
