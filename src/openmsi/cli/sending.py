"""What `upload` and `watch` share: one directory to one topic."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec
from rich.filesize import decimal

from openmsi import __version__
from openmsi.catalog import Place, current_versions, digest_in_topic
from openmsi.cli.options import Stop
from openmsi.cli.show import Doing, Rate
from openmsi.errors import RecordRejected, TopicRemade, UsageError
from openmsi.events import Notice, Report, SendSummary
from openmsi.kafka import (
    Admin,
    KafkaSettings,
    Producer,
    TopicInfo,
    describe_topic,
    open_admin,
    open_consumer,
    open_producer,
)
from openmsi.kafka import Notice as OnNotice
from openmsi.protocol import LEGACY_ALGORITHM, Digest, Manifest, VersionId, algorithm_of, check_path
from openmsi.send.after import AfterSending, deleter, mover
from openmsi.send.filters import Filter
from openmsi.send.formats import NATIVE, Format
from openmsi.send.job import SendJob, fit_chunk_size
from openmsi.send.ledger import Entry, Ledger, ledger_path
from openmsi.send.outbox import OpenProducer
from openmsi.send.sender import LARGE_BYTES, Sender
from openmsi.state import hold


class SendOptions(msgspec.Struct, frozen=True):
    """What the command line says about sending, whatever the directory."""

    topic: str
    settings: KafkaSettings
    state_dir: Path
    prefix: str
    chunk_size: int | None
    after: str = "keep"
    format: Format = NATIVE
    max_rate: float | None = None  # megabytes of files a second

    def job(self, root: Path, topic: TopicInfo, keep: Filter) -> SendJob:
        """To send the files of `root` that `keep` takes. Raises RecordTooLarge as
        `fit_chunk_size`."""
        return SendJob(
            root,
            topic,
            fit_chunk_size(self.chunk_size, topic, self.format),
            keep,
            f"openmsi-{__version__}@{socket.gethostname()}",
            prefix=self.prefix,
            format=self.format,
            max_rate=None if self.max_rate is None else 1e6 * self.max_rate,
        )


def check_prefix(prefix: str) -> str:
    """Raises UsageError for a prefix that cannot begin a path."""
    stripped = prefix.strip("/")
    if stripped:
        try:
            check_path(stripped)
        except RecordRejected as error:
            raise UsageError("--prefix", error.detail) from None
    return stripped


def send(
    job: SendJob,
    options: SendOptions,
    report: Report,
    stop: Stop,
    started: Callable[[Sender], None],
) -> SendSummary:
    """Send one directory, with its ledger held against other programs.

    Raises:
        UsageError: what is to be done with sent files cannot be done in this format.
        InUse: another program sends this directory to this topic.
    """
    if options.after == "delete" and job.format != NATIVE:
        why = f"a file's records of the format {job.format} lie all over the topic, and reading"
        why += " one file back would mean reading everything"
        raise UsageError("--after delete", why, "Use --after move:DIR, or write --format native.")
    path = ledger_path(options.state_dir, job.root, job.topic, job.prefix)
    doing = f"sending {job.root} to topic {job.topic.name!r}"
    meta = {} if job.only else {"whole": "yes"}
    meta |= {
        "root": str(job.root),
        "topic": job.topic.name,
        "topic_id": job.topic.topic_id,
        "prefix": job.prefix,
        "filter": msgspec.json.encode(job.filter.patterns).decode(),
    }
    set_aside: list[str] = []
    with hold(path.with_suffix(".lock"), doing):
        ledger = Ledger(path, meta, set_aside)
        try:
            for text in set_aside:
                report(Notice(f"{text}; what the topic holds is looked up instead"))
                ledger.rebuild(versions_in_topic(options.settings, job.topic.name), job.prefix)
            opener = _opener(options.settings, job.topic)
            with _after_sending(job, options) as after:
                sender = Sender(job, ledger, opener, report, after)
                started(sender)
                return sender.run(stop)
        finally:
            ledger.close()


def _opener(settings: KafkaSettings, topic: TopicInfo) -> OpenProducer:
    """Opens producers for the topic as it was described a moment ago. Later ones make sure that
    it is not another one of the same name."""
    opened = False

    def opener(notice: OnNotice) -> Producer:
        nonlocal opened
        if opened and describe_topic(settings, topic.name).topic_id != topic.topic_id:
            raise TopicRemade(topic.name)
        opened = True
        return open_producer(settings, topic, notice)

    return opener


def versions_in_topic(settings: KafkaSettings, topic: str) -> Collection[Manifest]:
    """The current version of each path, found by reading the whole topic."""
    group = f"openmsi-lookup-{os.urandom(6).hex()}"
    consumer = open_consumer(settings, topic, group, lambda _: None)
    try:
        return current_versions(consumer, topic).values()
    finally:
        consumer.close()


def check_after(after: str) -> str:
    """Raises UsageError for anything but keep, move:DIR and delete."""
    if after in ("keep", "delete") or (after.startswith("move:") and after != "move:"):
        return after
    raise UsageError(f"--after {after}", "it is none of keep, move:DIR and delete")


@contextmanager
def _after_sending(job: SendJob, options: SendOptions) -> Iterator[AfterSending | None]:
    if options.after == "keep":
        yield None
    elif options.after == "delete":
        admin = open_admin(options.settings)
        try:
            yield AfterSending(deleter(job.root, partial(_read_back, admin, job.topic.name)))
        finally:
            admin.close()
    else:
        target = Path(options.after.removeprefix("move:")).absolute()
        yield AfterSending(mover(job.root, target))


def _read_back(admin: Admin, topic: str, entry: Entry) -> str:
    if algorithm_of(Digest(entry.digest)) == LEGACY_ALGORITHM:
        return "it was sent in the older format, and such files are not read back"
    place = place_of(entry)
    found = digest_in_topic(partial(admin.read, topic), place)
    if found == place.digest:
        return ""
    return f"reading it back from the topic: {found}, not {place.digest}"


def place_of(entry: Entry) -> Place:
    """Where the version of a sent entry lies in its topic."""
    return Place(
        VersionId(entry.version),
        Digest(entry.digest),
        entry.partition,
        entry.first_offset,
        entry.last_offset,
    )


class SendProgress:
    """What a terminal shows while a sender works."""

    def __init__(self) -> None:
        self._sender: Sender | None = None
        self._rate = Rate()

    def started(self, sender: Sender) -> None:
        self._sender = sender
        self._rate = Rate()

    def __call__(self) -> Doing | None:
        if self._sender is None:
            return None
        stats = self._sender.stats
        headline = (
            f"{stats.sent} sent, {decimal(stats.bytes_read)} at {self._rate(stats.bytes_read)}"
            f", {self._sender.finder.waiting()} waiting"
        )
        files = [
            (each.native, each.done, each.identity.size)
            for each in [*self._sender.reading]
            if each.identity.size > LARGE_BYTES
        ]
        return Doing(headline, files)
