"""The log of an agent: plain lines, or one JSON object a line."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

import msgspec

from openmsi import events
from openmsi.cli.show import clean, one_line, sentence
from openmsi.config import Part
from openmsi.events import Event
from openmsi.state import disk_error, make_directory

FILE_BYTES, OLD_FILES = 10 * 2**20, 5

log = logging.getLogger("openmsi.log")

_LEVELS = {
    events.Waiting: logging.WARNING,
    events.FileFailed: logging.WARNING,
    events.FileKept: logging.WARNING,
    events.VersionStale: logging.WARNING,
    events.DeadLetter: logging.ERROR,
    events.Restarting: logging.ERROR,
}


def set_up(form: str, file: Path | None) -> None:
    """Send all that is logged to standard output, or to a file that is rotated.

    Raises:
        LocalDiskError: the file cannot be written.
    """
    handler: logging.Handler = logging.StreamHandler(sys.stdout)
    if file is not None:
        make_directory(file.parent)
        try:
            handler = RotatingFileHandler(
                file, "a", FILE_BYTES, OLD_FILES, "utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise disk_error(file, error) from error
    handler.setFormatter(_Json() if form == "json" else _Plain())
    handler.addFilter(_is_news)
    # A log that cannot be written, on a full disk for example, must not fill another one.
    logging.raiseExceptions = False
    root = logging.getLogger()
    for former in [each for each in root.handlers if isinstance(each.formatter, (_Plain, _Json))]:
        root.removeHandler(former)
        former.close()
    root.addHandler(handler)
    log.setLevel(logging.INFO)


def _is_news(record: logging.LogRecord) -> bool:
    # What librdkafka says comes again and again while a broker is away; events tell it once.
    if record.name == "openmsi.librdkafka":
        return False
    return hasattr(record, "event") or record.levelno >= logging.WARNING


def tell(part: Part | None, event: Event) -> None:
    """Log an event of one part, or of the agent."""
    level = _LEVELS.get(type(event), logging.INFO)
    log.log(level, "%s", event, extra={"event": event, "part": part.title if part else ""})


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", None)
        part = getattr(record, "part", "")
        text = sentence(event) if isinstance(event, Event) else one_line(super().format(record))
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return clean(f"{stamp} {part + ': ' if part else ''}{text}".rstrip())


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = getattr(record, "event", None)
        line: dict[str, object] = {"event": "log"}
        if isinstance(event, Event):
            line = dict(msgspec.to_builtins(event))
        else:
            line["text"] = super().format(record)
            line["logger"] = record.name
        line["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(
            timespec="milliseconds"
        )
        line["level"] = record.levelname.lower()
        if part := getattr(record, "part", ""):
            line["part"] = part
        return msgspec.json.encode(line).decode()
