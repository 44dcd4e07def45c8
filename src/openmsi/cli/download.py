"""openmsi download: rebuild the files of a topic in a directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.filesize import decimal

from openmsi.cli.options import (
    Bootstrap,
    ClientConfig,
    Debug,
    Json,
    StateDir,
    Stop,
    StopOnSignal,
    Topic,
    kafka_settings,
    real_directory,
    state_directory,
)
from openmsi.cli.sending import describe_topic
from openmsi.cli.show import Doing, Rate, shown
from openmsi.errors import SomeFailed, TopicRemade
from openmsi.events import Notice, ReceiveSummary, Report
from openmsi.kafka import KafkaSettings, open_consumer
from openmsi.receive.journal import Journal, journal_path, own_group
from openmsi.receive.receiver import ReceiveJob, Receiver
from openmsi.sinks import DirectorySink
from openmsi.state import hold


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
    client_config: ClientConfig = None,
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
    options = DownloadOptions(
        topic,
        group,
        until_end,
        kafka_settings(bootstrap_servers, client_config),
        state_directory(state_dir),
        not directory.exists(),
    )
    run(directory, options, as_json)


class DownloadOptions(msgspec.Struct, frozen=True):
    """What to receive. `is_new`: the destination did not exist before."""

    topic: str
    group: str
    until_end: bool
    settings: KafkaSettings
    state_dir: Path
    is_new: bool


def run(directory: Path, what: DownloadOptions, as_json: bool) -> None:
    """Raises SomeFailed when, at the end, something could not be rebuilt."""
    stop = StopOnSignal()
    progress = _Progress()
    with shown(as_json, progress) as report:
        while True:
            try:
                summary = _receive(directory, what, progress, report, stop)
                break
            except TopicRemade as error:
                report(Notice(f"{error}; all of the new one is received"))
        report(summary)
    if what.until_end and (summary.dead_letters or summary.incomplete):
        raise SomeFailed(
            "download",
            f"{summary.dead_letters} dead letters, {summary.incomplete} incomplete files",
            "Each was named above; all the others are rebuilt.",
        )


def _receive(
    directory: Path, what: DownloadOptions, progress: _Progress, report: Report, stop: Stop
) -> ReceiveSummary:
    """Receive into `directory`, with its journal held against other programs."""
    info = describe_topic(what.settings, what.topic)
    root = real_directory(directory)
    group = what.group or own_group(what.state_dir, root, info, what.is_new)
    # Only now: a start that failed must not turn a new destination into an old one.
    sink = DirectorySink(root)
    path = journal_path(what.state_dir, root, info, group)
    doing = f"receiving topic {what.topic!r} in {root}"
    meta = {"destination": str(root), "topic": what.topic, "group": group}
    set_aside: list[str] = []
    with hold(path.with_suffix(".lock"), doing):
        journal = Journal(path, meta, set_aside)
        try:
            for text in set_aside:
                report(Notice(f"{text}; it goes on where the group's commits are"))
            opener = partial(open_consumer, what.settings, what.topic, group)
            receiver = Receiver(
                ReceiveJob(info, group, what.until_end), opener, sink, journal, report
            )
            progress.receiver = receiver
            return receiver.run(stop)
        finally:
            journal.close()


class _Progress:
    """What a terminal shows while a receiver works."""

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self._rate = Rate()

    def __call__(self) -> Doing | None:
        if self.receiver is None:
            return None
        stats = self.receiver.stats
        received = stats.bytes_received
        headline = f"{stats.rebuilt} rebuilt, {decimal(received)} at {self._rate(received)}"
        return Doing(f"{headline}, {stats.open} open", [])
