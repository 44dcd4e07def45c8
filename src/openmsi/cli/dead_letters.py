"""openmsi dead-letters list | retry: what could not be rebuilt, why, and once more."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi.cli.options import (
    Bootstrap,
    Config,
    Connection,
    Debug,
    Json,
    StateDir,
    state_directory,
)
from openmsi.cli.show import clean, shown
from openmsi.errors import LocalDiskError, SomeFailed
from openmsi.kafka import open_admin
from openmsi.receive.journal import Journal, journals_of
from openmsi.receive.retry import retry as try_again
from openmsi.sinks import DirectorySink
from openmsi.state import hold

app = typer.Typer(no_args_is_help=True, help="What a download could not rebuild, and why.")

Destination = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="The directory given to openmsi download.", show_default=False
    ),
]


class Kept(msgspec.Struct, frozen=True):
    """One dead letter; `at` is when it was kept, in seconds since 1970."""

    topic: str
    partition: int
    first_offset: int
    last_offset: int
    reason: str
    detail: str
    path: str
    version: str
    at: float


@app.command("list")
def list_letters(
    directory: Destination, state_dir: StateDir = None, as_json: Json = False, debug: Debug = False
) -> None:
    """List what `openmsi download DIR` could not rebuild, with the reasons.

    The records themselves stay in the topic as long as it keeps them.

    Exit code 0: there are none. 3: there are some.

    Example: openmsi dead-letters list repository/
    """
    found = False
    with _journals(directory, state_dir) as journals:
        for journal in journals:
            for letter, at in journal.dead_letters():
                found = True
                kept = Kept(**msgspec.structs.asdict(letter), at=at)
                print(msgspec.json.encode(kept).decode() if as_json else _line(kept))
    if found:
        raise typer.Exit(3)
    if not as_json:
        print("no dead letters")


@app.command()
def retry(
    directory: Destination,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    state_dir: StateDir = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Try to rebuild them again, after the reason was removed: a directory that was in the way,
    a name that another system allows.

    Exit code 0: nothing is left. 3: some failed again, and are kept.

    Example: openmsi dead-letters retry repository/
    """
    settings = Connection(bootstrap_servers, config).receiving()
    remaining = 0
    admin = open_admin(settings)
    try:
        with _journals(directory, state_dir) as journals, shown(as_json, lambda: None) as report:
            for journal in journals:
                letters = [each.letter for each in journal.dead_letters()]
                if not letters:
                    continue
                doing = f"receiving topic {letters[0].topic!r} in {directory}"
                with hold(journal.path.with_suffix(".lock"), doing):
                    topic = admin.describe_topic(letters[0].topic)
                    read = partial(admin.read, topic.name)
                    sink = DirectorySink(directory)
                    remaining += try_again(letters, topic, read, (sink, journal), report)
    finally:
        admin.close()
    if remaining:
        raise SomeFailed("dead-letters retry", f"{remaining} failed again and are kept")


@contextmanager
def _journals(directory: Path, state_dir: Path | None) -> Iterator[list[Journal]]:
    journals = journals_of(state_directory(state_dir), Path(os.path.realpath(directory)))
    if not journals:
        why = "nothing was ever received in it, with this state directory"
        raise LocalDiskError(str(directory), why, "Name the directory given to openmsi download.")
    try:
        yield journals
    finally:
        for journal in journals:
            journal.close()


def _line(kept: Kept) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(kept.at))
    where = f"{kept.topic}[{kept.partition}] {kept.first_offset}-{kept.last_offset}"
    path = f" {clean(kept.path)}" if kept.path else ""
    return f"{when} {where}{path}: {kept.reason}: {clean(kept.detail)}"
