"""What the commands of the OpenMSI programs do: the verbs of `openmsi`, in other words."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from openmsi.cli.download import DownloadOptions
from openmsi.cli.download import run as run_download
from openmsi.cli.legacy.arguments import Arguments, Told
from openmsi.cli.legacy.console import Console, Lines
from openmsi.cli.legacy.topics import Messages, Place
from openmsi.cli.options import (
    Connection,
    Host,
    StopOnSignal,
    existing_directory,
    format_of,
    state_directory,
)
from openmsi.cli.sending import SendOptions
from openmsi.cli.show import clean
from openmsi.cli.upload import run as run_upload
from openmsi.cli.watch import Watching
from openmsi.cli.watch import run as run_watch
from openmsi.config import FRESH_GROUPS
from openmsi.errors import LocalDiskError, UsageError
from openmsi.events import Event, FileRebuilt, FileSent, ReceiveSummary, SendSummary, Started
from openmsi.receive.job import ReceiveStats
from openmsi.receive.receiver import Receiver
from openmsi.send.filters import DEFAULT_EXCLUDES, Filter
from openmsi.send.formats import NATIVE
from openmsi.send.sender import Sender

# What the programs write into the directory themselves, and leave out.
THEIR_OWN = ["*.log", "/LOGS/"]
MOST_NAMES = 1000  # of files, kept for the last line
Counts = Callable[[], dict[str, int]]


def send_file(asked: Arguments) -> None:
    """Raises SomeFailed when the file could not be sent, LocalDiskError when it is none."""
    if asked.target.is_dir():
        raise LocalDiskError(str(asked.target), "it is a directory, but a file is needed")
    with _lines(asked) as lines:
        options = _send_options(asked, Connection(None, asked.config), lines)
        name = clean(str(asked.target))
        lines(f"Uploading {name} to the {asked.topic} topic in {asked.chunk_size}-byte chunks")
        host: Host[Sender] = Host(lines.event, StopOnSignal(), lambda _: None)
        run_upload([asked.target], options, Filter(), host)


def send_directory(asked: Arguments) -> None:
    """Send what appears until `q` is typed."""
    with _lines(asked) as lines:
        root = existing_directory(asked.target)
        connection = Connection(None, asked.config)
        options = _send_options(asked, connection, lines)
        sending = _Sending(asked, lines, root)
        how = Watching(_filter(asked.regex), asked.settle, asked.new_only)
        with (
            _topics(asked, connection, lines, sending.counts),
            Console(lines, asked.update_seconds, sending.check) as console,
        ):
            run_watch(root, options, how, Host(sending.event, console, sending.started))


def receive(asked: Arguments) -> None:
    """Rebuild what comes until `q` is typed."""
    with _lines(asked) as lines:
        connection = Connection(None, asked.config)
        group = asked.group or connection.said.group or ""
        if group.lower() in FRESH_GROUPS:
            group = ""
        what = DownloadOptions(
            asked.topic, group, False, connection.receiving(), state_directory(None), is_new=True
        )
        receiving = _Receiving(asked, lines)
        with (
            _topics(asked, connection, lines, receiving.counts),
            Console(lines, asked.update_seconds, receiving.check) as console,
        ):
            run_download(asked.target, what, Host(receiving.event, console, receiving.started))


@contextmanager
def _lines(asked: Arguments) -> Iterator[Lines]:
    lines = Lines(asked.log)
    try:
        for note in asked.notes:
            lines(note, logging.WARNING)
        yield lines
    finally:
        lines.close()


def _send_options(asked: Arguments, connection: Connection, lines: Lines) -> SendOptions:
    form = format_of(None, connection.said)
    if form == NATIVE:
        lines(
            "Records are written in openmsi's own format, which the OpenMSI programs cannot read:"
            f" the configuration {asked.config} has no DataFileChunkSerializer",
            logging.WARNING,
        )
    settings = connection.sending()
    state = state_directory(None)
    return SendOptions(asked.topic, settings, state, "", asked.chunk_size, format=form)


def _filter(regex: str) -> Filter:
    if not regex:
        return Filter(exclude=THEIR_OWN)
    try:
        re.compile(regex)
    except re.error as error:
        raise UsageError(f"--upload_regex {regex}", str(error)) from None
    # Whoever says so exactly which files to send means files with temporary names, too.
    named = [f"!{each}" for each in DEFAULT_EXCLUDES if each != ".*"]
    return Filter(exclude=[*named, THEIR_OWN[1]], regex=regex)


@contextmanager
def _topics(
    asked: Arguments, connection: Connection, lines: Lines, counts: Counts
) -> Iterator[None]:
    """Heartbeats and log lines go to their topics meanwhile."""
    running = []

    def heartbeat() -> dict[str, Any]:
        return {"timestamp": datetime.now(UTC).isoformat(), **counts()}

    said: deque[str] = deque(maxlen=10_000)

    def log() -> dict[str, Any]:
        messages = [said.popleft() for _ in range(len(said))]
        return {"timestamp": time.time(), "messages": messages} if messages else {}

    def start(told: Told | None, what: str, content: Callable[[], dict[str, Any]]) -> None:
        if told:
            settings = connection.telling(what)
            place = Place(settings, told.topic, f"{told.id}_{what}", told.seconds)
            running.append(Messages(place, content, lines))

    if asked.log_topic:
        lines.listeners.append(said.append)
    try:
        start(asked.heartbeat, "heartbeat", heartbeat)
        start(asked.log_topic, "log", log)
        yield
    finally:
        for each in running:
            each.close()


class _Sending:
    """What `send_directory` says and counts."""

    def __init__(self, asked: Arguments, lines: Lines, root: Path) -> None:
        self._asked = asked
        self._lines = lines
        self._root = clean(str(root))
        self._sender: Sender | None = None
        self._records = self._bytes = 0
        self._told = (0, 0)
        self._started = False

    def started(self, sender: Sender) -> None:
        self._sender = sender

    def event(self, event: Event) -> None:
        asked, lines = self._asked, self._lines
        if isinstance(event, Started) and not self._started:
            self._started = True
            which = "New files" if asked.new_only else "All files"
            lines(f"Listening for files to upload in {self._root}")
            lines(
                f"{which} will be sent to the {asked.topic} topic as {asked.chunk_size}-byte"
                f" chunks using {asked.threads} threads"
            )
        elif isinstance(event, SendSummary):
            lines(f"Done listening for files in {self._root}")
            lines.event(event)
        elif not isinstance(event, Started):
            if isinstance(event, FileSent):
                self._records += max(1, -(-event.size // asked.chunk_size))
                self._bytes += event.size
            lines.event(event)

    def check(self) -> str:
        if self._sender is None:
            return "It is not at work yet"
        stats = self._sender.stats
        return (
            f"{self._records} messages sent, {stats.sent} files completely uploaded so far,"
            f" {decimal(stats.bytes_read)} read, {self._sender.finder.waiting()} files waiting"
        )

    def counts(self) -> dict[str, int]:
        """Since the last call."""
        now, before = (self._records, self._bytes), self._told
        self._told = now
        return {"n_messages_produced": now[0] - before[0], "n_bytes_produced": now[1] - before[1]}


class _Receiving:
    """What `receive` says and counts."""

    def __init__(self, asked: Arguments, lines: Lines) -> None:
        self._asked = asked
        self._lines = lines
        self._stats: list[ReceiveStats] = []  # one more each time the topic is made again
        self._names: deque[str] = deque(maxlen=MOST_NAMES)
        self._rebuilt = 0
        self._began = datetime.now()
        self._told = (0, 0)
        self._started = False

    def started(self, receiver: Receiver) -> None:
        self._stats.append(receiver.stats)

    def event(self, event: Event) -> None:
        asked, lines = self._asked, self._lines
        where = clean(str(asked.target.absolute()))
        if isinstance(event, Started) and not self._started:
            self._started = True
            lines(f"Listening for files to reconstruct in {where}")
            lines(
                f"Will listen for files from the {asked.topic} topic using {asked.threads} threads"
            )
        elif isinstance(event, FileRebuilt):
            self._rebuilt += 1
            self._names.append(clean(event.path))
            lines(f"File {self._names[-1]} successfully reconstructed locally from stream")
        elif isinstance(event, ReceiveSummary):
            lines(f"File reconstructor writing to {where} shut down")
            lines(self._last(datetime.now()))
        elif not isinstance(event, Started):
            lines.event(event)

    def _last(self, now: datetime) -> str:
        names = list(self._names)
        if not names:
            what = "no files were successfully reconstructed"
        elif self._rebuilt == 1:
            what = "the following 1 file was successfully reconstructed"
        else:
            what = f"the following {self._rebuilt} files were successfully reconstructed"
        times = (each.isoformat(" ", "microseconds") for each in (self._began, now))
        line = (
            f"{self._records()} total messages were consumed and {what} from {' to '.join(times)}"
        )
        if self._rebuilt > len(names):
            names.insert(0, f"({self._rebuilt - len(names)} before these)")
        return "\n\t".join([line, *names])

    def _records(self) -> int:
        return sum(each.records for each in self._stats)

    def check(self) -> str:
        return (
            f"{self._records()} messages read,"
            f" {self._rebuilt} files completely reconstructed so far"
        )

    def counts(self) -> dict[str, int]:
        """Since the last call. What is read is handled."""
        now = (self._records(), sum(each.bytes_received for each in self._stats))
        records, size = (each - before for each, before in zip(now, self._told, strict=True))
        self._told = now
        return {
            "n_messages_read": records,
            "n_messages_processed": records,
            "n_bytes_read": size,
            "n_bytes_processed": size,
        }
