"""The sender's durable record: which content of which file is in the topic, and where.

One SQLite file per watched directory and topic. Rows are buffered and written many at a time;
a reader in another process (`openmsi status`) sees them as they are written.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec

from openmsi.errors import OpenMSIError
from openmsi.kafka.seam import TopicInfo
from openmsi.protocol import Digest, Manifest, VersionId
from openmsi.send.files import Identity
from openmsi.send.transfer import Progress
from openmsi.state import database_error, open_database, state_file, transaction

FORM = 1
SENT, IN_FLIGHT, FAILED, BASELINE = "sent", "in-flight", "failed", "baseline"
GONE = "gone"  # deleted before all of it was sent

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE files (
    directory TEXT, name TEXT, state TEXT,
    size INTEGER, mtime_ns INTEGER, inode INTEGER, attempt INTEGER,
    version TEXT, chunk_size INTEGER, next_index INTEGER, next_start INTEGER,
    digest TEXT, partition INTEGER, first_offset INTEGER, last_offset INTEGER, chunks INTEGER,
    at REAL, reason TEXT,
    PRIMARY KEY (directory, name)
) WITHOUT ROWID
"""


class Entry(msgspec.Struct, frozen=True):
    """What the ledger knows of one file. `at` is seconds since 1970 of the last change of state;
    the fields from `version` on mean something according to `state`.

    In the older format the records of one version may lie in several partitions. Then partition
    and offsets are -1: path and digest are what finds it. A file in flight has its digest in that
    format only.
    """

    directory: str
    name: str
    state: str
    size: int
    mtime_ns: int
    inode: int
    attempt: int = 0
    version: str = ""
    chunk_size: int = 0
    next_index: int = 0
    next_start: int = 0
    digest: str = ""
    partition: int = -1
    first_offset: int = -1
    last_offset: int = -1
    chunks: int = 0
    at: float = 0.0
    reason: str = ""

    @property
    def native(self) -> str:
        """The file's name relative to the watched directory."""
        return f"{self.directory}/{self.name}" if self.directory else self.name

    def describes(self, identity: Identity) -> bool:
        """Is the file on disk still the one that this entry is about?"""
        return (self.size, self.mtime_ns, self.inode) == (
            identity.size,
            identity.mtime_ns,
            identity.inode,
        )

    def progress(self) -> Progress:
        return Progress(
            VersionId(self.version),
            self.chunk_size,
            self.next_index,
            self.next_start,
            self.partition,
            self.first_offset,
            Digest(self.digest) if self.digest else None,
        )


_COLUMNS = ", ".join(Entry.__struct_fields__)
_UPSERT = (
    f"INSERT OR REPLACE INTO files ({_COLUMNS}) "
    f"VALUES ({', '.join('?' * len(Entry.__struct_fields__))})"
)


def split(native: str) -> tuple[str, str]:
    """The directory and the name of a file, as the ledger writes them."""
    directory, _, name = _text(native).rpartition("/")
    return directory, name


def _text(native: str) -> str:
    # SQLite takes no names that are not valid Unicode; they only come to be reported.
    if native.isascii():
        return native
    return native.encode(errors="surrogateescape").decode(errors="backslashreplace")


def ledger_path(state_dir: Path, root: Path, topic: TopicInfo, prefix: str) -> Path:
    """A topic that was deleted and made again has another id, and so another ledger."""
    return state_file(state_dir, "send", root, topic.name, topic.topic_id, prefix)


class Ledger:
    """The record of one watched directory, one topic, one prefix.

    Args:
        set_aside: gets a sentence when an unusable file had to be put away.
    """

    def __init__(self, path: Path, meta: dict[str, str], set_aside: list[str]) -> None:
        self.path = path
        self._db = open_database(path, _SCHEMA, FORM, set_aside)
        self._dirty: dict[tuple[str, str], Entry] = {}
        new_id = [("id", os.urandom(16).hex())]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            self._db.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", new_id)
        self._id = str(self.meta("id"))

    def meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row and str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def new_version(
        self, native: str, identity: Identity, chunk_size: int, attempt: int
    ) -> VersionId:
        """The id of this content's version. The same content gets the same id after a crash, so
        that a receiver recognises what the ledger had no time to note."""
        text = (self._id, native, identity.size, identity.mtime_ns, identity.inode)
        seed = "\0".join(map(str, (*text, chunk_size, attempt)))
        digest = hashlib.blake2b(seed.encode(errors="surrogateescape"), digest_size=16)
        return VersionId(digest.hexdigest())

    def rebuild(self, versions: Iterable[Manifest], prefix: str) -> None:
        """Take over what the topic holds, after the former ledger was lost. The files' identities
        are not known any more: each is read once to see whether it is the one in the topic."""
        for each in versions:
            inside = not prefix or each.path.startswith(prefix + "/")
            native = each.path[len(prefix) + 1 :] if prefix else each.path
            if inside:
                self.note(sent(native, Identity(each.size, -1, -1, 0), 0, each))
        self.flush()

    def directory(self, directory: str) -> dict[str, Entry]:
        """All entries of one directory, by name."""
        text = _text(directory)
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM files WHERE directory = ?", (text,))
        found = {row[1]: Entry(*row) for row in rows}
        for (where, name), entry in self._dirty.items():
            if where == text:
                found[name] = entry
        return found

    def entry(self, native: str) -> Entry | None:
        key = split(native)
        if key in self._dirty:
            return self._dirty[key]
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM files WHERE directory = ? AND name = ?", key
        ).fetchone()
        return Entry(*row) if row else None

    def in_state(self, state: str) -> list[Entry]:
        self.flush()
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM files WHERE state = ?", (state,))
        return [Entry(*row) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of files by state."""
        self.flush()
        return dict(self._db.execute("SELECT state, count(*) FROM files GROUP BY state"))

    def note(self, entry: Entry) -> None:
        """Remember `entry`; durable at the next flush."""
        self._dirty[entry.directory, entry.name] = msgspec.structs.replace(entry, at=time.time())

    def flush(self) -> None:
        """Write what was noted, in one transaction.

        Raises:
            DiskFull: the entries stay noted; try again later.
        """
        if not self._dirty:
            return
        rows = [msgspec.structs.astuple(entry) for entry in self._dirty.values()]
        with transaction(self._db, self.path):
            self._db.executemany(_UPSERT, rows)
        self._dirty.clear()

    def close(self) -> None:
        try:
            self.flush()
        finally:
            self._db.close()


def in_flight(native: str, identity: Identity, attempt: int, progress: Progress) -> Entry:
    """The entry of a file that is on its way. A chunk size of 0 means that it can only be
    started over."""
    return Entry(
        *split(native),
        IN_FLIGHT,
        *identity.kept(),
        attempt,
        progress.version,
        progress.chunk_size,
        progress.index,
        progress.start,
        digest=progress.digest or "",
        partition=progress.partition,
        first_offset=progress.first_offset,
    )


def failed(native: str, identity: Identity | None, attempt: int, reason: str) -> Entry:
    """The entry of a file that could not be sent; `identity` is None where it is not known."""
    kept = identity.kept() if identity else (0, 0, 0)
    return Entry(*split(native), FAILED, *kept, attempt, reason=reason)


def sent(native: str, identity: Identity, attempt: int, manifest: Manifest) -> Entry:
    """The entry of a file whose every record is acknowledged: its receipt."""
    return Entry(
        *split(native),
        SENT,
        *identity.kept(),
        attempt,
        manifest.version,
        digest=manifest.digest,
        partition=manifest.partition,
        first_offset=manifest.first_offset,
        last_offset=manifest.last_offset,
        chunks=manifest.chunks,
    )


def ledgers_of(state_dir: Path, path: Path, unreadable: list[str]) -> list[LedgerView]:
    """The ledgers of the directory `path`, or of the nearest watched one that holds it; newest
    first. A directory of which only single files were uploaded counts for these files only.
    `unreadable` gets a sentence about each ledger that cannot be read, whosever it is."""
    found: list[LedgerView] = []
    for file in sorted((state_dir / "send").glob("*.sqlite")):
        try:
            view = LedgerView(file)
        except OpenMSIError as error:
            unreadable.append(f"{error.what} cannot be read: {error.why}")
            continue
        near = path == view.root or view.root in path.parents
        if near and (view.whole or view.entry(path.relative_to(view.root).as_posix())):
            found.append(view)
        else:
            view.close()
    nearest = max((len(view.root.parts) for view in found), default=0)
    for view in found:
        if len(view.root.parts) < nearest:
            view.close()
    nearby = [view for view in found if len(view.root.parts) == nearest]
    return sorted(nearby, key=lambda view: file_time(view.path), reverse=True)


def file_time(path: Path) -> float:
    """When the database was last written, in seconds since 1970."""
    log = path.with_name(path.name + "-wal")
    return max(each.stat().st_mtime for each in (path, log) if each.exists())


class LedgerView:
    """Reads a ledger that another process may be writing.

    Raises:
        LocalDiskError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._db = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
            self.meta = dict(self._db.execute("SELECT name, value FROM meta"))
        except sqlite3.Error as error:
            raise database_error(path, error) from error
        self.root = Path(self.meta["root"])
        self.topic = str(self.meta["topic"])
        self.prefix = str(self.meta["prefix"])
        self.whole = self.meta.get("whole") == "yes"

    def counts(self) -> dict[str, int]:
        """Number of files by state."""
        return dict(self._db.execute("SELECT state, count(*) FROM files GROUP BY state"))

    def in_state(self, *states: str) -> list[Entry]:
        marks = ", ".join("?" * len(states))
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM files WHERE state IN ({marks})", states)
        return [Entry(*row) for row in rows]

    def entry(self, native: str) -> Entry | None:
        query = f"SELECT {_COLUMNS} FROM files WHERE directory = ? AND name = ?"
        row = self._db.execute(query, split(native)).fetchone()
        return Entry(*row) if row else None

    def directory(self, directory: str) -> dict[str, Entry]:
        """All entries of one directory, by name."""
        query = f"SELECT {_COLUMNS} FROM files WHERE directory = ?"
        return {row[1]: Entry(*row) for row in self._db.execute(query, (_text(directory),))}

    def close(self) -> None:
        self._db.close()
