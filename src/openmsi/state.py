"""The state directory: where ledgers and journals live, and who may write them.

Local disks only: SQLite's write-ahead log and file locks do not work on network drives.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from openmsi.errors import DiskFull, InUse, LocalDiskError, OpenMSIError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

log = logging.getLogger(__name__)

_FULL = {28, 122, 112}  # ENOSPC, EDQUOT, and Windows' ERROR_DISK_FULL
# What SQLite says of a file that is no database, or none that it understands.
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}


def default_state_dir() -> Path:
    """The platform's directory for a user's program state."""
    return Path(platformdirs.user_state_dir("openmsi", appauthor=False))


def state_file(state_dir: Path, kind: str, subject: Path, *identity: str) -> Path:
    """The path of one state file: readable, and distinct for each subject and identity."""
    digest = hashlib.sha256("\0".join([str(subject), *identity]).encode(errors="surrogateescape"))
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", subject.name)[:40] or "root"
    return state_dir / kind / f"{name}-{digest.hexdigest()[:16]}.sqlite"


def disk_error(what: str | Path, error: OSError, cure: str = "") -> LocalDiskError:
    """The error of our tree for one of the operating system's."""
    why = error.strerror or str(error)
    if error.errno in _FULL or getattr(error, "winerror", None) == 112:
        return DiskFull(str(what), "the disk is full", cure or "Free some space; it then goes on.")
    if isinstance(error, PermissionError):
        cure = cure or "Give the user that runs openmsi the right to use it."
    return LocalDiskError(str(what), why, cure)


def make_directory(path: Path) -> None:
    """Create `path` and its parents.

    Raises:
        LocalDiskError: it cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise LocalDiskError(
            str(path), "it is a file, but a directory is needed", "Name another directory."
        ) from None
    except NotADirectoryError:
        raise LocalDiskError(
            str(path), "one of its parents is a file", "Name another directory."
        ) from None
    except OSError as error:
        raise disk_error(path, error) from error


@contextlib.contextmanager
def hold(path: Path, doing: str) -> Iterator[None]:
    """Hold the lock file at `path` as long as the context lasts; the system lets go of it even
    when the process is killed.

    Args:
        doing: what the holder does, for the message that the second one gets.

    Raises:
        InUse: another process holds it; the message says which.
    """
    make_directory(path.parent)
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(path, error) from error
    try:
        if not _try_lock(handle):
            raise _in_use(path, doing)
        me = {"pid": os.getpid(), "host": socket.gethostname(), "doing": doing, "at": time.time()}
        # The holder's name lies behind the locked byte, so that others can read it on Windows.
        with contextlib.suppress(OSError):  # on a full disk the lock holds without the name
            os.ftruncate(handle, 0)
            os.lseek(handle, 1, os.SEEK_SET)
            os.write(handle, json.dumps(me).encode())
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _in_use(path: Path, doing: str) -> InUse:
    who = _written_holder(path) or "another process does so already"
    return InUse(doing, who, "Stop that one first, or leave the work to it.")


def holder_of(path: Path) -> str:
    """Who holds the lock file at `path`, in words; empty when nobody does."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return ""
    try:
        if _try_lock(handle):
            return ""
    finally:
        os.close(handle)
    return _written_holder(path) or "a process that is just starting"


def _written_holder(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(1)
            holder = json.loads(file.read())
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder["at"]))
        return f"process {holder['pid']} on {holder['host']} does so since {since}"
    except (OSError, ValueError, KeyError):
        return ""


def open_database(path: Path, schema: str, form: int, set_aside: list[str]) -> sqlite3.Connection:
    """Open the SQLite file at `path`, making it with `schema` when it is new.

    A file that is damaged, or of a newer form, is renamed and a new one made; a sentence
    about it is added to `set_aside`.

    Raises:
        LocalDiskError: the directory or the file cannot be used now.
    """
    make_directory(path.parent)
    try:
        return _open(path, schema, form)
    except (sqlite3.Error, _OtherForm) as error:
        # A full or broken disk, or a file in use, says nothing about what the file holds.
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF not in _DAMAGED:
            raise database_error(path, error) from error
        reason = str(error)
    aside = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.bad")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    set_aside.append(f"{path} cannot be used ({reason}); it was kept as {aside}")
    log.warning("state set aside: path=%s reason=%s kept=%s", path, reason, aside)
    return _open(path, schema, form)


class _OtherForm(Exception):
    pass


def _open(path: Path, schema: str, form: int) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        found = db.execute("PRAGMA user_version").fetchone()[0]
        tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if found != form and (found or tables):
            raise _OtherForm(f"it has form {found}, this program writes {form}")
        # The file survives a killed process; a power cut may cost the last transactions, which
        # are then done again. Neither can damage it.
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        if not tables:
            db.executescript(f"BEGIN; {schema}; PRAGMA user_version={form}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """Everything inside is written, or nothing.

    Raises:
        DiskFull: nothing was written; try again later.
        LocalDiskError: the file at `path` cannot be written.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:  # a full disk has ended it already
                db.execute("ROLLBACK")
            raise
    except sqlite3.Error as error:
        raise database_error(path, error) from error


def database_error(path: Path, error: sqlite3.Error) -> OpenMSIError:
    """The error of our tree for one of SQLite's while the state is in use."""
    if "full" in str(error):
        return DiskFull(str(path), "the disk with the state directory is full", "Free some space.")
    return LocalDiskError(str(path), str(error), "Check the disk, or choose another --state-dir.")
