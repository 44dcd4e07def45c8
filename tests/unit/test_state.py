"""The state directory: who holds what, names that do not collide, errors that say what to do."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.errors import DiskFull, InUse, LocalDiskError
from openmsi.state import (
    database_error,
    disk_error,
    hold,
    holder_of,
    make_directory,
    open_database,
    state_file,
)

SCHEMA = "CREATE TABLE t (x INTEGER)"

HOLD = """
import sys
from pathlib import Path
from openmsi.state import hold
with hold(Path(sys.argv[1]), "testing"):
    print("held", flush=True)
    sys.stdin.read()
"""


# -- locks -------------------------------------------------------------------------------------


def test_what_one_process_holds_another_cannot_and_is_told_who_does(tmp_path: Path) -> None:
    lock = tmp_path / "deep" / "x.lock"
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline().strip() == b"held"
        with pytest.raises(InUse) as caught, hold(lock, "sending /data"):
            pass
        assert f"process {other.pid} on " in caught.value.why
        assert caught.value.what == "sending /data"
        assert f"process {other.pid} on " in holder_of(lock)
        other.kill()
        other.wait()
    with hold(lock, "sending /data"):
        assert f"process {os.getpid()} on " in holder_of(lock)
    assert holder_of(lock) == ""


def test_a_lock_is_let_go_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), hold(tmp_path / "x.lock", "x"):
        raise ZeroDivisionError
    with hold(tmp_path / "x.lock", "x"):
        pass


def test_nobody_holds_a_lock_that_was_never_made(tmp_path: Path) -> None:
    assert holder_of(tmp_path / "x.lock") == ""


def test_an_unreadable_note_of_the_holder_is_no_disaster(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    with hold(lock, "x"):
        lock.write_bytes(b"garbage")
        with pytest.raises(InUse, match="another process"), hold(lock, "y"):
            pass


# -- names -------------------------------------------------------------------------------------

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)


@settings(deadline=None)
@given(st.lists(parts, min_size=1, max_size=3), st.lists(parts, max_size=3))
def test_a_state_file_has_a_plain_name_whatever_it_is_about(
    subject: list[str], identity: list[str]
) -> None:
    path = state_file(Path("state"), "send", Path("/", *subject), *identity)
    assert path.parent == Path("state/send")
    assert path.name.isascii() and path.suffix == ".sqlite" and len(path.name) < 80
    assert not set(path.name) & set('<>:"/\\|?* ')


@settings(deadline=None)
@given(st.lists(parts, min_size=2, max_size=4), st.lists(parts, min_size=2, max_size=4))
def test_different_identities_have_different_state_files(one: list[str], other: list[str]) -> None:
    files = [state_file(Path("s"), "send", Path("/x"), *each) for each in (one, other)]
    assert (files[0] == files[1]) == (one == other)


def test_directories_of_the_same_name_have_different_state_files() -> None:
    files = {state_file(Path("s"), "send", Path(each), "t") for each in ("/a/x", "/b/x", "/x")}
    assert len(files) == 3


# -- databases ---------------------------------------------------------------------------------


def test_a_new_database_has_the_schema_and_is_found_again(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "deep" / "x.sqlite"
    db = open_database(path, SCHEMA, 3, told)
    db.execute("INSERT INTO t VALUES (7)")
    db.close()
    db = open_database(path, SCHEMA, 3, told)
    assert db.execute("SELECT x FROM t").fetchone() == (7,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()
    assert told == []


@pytest.mark.parametrize("form", [1, 99])
def test_a_database_of_another_form_is_set_aside(tmp_path: Path, form: int) -> None:
    told: list[str] = []
    path = tmp_path / "x.sqlite"
    old = open_database(path, SCHEMA, form, told)
    old.execute("INSERT INTO t VALUES (7)")
    old.close()
    new = open_database(path, SCHEMA, 3, told)
    assert new.execute("SELECT count(*) FROM t").fetchone() == (0,)
    new.close()
    (text,) = told
    (aside,) = tmp_path.glob("*.bad")
    assert str(path) in text and str(aside) in text and str(form) in text
    kept = sqlite3.connect(aside)
    assert kept.execute("SELECT x FROM t").fetchone() == (7,)
    kept.close()


@pytest.mark.parametrize("content", [b"garbage", b"SQLite format 3\0garbage", b"\0" * 5000])
def test_a_damaged_database_is_set_aside(tmp_path: Path, content: bytes) -> None:
    told: list[str] = []
    path = tmp_path / "x.sqlite"
    path.write_bytes(content)
    open_database(path, SCHEMA, 1, told).close()
    assert len(told) == 1
    assert [each.read_bytes() for each in tmp_path.glob("*.bad")] == [content]


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "x.sqlite").touch()
    open_database(tmp_path / "x.sqlite", SCHEMA, 1, told).close()
    assert told == []


def test_a_database_that_is_in_use_for_long_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.sqlite"
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("PRAGMA user_version=1")
    holder.execute(SCHEMA)
    holder.execute("BEGIN EXCLUSIVE")
    connect = partial(sqlite3.connect, timeout=0.1)
    monkeypatch.setattr("openmsi.state.sqlite3.connect", connect)
    told: list[str] = []
    try:
        with pytest.raises(LocalDiskError):
            open_database(path, SCHEMA, 1, told)
        assert told == [] and list(tmp_path.glob("*.bad")) == []
    finally:
        holder.close()


# -- errors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_a_condition_that_passes(code: int) -> None:
    error = disk_error("/data", OSError(code, "x"))
    assert isinstance(error, DiskFull) and error.retriable
    assert "full" in error.why and error.cure


def test_a_right_that_is_missing_comes_with_its_cure() -> None:
    error = disk_error("/data", PermissionError(errno.EACCES, "Permission denied"))
    assert (error.what, error.why) == ("/data", "Permission denied")
    assert "right" in error.cure and not error.retriable


def test_sqlites_errors_become_ours() -> None:
    full = database_error(Path("/x"), sqlite3.OperationalError("database or disk is full"))
    other = database_error(Path("/x"), sqlite3.OperationalError("disk I/O error"))
    assert isinstance(full, DiskFull) and full.cure
    assert isinstance(other, LocalDiskError) and "/x" in str(other) and other.cure


def test_a_directory_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalDiskError, match="it is a file"):
        make_directory(tmp_path / "file")
    with pytest.raises(LocalDiskError, match="one of its parents is a file"):
        make_directory(tmp_path / "file" / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
