"""openmsi watch: send what appears in a directory, until stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from openmsi.cli.options import (
    After,
    Bootstrap,
    ChunkSize,
    ClientConfig,
    Debug,
    Exclude,
    Include,
    Json,
    Prefix,
    StateDir,
    StopOnSignal,
    Topic,
    existing_directory,
    kafka_settings,
    state_directory,
)
from openmsi.cli.sending import (
    SendOptions,
    SendProgress,
    check_after,
    check_prefix,
    describe_topic,
    send,
    source_name,
)
from openmsi.cli.show import shown
from openmsi.errors import TopicRemade
from openmsi.events import Notice
from openmsi.send.filters import Filter
from openmsi.send.job import SendJob, fit_chunk_size


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
    chunk_size: ChunkSize = None,
    bootstrap_servers: Bootstrap = None,
    client_config: ClientConfig = None,
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
    options = SendOptions(
        topic,
        kafka_settings(bootstrap_servers, client_config),
        state_directory(state_dir),
        check_prefix(prefix),
        chunk_size,
        check_after(after),
    )
    keep = Filter(include or (), exclude or ())
    progress = SendProgress()
    stop = StopOnSignal()
    with shown(as_json, progress) as report:
        while True:
            info = describe_topic(options.settings, topic)
            job = SendJob(
                root,
                info,
                fit_chunk_size(chunk_size, info),
                keep,
                source_name(),
                prefix=options.prefix,
                settle=settle,
                new_only=new_only,
                growing=growing,
            )
            try:
                report(send(job, options, report, stop, progress.started))
                return
            except TopicRemade as error:
                report(Notice(f"{error}; everything is sent again"))
