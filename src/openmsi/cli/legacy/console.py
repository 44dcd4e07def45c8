"""How the OpenMSI programs talk: lines with name and time, a live dot, single keys as commands."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from openmsi.cli.legacy.keys import Keys
from openmsi.cli.options import StopOnSignal
from openmsi.cli.show import clean, sentence
from openmsi.errors import LocalDiskError
from openmsi.events import (
    DeadLetter,
    Event,
    FileChanged,
    FileFailed,
    FileKept,
    FileSkipped,
    VersionStale,
    Waiting,
)

_WARNINGS = (FileChanged, FileKept, FileSkipped, VersionStale, Waiting)
_ERRORS = (FileFailed, DeadLetter)


@dataclass(frozen=True)
class LogOptions:
    """Which lines are shown and kept: those of at least this level, a number of `logging`.

    Args:
        name: of the program, with what stands between it and the time.
    """

    name: str
    level: int = logging.INFO
    file: Path | None = None
    file_level: int = logging.WARNING


class Lines:
    """Writes lines with name and time to standard output, and to the file if there is one.

    Raises:
        LocalDiskError: the file cannot be written.
    """

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self.listeners: list[Callable[[str], None]] = []
        try:
            self._file = options.file and open(options.file, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise LocalDiskError(str(options.file), error.strerror or str(error)) from error

    def __call__(self, text: str, level: int = logging.INFO) -> None:
        stamped = f"[{self._options.name} {datetime.now():%Y-%m-%d %H:%M:%S}] {text}\n"
        if level >= self._options.level:
            sys.stdout.write(stamped)
            sys.stdout.flush()
        if self._file and level >= self._options.file_level:
            self._file.write(stamped)
            self._file.flush()
        for each in self.listeners:
            each(text)

    def event(self, event: Event) -> None:
        level = logging.INFO
        if isinstance(event, _WARNINGS):
            level = logging.WARNING
        elif isinstance(event, _ERRORS):
            level = logging.ERROR
        self(clean(sentence(event)), level)

    def close(self) -> None:
        if self._file:
            self._file.close()


class Console:
    """Asked by the loop that sends or receives whether to stop, several times a second: that is
    when it looks at keys and clock. It needs no thread.

    Args:
        update_seconds: between two dots; none if it is not above 0.
        check: what to say when `c` is typed.
    """

    def __init__(self, lines: Lines, update_seconds: float, check: Callable[[], str]) -> None:
        self._lines = lines
        self._seconds = update_seconds
        self._check = check
        self._stop = StopOnSignal()
        self._keys = Keys()
        self._quit = False
        self._rest = ""  # of a word whose first letter was obeyed
        self._dot_due = time.monotonic() + update_seconds

    def __enter__(self) -> Console:
        self._keys.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._keys.__exit__(None, None, None)

    def __call__(self) -> bool:
        for key in self._keys.typed().lower():
            self._typed(key)
        now = time.monotonic()
        if self._seconds > 0 and self._dot_due <= now:
            self._dot_due = now + self._seconds
            self._lines(".")
        return self._quit or self._stop()

    def _typed(self, key: str) -> None:
        if self._rest.startswith(key):
            self._rest = self._rest[1:]
            return
        self._rest = ""
        if key not in ("c", "q"):
            return
        if self._keys.at_console:
            print(key)
        if key == "q":
            self._quit = True
        else:
            self._rest = "heck"
            self._lines(self._check())
