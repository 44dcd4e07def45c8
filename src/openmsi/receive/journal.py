"""The receiver's durable record: how far each partition is, what is open, what was published."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from openmsi.events import DeadLetter
from openmsi.kafka.seam import TopicInfo
from openmsi.protocol import SEVERAL, Manifest, VersionId, check_path
from openmsi.protocol import Path as TopicPath
from openmsi.receive.assembly import Current, Saved
from openmsi.receive.progress import SavedInOrder, SavedSpread
from openmsi.state import (
    disk_error,
    make_directory,
    open_database,
    state_file,
    transaction,
)

FORM = 2
RECENT_VERSIONS = 20_000

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE positions (partition INTEGER PRIMARY KEY, position INTEGER);
CREATE TABLE open (
    version TEXT, partition INTEGER, path TEXT, first_offset INTEGER, last_offset INTEGER,
    timestamp_ms INTEGER, progress BLOB, PRIMARY KEY (version, partition)
) WITHOUT ROWID;
CREATE TABLE published (
    number INTEGER PRIMARY KEY, version TEXT UNIQUE, path TEXT, size INTEGER, digest TEXT,
    partition INTEGER, first_offset INTEGER, last_offset INTEGER, timestamp_ms INTEGER, at REAL
);
CREATE INDEX published_path ON published (path);
CREATE TABLE dead_letters (
    partition INTEGER, first_offset INTEGER, last_offset INTEGER, version TEXT,
    path TEXT, reason TEXT, detail TEXT, at REAL,
    PRIMARY KEY (partition, first_offset, version)
) WITHOUT ROWID
"""

_progress = msgspec.json.Decoder(SavedInOrder | SavedSpread)


class KeptLetter(NamedTuple):
    """A dead letter and when it was kept, in seconds since 1970."""

    letter: DeadLetter
    at: float


class Journaling(Protocol):
    """What the receiver needs of a journal."""

    def finished(self, version: VersionId) -> bool: ...

    def current(self, path: TopicPath) -> Current | None: ...

    def position(self, partition: int) -> int | None: ...

    def open_versions(self, partition: int) -> list[Saved]: ...

    def published(self, manifest: Manifest) -> None: ...

    def dead_letter(self, letter: DeadLetter) -> None: ...

    def checkpoint(self, positions: dict[int, int], saved: Iterable[Saved]) -> None: ...


class Journal:
    """The record of one destination, topic and group.

    Args:
        set_aside: gets a sentence when an unusable file had to be put away.
    """

    def __init__(self, path: Path, meta: dict[str, str], set_aside: list[str]) -> None:
        self.path = path
        self._db = open_database(path, _SCHEMA, FORM, set_aside)
        with self._db:
            self._db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", meta.items())
        self._published: list[Manifest] = []
        self._letters: list[DeadLetter] = []
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._current: dict[TopicPath, Current] = {}  # of what is not written yet

    def meta(self, name: str) -> str:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else ""

    def finished(self, version: VersionId) -> bool:
        """Was this version published here?"""
        if version in self._recent:
            return True
        query = "SELECT 1 FROM published WHERE version = ?"
        return self._db.execute(query, (version,)).fetchone() is not None

    def current(self, path: TopicPath) -> Current | None:
        """What of `path` was published here last; None if nothing was."""
        unwritten = self._current.get(path)
        if unwritten is not None:
            return unwritten
        row = self._db.execute(
            "SELECT version, timestamp_ms FROM published WHERE path = ?"
            " ORDER BY number DESC LIMIT 1",
            (path,),
        ).fetchone()
        return row and Current(VersionId(row[0]), row[1])

    def position(self, partition: int) -> int | None:
        """The offset after the last record that was handled durably; None if there was none."""
        query = "SELECT position FROM positions WHERE partition = ?"
        row = self._db.execute(query, (partition,)).fetchone()
        return row and int(row[0])

    def open_versions(self, partition: int) -> list[Saved]:
        rows = self._db.execute(
            "SELECT version, path, first_offset, last_offset, timestamp_ms, progress"
            " FROM open WHERE partition = ?",
            (partition,),
        )
        return [
            Saved(
                VersionId(version),
                check_path(path),
                partition,
                first_offset,
                last_offset,
                timestamp_ms,
                _progress.decode(progress),
            )
            for version, path, first_offset, last_offset, timestamp_ms, progress in rows
        ]

    def published(self, manifest: Manifest) -> None:
        """Remember it; durable at the next checkpoint."""
        self._published.append(manifest)
        self._current[manifest.path] = Current(manifest.version, manifest.timestamp_ms)
        self._recent[manifest.version] = None
        if len(self._recent) > RECENT_VERSIONS and len(self._recent) > len(self._published):
            self._recent.popitem(last=False)

    def dead_letter(self, letter: DeadLetter) -> None:
        """Keep it; durable at the next checkpoint."""
        self._letters.append(letter)

    def dead_letters(self) -> list[KeptLetter]:
        """All that are kept, oldest first."""
        rows = self._db.execute(
            "SELECT partition, first_offset, last_offset, reason, detail, path, version, at"
            " FROM dead_letters ORDER BY at, partition, first_offset"
        )
        topic = self.meta("topic")
        return [KeptLetter(DeadLetter(topic, *row[:7]), row[7]) for row in rows]

    def is_superseded(self, letter: DeadLetter) -> bool:
        """Was a later version of the letter's path published?"""
        if letter.partition == SEVERAL:
            query = (
                "SELECT 1 FROM published JOIN dead_letters USING (path)"
                " WHERE path = ? AND dead_letters.version = ? AND published.at > dead_letters.at"
            )
            place: tuple[object, ...] = (letter.path, letter.version)
        else:
            query = "SELECT 1 FROM published WHERE path = ? AND partition = ? AND last_offset > ?"
            place = (letter.path, letter.partition, letter.last_offset)
        return self._db.execute(query, place).fetchone() is not None

    def forget_letter(self, letter: DeadLetter) -> None:
        """It was retried with success."""
        self._db.execute(
            "DELETE FROM dead_letters WHERE partition = ? AND first_offset = ? AND version = ?",
            (letter.partition, letter.first_offset, letter.version),
        )

    def checkpoint(self, positions: dict[int, int], saved: Iterable[Saved]) -> None:
        """Write everything in one transaction: `positions` of the owned partitions, and their
        open versions.

        Raises:
            DiskFull: nothing was written; try again later.
        """
        now = time.time()
        with transaction(self._db, self.path):
            self._write(positions, saved, now)
        self._published.clear()
        self._current.clear()
        self._letters.clear()

    def _write(self, positions: dict[int, int], saved: Iterable[Saved], now: float) -> None:
        run = self._db.executemany
        run("INSERT OR REPLACE INTO positions VALUES (?, ?)", positions.items())
        run("DELETE FROM open WHERE partition = ?", [(each,) for each in positions])
        run(
            "INSERT OR REPLACE INTO open VALUES (?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    each.version,
                    each.partition,
                    each.path,
                    each.first_offset,
                    each.last_offset,
                    each.timestamp_ms,
                    msgspec.json.encode(each.progress),
                )
                for each in saved
            ],
        )
        run(
            "INSERT OR REPLACE INTO published VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    m.version,
                    m.path,
                    m.size,
                    m.digest,
                    m.partition,
                    m.first_offset,
                    m.last_offset,
                    m.timestamp_ms,
                    now,
                )
                for m in self._published
            ],
        )
        run(
            "INSERT OR IGNORE INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    d.partition,
                    d.first_offset,
                    d.last_offset,
                    d.version,
                    d.path,
                    d.reason,
                    d.detail,
                    now,
                )
                for d in self._letters
            ],
        )

    def close(self) -> None:
        self._db.close()


def journal_path(state_dir: Path, destination: Path, topic: TopicInfo, group: str) -> Path:
    """A topic that was deleted and made again has another id, and so another journal."""
    return state_file(state_dir, "receive", destination, topic.name, topic.topic_id, group)


def journals_of(state_dir: Path, destination: Path) -> list[Journal]:
    """The journals of one destination, one for each topic and group.

    Raises:
        LocalDiskError: one of them cannot be read.
    """
    found = []
    for file in sorted((state_dir / "receive").glob("*.sqlite")):
        journal = Journal(file, {}, [])
        if journal.meta("destination") == str(destination):
            found.append(journal)
        else:
            journal.close()
    return found


def own_group(state_dir: Path, destination: Path, topic: TopicInfo, is_new: bool) -> str:
    """The consumer group of this destination alone, the same at every start.

    A destination that `is_new` gets a new one, and with it the topic from its beginning: the
    files that the former group received were in a directory that is gone.

    Raises:
        LocalDiskError: the state directory cannot be used.
    """
    file = state_file(state_dir, "receive", destination, topic.name, topic.topic_id)
    file = file.with_suffix(".group")
    try:
        make_directory(file.parent)
        if is_new or not file.exists():
            file.write_text(f"openmsi-{destination.name}-{os.urandom(6).hex()}", encoding="utf-8")
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise disk_error(file, error) from error
