"""openmsi upload: files and directories once, until all is acknowledged."""

from __future__ import annotations

import os
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
    format_of,
    real_directory,
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
from openmsi.errors import LocalDiskError, SomeFailed
from openmsi.events import SendSummary
from openmsi.kafka import describe_topic
from openmsi.send.filters import Filter
from openmsi.send.sender import Sender


def upload(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and directories.")],
    topic: Topic,
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
    """Send files or whole directories once, and wait until they are safe in the topic.

    A directory keeps its tree, relative to the argument. What was sent before and did not
    change is not sent again; an upload that was interrupted goes on where it was.

    Exit code 3: some files could not be sent, and each was named.

    Example: openmsi upload scans/ notes.txt --topic ebsd
    """
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
    stop = StopOnSignal()
    progress = SendProgress()
    with shown(as_json, progress) as report:
        keep = Filter(include or (), exclude or ())
        run(paths, options, keep, Host(report, stop, progress.started))


def run(paths: list[Path], options: SendOptions, keep: Filter, host: Host[Sender]) -> SendSummary:
    """Send these, and report the summary.

    Raises:
        SomeFailed: a file could not be sent, or somebody wanted it to stop.
    """
    roots = by_root(paths)
    info = describe_topic(options.settings, options.topic)
    total = SendSummary(0, 0, 0, 0, 0, 0.0)
    stopped = False
    for root, only in roots.items():
        job = replace(options.job(root, info, keep), only=only, once=True)
        total = _add(total, send(job, options, host.report, host.stop, host.started))
        stopped = host.stop()
        if stopped:
            break
    host.report(total)
    if stopped:
        raise SomeFailed("upload", "it was stopped", "The same command goes on where it was.")
    if total.failed:
        raise SomeFailed("upload", f"{total.failed} files were not sent; each was named above")
    return total


def by_root(paths: list[Path]) -> dict[Path, frozenset[str] | None]:
    """The directories to send: whole ones, and those of single files with the files' names.

    Raises:
        LocalDiskError: there is no such file or directory.
    """
    whole: dict[Path, frozenset[str] | None] = {}
    single: dict[Path, set[str]] = {}
    for path in paths:
        if path.is_dir():
            whole[real_directory(path)] = None
        elif os.path.lexists(path):
            parent = real_directory(path.parent)
            single.setdefault(parent, set()).add(path.name)
        else:
            raise LocalDiskError(str(path), "there is no such file or directory")
    return {**{root: frozenset(names) for root, names in single.items()}, **whole}


def _add(one: SendSummary, other: SendSummary) -> SendSummary:
    pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
    return SendSummary(*(a + b for a, b in pairs))
