"""What happens to files, told to whoever listens: the command line, a log, a test.

Each is one JSON object with `event` as its tag when `--json` is given. Sizes are bytes,
`seconds` durations, `mtime_ns` nanoseconds since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from openmsi.protocol import Manifest


def _receipt(manifest: Manifest) -> tuple[str, int, str, str, str, int, int, int]:
    return (
        manifest.path,
        manifest.size,
        manifest.version,
        manifest.digest,
        manifest.topic,
        manifest.partition,
        manifest.first_offset,
        manifest.last_offset,
    )


class Event(msgspec.Struct, frozen=True, tag_field="event", omit_defaults=True):
    """Base of all events."""


class FileSent(Event, frozen=True, tag="sent"):
    """Every record of the file is acknowledged. `seconds` counts from opening it. `partition` and
    the offsets are -1 when its records lie in several partitions, as in the older format."""

    path: str
    size: int
    version: str
    digest: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    seconds: float

    @classmethod
    def of(cls, manifest: Manifest, seconds: float) -> FileSent:
        return cls(*_receipt(manifest), seconds)


class FileFailed(Event, frozen=True, tag="failed"):
    """The file could not be sent; `retry` says whether it will be tried again."""

    path: str
    reason: str
    retry: bool = False


class FileVanished(Event, frozen=True, tag="vanished"):
    """The file was there and is gone before it was settled: renamed, or deleted by its writer."""

    path: str


class FileSkipped(Event, frozen=True, tag="skipped"):
    """The file is not sent on purpose: a symbolic link, a device."""

    path: str
    reason: str


class FileChanged(Event, frozen=True, tag="changed"):
    """The file changed while it was read: that version is aborted, the next follows."""

    path: str
    reason: str


class FileMoved(Event, frozen=True, tag="moved"):
    """The sent file was moved away, as asked."""

    path: str
    to: str


class FileDeleted(Event, frozen=True, tag="deleted"):
    """The sent file was deleted, as asked, after the topic's copy was read back."""

    path: str


class FileKept(Event, frozen=True, tag="kept"):
    """The sent file was to be moved or deleted, and was not."""

    path: str
    reason: str


class FileRebuilt(Event, frozen=True, tag="rebuilt"):
    """The file lies whole and verified at its destination."""

    path: str
    size: int
    version: str
    digest: str
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    mtime_ns: int | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> FileRebuilt:
        return cls(*_receipt(manifest), manifest.mtime_ns)


class VersionAborted(Event, frozen=True, tag="aborted"):
    """The sender gave up this version; another one usually follows."""

    path: str
    version: str
    reason: str


class VersionStale(Event, frozen=True, tag="stale"):
    """Nothing came for an unfinished version for a long time; it no longer holds others back."""

    path: str
    version: str
    partition: int
    first_offset: int


class DeadLetter(Event, frozen=True, tag="dead-letter"):
    """Records that cannot be handled, where they lie, and why."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    reason: str
    detail: str
    path: str = ""
    version: str = ""


class Waiting(Event, frozen=True, tag="waiting"):
    """Work has stopped for a reason that passes; it goes on by itself."""

    reason: str


class Resumed(Event, frozen=True, tag="resumed"):
    """The reason to wait is gone."""


class Notice(Event, frozen=True, tag="notice"):
    """Something a person may want to know."""

    text: str


class Started(Event, frozen=True, tag="started"):
    """The program is at work in `directory`, and for a receiver, a member of `group`."""

    directory: str
    topic: str
    group: str = ""


class Restarting(Event, frozen=True, tag="restarting"):
    """A part of an agent failed and is started again after `seconds`."""

    reason: str
    seconds: float


class Stopped(Event, frozen=True, tag="stopped"):
    """A part of an agent was told to stop and has done so."""


class SendSummary(Event, frozen=True, tag="summary"):
    """What a sender did. `already_sent` were in the topic before and are unchanged."""

    sent: int
    bytes: int
    already_sent: int
    failed: int
    skipped: int
    seconds: float


class ReceiveSummary(Event, frozen=True, tag="summary"):
    """What a receiver did. `incomplete` versions had not all their records when it stopped."""

    rebuilt: int
    bytes: int
    dead_letters: int
    incomplete: int
    seconds: float


Report = Callable[[Event], None]


class Waits:
    """Reports once when work stops for a passing reason, and once when it goes on."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._reason = ""

    def because(self, error: Exception | None) -> None:
        """Work waits because of `error`; None when it goes on."""
        reason = "" if error is None else str(error)
        if reason and not self._reason:
            self._report(Waiting(reason))
        elif self._reason and not reason:
            self._report(Resumed())
        self._reason = reason
