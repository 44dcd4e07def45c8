"""openmsi download: rebuild the files of a topic in a directory."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.filesize import decimal

from openmsi.cli.options import (
    Bootstrap,
    Config,
    Connection,
    Debug,
    Host,
    Json,
    StateDir,
    StopOnSignal,
    Topic,
    real_directory,
    state_directory,
)
from openmsi.cli.show import Doing, Rate, shown
from openmsi.errors import SomeFailed, TopicRemade
from openmsi.events import Notice, ReceiveSummary
from openmsi.kafka import KafkaSettings, TopicInfo, describe_topic, open_consumer
from openmsi.receive.job import ReceiveJob
from openmsi.receive.journal import Journal, journal_path, own_group
from openmsi.receive.receiver import Receiver
from openmsi.sinks import DirectorySink
from openmsi.state import hold, state_file


def download(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="Where the files are rebuilt; made if need be.", show_default=False
        ),
    ],
    topic: Topic,
    group: Annotated[
        str,
        typer.Option(
            "--group",
            metavar="G",
            help="Receivers with the same group share the files; by default DIR gets all of them.",
            show_default=False,
        ),
    ] = "",
    until_end: Annotated[
        bool, typer.Option("--until-end", help="Stop where the topic ends now.")
    ] = False,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    state_dir: StateDir = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Rebuild every file of the topic in DIR, verified, until stopped with Ctrl-C.

    A file gets its name only when it is whole and its digest is right. The same command goes on
    where it was; a DIR that does not exist yet gets everything from the beginning.

    Exit code 3, with --until-end: something could not be rebuilt, and each was named.

    Example: openmsi download repository/ --topic ebsd
    """
    connection = Connection(bootstrap_servers, config)
    options = DownloadOptions(
        topic,
        group or connection.said.group or "",
        until_end,
        connection.receiving(),
        state_directory(state_dir),
        not directory.exists(),
    )
    stop = StopOnSignal()
    progress = _Progress()
    with shown(as_json, progress) as report:
        run(directory, options, Host(report, stop, progress.started))


class DownloadOptions(msgspec.Struct, frozen=True):
    """What to receive. Without a `group`, all files, and if the destination `is_new` (did not
    exist before, or is treated so) all from the beginning of the topic."""

    topic: str
    group: str
    until_end: bool
    settings: KafkaSettings
    state_dir: Path
    is_new: bool
    stale_after: float = 86_400.0


def run(directory: Path, what: DownloadOptions, host: Host[Receiver]) -> None:
    """Receive into `directory` until the host says stop, and report the summary.

    Raises:
        SomeFailed: at the end of the topic, something could not be rebuilt.
    """
    while True:
        try:
            summary = _receive(directory, what, host)
            break
        except TopicRemade as error:
            host.report(Notice(f"{error}; all of the new one is received"))
    host.report(summary)
    if what.until_end and (summary.dead_letters or summary.incomplete):
        raise SomeFailed(
            "download",
            f"{summary.dead_letters} dead letters, {summary.incomplete} incomplete files",
            "Each was named above; all the others are rebuilt.",
        )


def _receive(directory: Path, what: DownloadOptions, host: Host[Receiver]) -> ReceiveSummary:
    info = describe_topic(what.settings, what.topic)
    root = real_directory(directory)
    if what.group:
        return _receive_as(what.group, root, info, what, host)
    # Each start may be given a group of its own, so the destination is held, too.
    own = state_file(what.state_dir, "receive", root, info.name, info.topic_id)
    with hold(own.with_suffix(".lock"), _doing(what, root)):
        if what.is_new:
            former = own_group(what.state_dir, root, info, False)
            _forget(journal_path(what.state_dir, root, info, former))
        group = own_group(what.state_dir, root, info, what.is_new)
        return _receive_as(group, root, info, what, host)


def _doing(what: DownloadOptions, root: Path) -> str:
    return f"receiving topic {what.topic!r} in {root}"


def _forget(journal: Path) -> None:
    """Delete what a group knew that nobody will be a member of again."""
    for suffix in (".sqlite", ".sqlite-wal", ".sqlite-shm", ".lock"):
        with suppress(OSError):
            journal.with_suffix(suffix).unlink()


def _receive_as(
    group: str, root: Path, info: TopicInfo, what: DownloadOptions, host: Host[Receiver]
) -> ReceiveSummary:
    """Receive into `root`, with the group's journal held against other programs."""
    # Only now: a start that failed must not turn a new destination into an old one.
    sink = DirectorySink(root)
    path = journal_path(what.state_dir, root, info, group)
    meta = {"destination": str(root), "topic": what.topic, "group": group}
    set_aside: list[str] = []
    with hold(path.with_suffix(".lock"), _doing(what, root)):
        journal = Journal(path, meta, set_aside)
        try:
            for text in set_aside:
                host.report(Notice(f"{text}; it goes on where the group's commits are"))
            opener = partial(open_consumer, what.settings, what.topic, group)
            job = ReceiveJob(info, group, what.until_end, what.stale_after, str(root))
            receiver = Receiver(job, opener, sink, journal, host.report)
            host.started(receiver)
            return receiver.run(host.stop)
        finally:
            journal.close()


class _Progress:
    """What a terminal shows while a receiver works."""

    def __init__(self) -> None:
        self._receiver: Receiver | None = None
        self._rate = Rate()

    def started(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._rate = Rate()

    def __call__(self) -> Doing | None:
        if self._receiver is None:
            return None
        stats = self._receiver.stats
        received = stats.bytes_received
        headline = f"{stats.rebuilt} rebuilt, {decimal(received)} at {self._rate(received)}"
        return Doing(f"{headline}, {stats.open} open", [])
