"""openmsi watch: send what appears in a directory, until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec.structs import replace

from openmsi.cli.options import (
    After,
    Bootstrap,
    ChunkSize,
    CompressionOption,
    Config,
    Connection,
    Debug,
    Exclude,
    FormatOption,
    Host,
    Include,
    Json,
    LowPriority,
    MaxRate,
    Prefix,
    StateDir,
    StopOnSignal,
    Topic,
    existing_directory,
    format_of,
    state_directory,
)
from openmsi.cli.sending import (
    SendOptions,
    SendProgress,
    check_after,
    check_prefix,
    send,
)
from openmsi.cli.show import shown
from openmsi.errors import TopicRemade, UsageError
from openmsi.events import Notice
from openmsi.kafka import describe_topic
from openmsi.send.filters import Filter
from openmsi.send.formats import NATIVE
from openmsi.send.sender import Sender


def watch(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The directory to watch.", show_default=False)
    ],
    topic: Topic,
    new_only: Annotated[
        bool, typer.Option("--new-only", help="Leave alone what is there at the first start.")
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            min=0.0,
            metavar="SECONDS",
            help="A file unchanged for so long is done; on Linux also once it is closed.",
        ),
    ] = 2.0,
    growing: Annotated[
        bool,
        typer.Option("--growing", help="Send files while they are written; finish when settled."),
    ] = False,
    after: After = "keep",
    prefix: Prefix = "",
    include: Include = None,
    exclude: Exclude = None,
    form: FormatOption = None,
    chunk_size: ChunkSize = None,
    max_rate: MaxRate = None,
    low_priority: LowPriority = False,
    compression: CompressionOption = None,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    state_dir: StateDir = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Send every file that appears in DIR or below, until stopped with Ctrl-C.

    What is there already is sent too. After a stop, a crash or a power cut, the same command
    goes on where it was: nothing is lost, and nothing that was sent is sent again.

    Example: openmsi watch D:\\data --topic ebsd
    """
    root = existing_directory(directory)
    connection = Connection(bootstrap_servers, config)
    options = SendOptions(
        topic,
        connection.sending(compression),
        state_directory(state_dir),
        check_prefix(prefix),
        chunk_size,
        check_after(after),
        format_of(form, connection.said),
        max_rate,
    )
    how = Watching(Filter(include or (), exclude or ()), settle, new_only, growing)
    progress = SendProgress()
    stop = StopOnSignal()
    with shown(as_json, progress) as report:
        run(root, options, how, Host(report, stop, progress.started))


class Watching(msgspec.Struct, frozen=True):
    """Which files are sent, and when; see `SendJob`."""

    filter: Filter
    settle: float = 2.0
    new_only: bool = False
    growing: bool = False


def run(root: Path, options: SendOptions, how: Watching, host: Host[Sender]) -> None:
    """Send what appears in `root` until the host says stop, and report the summary.

    Raises:
        UsageError: files cannot be sent in this format while they grow.
    """
    if how.growing and options.format != NATIVE:
        why = f"records of the format {options.format} are those of files that do not change"
        raise UsageError("--growing", why, "Leave it out, or write --format native.")
    while True:
        info = describe_topic(options.settings, options.topic)
        job = replace(
            options.job(root, info, how.filter),
            settle=how.settle,
            new_only=how.new_only,
            growing=how.growing,
        )
        try:
            host.report(send(job, options, host.report, host.stop, host.started))
            return
        except TopicRemade as error:
            host.report(Notice(f"{error}; everything is sent again"))
