"""openmsi verify: does the topic hold every file of a directory, with its content of now?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from openmsi.catalog import Place, digest_in_topic
from openmsi.cli.options import (
    Bootstrap,
    Config,
    Connection,
    Debug,
    Exclude,
    Include,
    Json,
    Prefix,
    StateDir,
    Topic,
    existing_directory,
    state_directory,
)
from openmsi.cli.sending import check_prefix, place_of, versions_in_topic
from openmsi.cli.show import clean
from openmsi.errors import RecordRejected, SomeFailed
from openmsi.kafka import Admin, KafkaSettings, describe_topic, open_admin
from openmsi.protocol import (
    LEGACY_ALGORITHM,
    Chunk,
    Digest,
    algorithm_of,
    decode,
    digest_of,
    new_hasher,
    to_path,
)
from openmsi.send.files import identity_of, open_to_read
from openmsi.send.filters import Filter
from openmsi.send.ledger import SENT, Entry, LedgerView, ledgers_of
from openmsi.send.scan import Found, Skipped, scan


class Verified(msgspec.Struct, frozen=True, tag_field="event", tag="verified", omit_defaults=True):
    """One file; `problem` is empty when the topic holds its content."""

    path: str
    problem: str = ""


class VerifySummary(msgspec.Struct, frozen=True, tag_field="event", tag="summary"):
    """How many files were compared, and how many are not safe."""

    files: int
    problems: int


def verify(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="The directory whose files were sent.", show_default=False
        ),
    ],
    topic: Topic,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Read every byte here and every record there, and compare digests."
        ),
    ] = False,
    prefix: Prefix = "",
    include: Include = None,
    exclude: Exclude = None,
    bootstrap_servers: Bootstrap = None,
    config: Config = None,
    state_dir: StateDir = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check that the topic holds every file of DIR with the content that it has now.

    Without --deep, a file whose size and time did not change since it was sent counts as
    unchanged, and of its records only the first and the last are looked at. Files that were
    sent from another computer, or in the older format, are looked up by reading the topic.

    Exit code 0: all are there. 3: some are not, and each is named.

    Example: openmsi verify D:\\data --topic ebsd
    """
    root = existing_directory(directory)
    settings = Connection(bootstrap_servers, config).receiving()
    check = _Check(settings, topic, root, check_prefix(prefix), deep)
    files = problems = 0
    try:
        check.use_ledger(state_directory(state_dir))
        for each in check.run(Filter(include or (), exclude or ())):
            files += 1
            problems += bool(each.problem)
            if as_json:
                print(msgspec.json.encode(each).decode())
            elif each.problem:
                print(f"{clean(each.path)}: {clean(each.problem)}")
    finally:
        check.close()
    if as_json:
        print(msgspec.json.encode(VerifySummary(files, problems)).decode())
    if problems:
        raise SomeFailed("verify", f"{problems} of {files} files are not in the topic as they are")
    if not as_json:
        print(f"{files} files are in topic {topic}, " + ("every byte" if deep else "as they are"))


class _Check:
    """One directory against one topic."""

    def __init__(
        self, settings: KafkaSettings, topic: str, root: Path, prefix: str, deep: bool
    ) -> None:
        self._settings = settings
        self._info = describe_topic(settings, topic)
        self._admin: Admin = open_admin(settings)
        self._root = root
        self._prefix = prefix
        self._deep = deep
        self._ledger: LedgerView | None = None
        self._catalog: dict[str, Place] | None = None

    def use_ledger(self, state_dir: Path) -> None:
        wanted = (self._info.name, self._info.topic_id, self._prefix)
        for view in ledgers_of(state_dir, self._root, []):
            if (view.topic, view.meta.get("topic_id"), view.prefix) == wanted and (
                view.root == self._root and self._ledger is None
            ):
                self._ledger = view
            else:
                view.close()

    def close(self) -> None:
        self._admin.close()
        if self._ledger is not None:
            self._ledger.close()

    def run(self, keep: Filter) -> Iterator[Verified]:
        for step in scan(self._root, "", keep, lambda _: {}):
            if isinstance(step, Found):
                yield Verified(step.native, self._problem(step))
            elif isinstance(step, Skipped):
                yield Verified(step.native, f"it was never sent: {step.reason}")

    def _problem(self, found: Found) -> str:
        entry = self._ledger.entry(found.native) if self._ledger else None
        receipt = entry if entry is not None and entry.state == SENT else None
        try:
            place = place_of(receipt) if receipt else self._look_up(found.native)
        except RecordRejected as error:
            return f"it cannot be sent: {error.detail}"
        if place is None:
            return "it is not in the topic" + (
                f": {entry.reason}" if entry and entry.reason else ""
            )
        changed = self._changed(found, receipt, place)
        if changed:
            return changed
        # Only the older format has this digest: its records say nothing of their places.
        if algorithm_of(place.digest) == LEGACY_ALGORITHM:
            return self._missing_somewhere(found.native, place)
        if self._deep:
            in_topic = digest_in_topic(partial(self._admin.read, self._info.name), place)
            same = in_topic == place.digest
            return "" if same else f"the topic's copy is damaged or gone: {in_topic}"
        return self._missing_end(place)

    def _changed(self, found: Found, receipt: Entry | None, place: Place) -> str:
        if receipt is not None and not self._deep and receipt.describes(found.identity):
            return ""
        try:
            now = _digest_of_file(self._root / found.native, algorithm_of(place.digest))
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return "" if now == place.digest else "its content is not the one that was sent"

    def _missing_somewhere(self, native: str, place: Place) -> str:
        """For a file whose records lie all over the topic, which is therefore read as a whole;
        each record's own hash is compared along the way."""
        there = self._look_up(native)
        if there is None:
            return "not all of its records are in the topic (any more)"
        return "" if there.digest == place.digest else "the topic holds another content of it"

    def _missing_end(self, place: Place) -> str:
        for offset in (place.first_offset, place.last_offset):
            fetched = self._admin.read(self._info.name, place.partition, offset)
            try:
                chunk = decode(fetched.record) if fetched else None
            except RecordRejected:
                chunk = None
            if not isinstance(chunk, Chunk) or chunk.version != place.version:
                return f"its record at offset {offset} is not in the topic any more"
        return ""

    def _look_up(self, native: str) -> Place | None:
        path = to_path(f"{self._prefix}/{native}" if self._prefix else native)
        if self._catalog is None:
            self._catalog = self._read_topic()
        return self._catalog.get(path)

    def _read_topic(self) -> dict[str, Place]:
        found = versions_in_topic(self._settings, self._info.name)
        return {
            each.path: Place(
                each.version, each.digest, each.partition, each.first_offset, each.last_offset
            )
            for each in found
        }


def _digest_of_file(path: Path, algorithm: str) -> Digest:
    hasher = new_hasher(algorithm)
    with os.fdopen(open_to_read(path), "rb") as file:
        before = identity_of(os.fstat(file.fileno()))
        while data := file.read(2**20):
            hasher.update(data)
        if identity_of(os.fstat(file.fileno())) != before:
            raise OSError(0, "it changed while it was read")
    return digest_of(hasher, algorithm)
