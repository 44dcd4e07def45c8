"""openmsi download: rebuild the files of a topic in a directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from openmsi.cli.options import (
    Bootstrap,
    ClientConfig,
    Debug,
    Json,
    StateDir,
    StopOnSignal,
    Topic,
    kafka_settings,
    state_directory,
)
from openmsi.cli.sending import describe_topic
from openmsi.cli.show import Doing, Rate, shown
from openmsi.errors import SomeFailed
from openmsi.events import Notice, Started
from openmsi.kafka import KafkaSettings, open_consumer
from openmsi.receive.journal import Journal, journal_path, own_group
from openmsi.receive.receiver import ReceiveJob, Receiver
from openmsi.sinks import DirectorySink
from openmsi.state import hold


def download(
    directory: Annotated[Path, typer.Argument(metavar="DIR", show_default=False)],
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
    settings = kafka_settings(bootstrap_servers, client_config)
    run(directory, (topic, group, until_end), settings, state_directory(state_dir), as_json)


def run(
    directory: Path,
    what: tuple[str, str, bool],
    settings: KafkaSettings,
    state_dir: Path,
    as_json: bool,
) -> None:
    """`what` is the topic, the group (empty: one of our own), and whether to stop at the end.

    Raises:
        SomeFailed: something could not be rebuilt.
    """
    topic, group, until_end = what
    info = describe_topic(settings, topic)
    is_new = not directory.exists()
    sink = DirectorySink(directory)
    group = group or own_group(state_dir, sink.root, info, is_new)
    path = journal_path(state_dir, sink.root, info, group)
    progress = _Progress()
    stop = StopOnSignal()
    set_aside: list[str] = []
    with (
        hold(path.with_suffix(".lock"), f"receiving topic {topic!r} in {directory}"),
        shown(as_json, progress) as report,
    ):
        meta = {"destination": str(sink.root), "topic": topic, "group": group}
        journal = Journal(path, meta, set_aside)
        for text in set_aside:
            report(Notice(text))
        try:
            job = ReceiveJob(info, group, until_end)
            opener = partial(open_consumer, settings, topic, group)
            receiver = Receiver(job, opener, sink, journal, report)
            progress.receiver = receiver
            report(Started(str(sink.root), topic, group))
            summary = receiver.run(stop)
        finally:
            journal.close()
        report(summary)
    if until_end and (summary.dead_letters or summary.incomplete):
        raise SomeFailed(
            "download",
            f"{summary.dead_letters} dead letters, {summary.incomplete} incomplete files",
            "Each was named above; all the others are rebuilt.",
        )


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
