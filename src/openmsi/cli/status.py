"""openmsi status: is my data safe? Answered from the ledger, also while a sender runs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi.cli.options import Debug, StateDir, state_directory
from openmsi.cli.show import clean
from openmsi.errors import LocalDiskError
from openmsi.protocol import SEVERAL
from openmsi.send.files import identity_of
from openmsi.send.filters import Filter
from openmsi.send.ledger import (
    BASELINE,
    FAILED,
    GONE,
    IN_FLIGHT,
    SENT,
    Entry,
    LedgerView,
    ledgers_of,
)
from openmsi.send.scan import Found, scan
from openmsi.state import holder_of

MOST_NAMED = 20


class FileStatus(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file: `state` is sent, in-flight, waiting, failed, gone (deleted before all of it was
    sent) or left (there before --new-only). `at` is seconds since 1970 of its last change of
    state: for a sent file, when its last record was acknowledged."""

    path: str
    state: str
    topic: str = ""
    reason: str = ""
    size: int = 0
    version: str = ""
    digest: str = ""
    partition: int = -1
    first_offset: int = -1
    last_offset: int = -1
    at: float = 0.0


class DirectoryStatus(msgspec.Struct, frozen=True):
    """One watched directory and topic. `sender` says who works on it; empty for nobody."""

    directory: str
    topic: str
    sender: str
    sent: int
    in_flight: int
    waiting: int
    failed: int
    gone: int  # deleted before all of it was sent
    files: list[FileStatus]  # those that are not sent yet


def status(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The watched directory, or one file of it.", show_default=False
        ),
    ],
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object for programs.")] = False,
    debug: Debug = False,
) -> None:
    """Show what is sent, in flight, waiting or failed in a watched directory; for a single file,
    its receipt.

    Exit code 0: everything is in the topic. 3: something is not, yet.

    Example: openmsi status D:\\data
    """
    target = Path(os.path.realpath(path))
    unreadable: list[str] = []
    views = ledgers_of(state_directory(state_dir), target, unreadable)
    for text in unreadable:
        print(f"openmsi: note: {text}", file=sys.stderr)
    if not views:
        why = "nothing was ever sent from it, with this state directory"
        raise LocalDiskError(str(path), why, "Send it with `openmsi watch` or `openmsi upload`.")
    try:
        if target == views[0].root:
            _directories(views, as_json)
        else:
            _file(views, target, as_json)
    finally:
        for view in views:
            view.close()


def _directories(views: list[LedgerView], as_json: bool) -> None:
    all_sent = True
    for view in _newest_per_topic(views):
        found = directory_status(view)
        all_sent = all_sent and not (found.in_flight or found.waiting or found.failed)
        print(msgspec.json.encode(found).decode() if as_json else _described(found))
    if not all_sent:
        raise typer.Exit(3)


def _newest_per_topic(views: list[LedgerView]) -> list[LedgerView]:
    # An older ledger of the same topic is that of a topic that was deleted and made again.
    newest: dict[tuple[str, str], LedgerView] = {}
    for view in views:
        newest.setdefault((view.topic, view.prefix), view)
    return list(newest.values())


def directory_status(view: LedgerView) -> DirectoryStatus:
    """The ledger compared with what lies in the directory now."""
    keep = Filter(*msgspec.json.decode(view.meta.get("filter", "[[], []]")))
    entries = [_file_status(each, view) for each in view.in_state(IN_FLIGHT, FAILED)]
    named = {each.path for each in entries}
    walk = scan(view.root, "", keep, view.directory)
    waiting = [
        FileStatus(step.native, "waiting", view.topic, size=step.identity.size)
        for step in walk
        if isinstance(step, Found) and step.native not in named
    ]
    counts = view.counts()
    return DirectoryStatus(
        str(view.root),
        view.topic,
        holder_of(view.path.with_suffix(".lock")),
        counts.get(SENT, 0),
        counts.get(IN_FLIGHT, 0),
        len(waiting),
        counts.get(FAILED, 0),
        counts.get(GONE, 0),
        entries + waiting,
    )


def _file_status(entry: Entry, view: LedgerView) -> FileStatus:
    state = "left" if entry.state == BASELINE else entry.state
    return FileStatus(
        entry.native,
        state,
        view.topic,
        entry.reason,
        entry.size,
        entry.version,
        entry.digest,
        entry.partition,
        entry.first_offset,
        entry.last_offset,
        entry.at,
    )


def _described(found: DirectoryStatus) -> str:
    lines = [
        f"{found.directory} -> topic {found.topic}",
        f"  sender     {found.sender or 'none is running'}",
        f"  sent       {found.sent}",
        f"  in flight  {found.in_flight}",
        f"  waiting    {found.waiting}",
        f"  failed     {found.failed}",
    ]
    if found.gone:
        lines.append(f"  gone       {found.gone}, deleted before all of it was sent")
    for each in found.files[:MOST_NAMED]:
        reason = f": {each.reason}" if each.reason else ""
        lines.append(f"    {each.state:<10} {clean(each.path)}{reason}")
    if len(found.files) > MOST_NAMED:
        lines.append(f"    and {len(found.files) - MOST_NAMED} more; --json names all")
    return "\n".join(lines)


def _file(views: list[LedgerView], target: Path, as_json: bool) -> None:
    view = views[0]
    native = target.relative_to(view.root).as_posix()
    entry = view.entry(native)
    exists = target.exists()
    changed = entry is not None and exists and not entry.describes(identity_of(os.lstat(target)))
    if entry is None or (changed and entry.state == SENT):
        if not exists:
            raise LocalDiskError(str(target), "there is no such file, and none was sent")
        found = FileStatus(native, "waiting", view.topic, size=target.stat().st_size)
        if entry is not None:
            found = msgspec.structs.replace(found, reason="it changed after it was sent")
    else:
        found = _file_status(entry, view)
    print(msgspec.json.encode(found).decode() if as_json else _receipt(found))
    if found.state not in (SENT, "left"):
        raise typer.Exit(3)


def _receipt(found: FileStatus) -> str:
    rows = [("file", clean(found.path)), ("state", found.state), ("topic", found.topic)]
    if found.reason:
        rows.append(("reason", found.reason))
    if found.state == SENT:
        place = [("partition", "several, as files of the older format may have")]
        if found.partition != SEVERAL:
            offsets = f"{found.first_offset} to {found.last_offset}"
            place = [("partition", str(found.partition)), ("offsets", offsets)]
        rows += [
            ("size", f"{found.size} bytes"),
            ("version", found.version),
            ("digest", found.digest),
            *place,
            ("acknowledged", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found.at))),
        ]
    return "\n".join(f"{label:<13} {value}" for label, value in rows)
