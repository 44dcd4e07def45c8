"""Reads out of a node's log why it does not run."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from openmsi.broker.state import Node
from openmsi.errors import LocalBrokerError

# Below this Kafka cannot even write its own files.
MINIMUM_FREE = 100 * 1024 * 1024

_TAIL = 64 * 1024

_SPACE_CURE = "make space, or give a --data-dir on another disk"

_KNOWN = [
    (r"No space left on device|not enough space on the disk", "the disk is full", _SPACE_CURE),
    (r"Address already in use|BindException", "another program took its port", "try again"),
    (r"UnsupportedClassVersionError", "this Java is too old", "pip install 'openmsi[broker]'"),
    (r"OutOfMemoryError|insufficient memory", "there is not enough memory", "close some programs"),
    (
        r"AccessDeniedException|Permission denied|not writable",
        "its data directory cannot be written",
        "give a --data-dir that you may write to",
    ),
    (
        r"InconsistentClusterId|InconsistentBrokerMetadata|UnsupportedVersionException"
        r"|metadata\.version.* (not supported|unsupported)|Unknown metadata version",
        "the data directory was made by another cluster or a newer Kafka",
        "use another --data-dir, or delete this one with: openmsi broker wipe",
    ),
]


def log_path(directory: Path, node: Node) -> Path:
    """The log that Kafka writes."""
    return directory / node.log


def console_path(directory: Path, node: Node) -> Path:
    """What Java says before Kafka's log is open, or when it cannot be written."""
    return directory / node.directory / "console.log"


def check_space(directory: Path) -> None:
    """Raise LocalBrokerError unless the disk has room for Kafka to start."""
    free = shutil.disk_usage(directory).free
    if free < MINIMUM_FREE:
        raise LocalBrokerError(
            str(directory),
            f"its disk is full: {free // 1_000_000} MB are free, "
            f"and Kafka needs {MINIMUM_FREE // 1_000_000} MB to start",
            _SPACE_CURE,
        )


def failure(directory: Path, node: Node, what: str) -> LocalBrokerError:
    """The error that tells why a node does not run: a known cause, else its last words."""
    text = _words(directory, node)
    # Before Kafka opens its log there is only what Java said.
    log = log_path(directory, node)
    where = f"its log is {log if log.exists() else console_path(directory, node)}"
    cause = _known_cause(directory, text)
    if cause is not None:
        return LocalBrokerError(what, cause[0], f"{cause[1]}; {where}")
    words = "\n    ".join(_last_words(text)) or "it said nothing"
    return LocalBrokerError(what, f"it ended with\n    {words}", where)


def known_cause(directory: Path, node: Node) -> str:
    """Why a node died, in a few words, if its log says something that we know; else empty."""
    cause = _known_cause(directory, _words(directory, node))
    return cause[0] if cause else ""


def put_aside(directory: Path, node: Node) -> None:
    """Put the log of an earlier run aside, so that its errors are not taken for new ones."""
    path = log_path(directory, node)
    if path.exists():
        os.replace(path, path.with_name(f"{path.name}.previous"))


def _words(directory: Path, node: Node) -> str:
    """The end of all that a node said in its last run."""
    return _tail(console_path(directory, node)) + _tail(log_path(directory, node))


def _known_cause(directory: Path, text: str) -> tuple[str, str] | None:
    for pattern, why, cure in _KNOWN:
        if re.search(pattern, text):
            return why, cure
    # On a full disk the log itself ends before it can say so.
    if shutil.disk_usage(directory).free < 1_000_000:
        return "the disk is full", _SPACE_CURE
    return None


def _last_words(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [
        line for line in lines if re.search(r"\b(ERROR|FATAL)\b|Exception|^Error|Caused by", line)
    ]
    # A short text is Java's own complaint about how it was started: all of it matters.
    return [line[:300] for line in (lines if len(lines) <= 5 else telling or lines)[-5:]]


def _tail(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.path.getsize(path) - _TAIL))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
