"""The ledger: what was flushed survives anything, and a flush costs what it writes."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.errors import DiskFull
from openmsi.protocol import Digest, Manifest, VersionId
from openmsi.protocol import Path as TopicPath
from openmsi.send.files import Identity
from openmsi.send.ledger import FAILED, IN_FLIGHT, SENT, Entry, Ledger, in_flight, sent, split
from openmsi.send.transfer import Progress

VERSION = VersionId("0" * 32)


def open_ledger(path: Path, set_aside: list[str] | None = None) -> Ledger:
    return Ledger(path, {"root": "/data"}, [] if set_aside is None else set_aside)


def identity(number: int) -> Identity:
    return Identity(number, 1_700_000_000_000_000_000 + number, number, 0)


def entry(native: str, number: int, state: str = SENT) -> Entry:
    return Entry(*split(native), state, *identity(number).kept())


def manifest(native: str, size: int) -> Manifest:
    return Manifest(
        path=TopicPath(native),
        version=VERSION,
        size=size,
        mtime_ns=1,
        chunks=3,
        digest=Digest("blake3:" + "0" * 64),
        topic="t",
        partition=2,
        first_offset=10,
        last_offset=12,
    )


def plain(found: Entry | None) -> Entry | None:
    return found and msgspec.structs.replace(found, at=0.0)


def after_a_kill(path: Path) -> Ledger:
    """The ledger as another process finds it when this one is killed now: files are copied as
    they are, and nothing of the open one is closed."""
    copy = path.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for each in path.parent.glob(f"{path.name}*"):
        shutil.copy(each, copy / each.name)
    return open_ledger(copy / path.name)


names = st.sampled_from(["a", "b", "sub/a", "sub/b", "sub/deep/a", "new\nline", "ü", "-"])
actions = st.lists(st.one_of(st.tuples(names, st.integers(0, 2**62)), st.just("flush")))


@settings(max_examples=40, deadline=None)
@given(actions)
def test_after_a_kill_the_ledger_is_as_it_was_last_flushed(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[str, int] | str]
) -> None:
    directory = tmp_path_factory.mktemp("ledger")
    ledger = open_ledger(directory / "l.sqlite")
    noted: dict[str, Entry] = {}
    flushed: dict[str, Entry] = {}
    try:
        for action in script:
            if isinstance(action, str):
                ledger.flush()
                flushed = dict(noted)
            else:
                noted[action[0]] = entry(*action)
                ledger.note(noted[action[0]])
            # What was noted is seen at once, flushed or not.
            assert {name: plain(ledger.entry(name)) for name in noted} == noted
        again = after_a_kill(directory / "l.sqlite")
        assert {name: plain(again.entry(name)) for name in noted} == {
            name: flushed.get(name) for name in noted
        }
        again.close()
    finally:
        ledger.close()
        shutil.rmtree(directory)


def test_a_directory_gives_its_own_files_flushed_or_not(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    for native in ("a", "sub/a", "sub/b", "sub/deep/a", "subway/a"):
        ledger.note(entry(native, 1))
    ledger.flush()
    ledger.note(entry("sub/c", 1))
    ledger.note(entry("sub/a", 2))
    assert sorted(ledger.directory("sub")) == ["a", "b", "c"]
    assert ledger.directory("sub")["a"].size == 2
    assert sorted(ledger.directory("")) == ["a"]
    assert ledger.directory("none") == {}
    ledger.close()


def test_a_flush_writes_what_is_new_and_nothing_else(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    for number in range(5000):
        ledger.note(entry(f"{number}", number))
    ledger.flush()
    before = ledger._db.total_changes
    ledger.flush()
    assert ledger._db.total_changes == before
    for _ in range(100):
        ledger.note(entry("7", 1))
    ledger.note(entry("8", 1))
    ledger.flush()
    assert ledger._db.total_changes == before + 2
    ledger.close()


def test_looking_up_a_file_or_a_directory_scans_no_table(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    asked: list[str] = []
    ledger._db.set_trace_callback(asked.append)
    ledger.directory("sub")
    ledger.entry("sub/a")
    ledger._db.set_trace_callback(None)
    assert len(asked) == 2
    for query in asked:
        plan = ledger._db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
        assert all(row[3].startswith("SEARCH") for row in plan), (query, plan)
    ledger.close()


def test_a_version_that_is_on_its_way_is_found_again_with_its_progress(tmp_path: Path) -> None:
    progress = Progress(VERSION, 1000, 5, 5000, 3, 17)
    with_progress = in_flight("sub/large", identity(9000), 2, progress)
    ledger = open_ledger(tmp_path / "l.sqlite")
    ledger.note(with_progress)
    ledger.close()
    again = open_ledger(tmp_path / "l.sqlite")
    (found,) = again.in_state(IN_FLIGHT)
    assert found.native == "sub/large"
    assert found.progress() == progress
    assert found.describes(identity(9000)) and not found.describes(identity(9001))
    again.close()


def test_a_receipt_tells_where_the_file_lies(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    ledger.note(sent("a", identity(5), 0, manifest("a", 5)))
    found = ledger.entry("a")
    assert found is not None
    assert (found.version, found.partition, found.first_offset, found.last_offset) == (
        VERSION,
        2,
        10,
        12,
    )
    assert found.at > 0
    ledger.close()


def test_files_are_counted_by_state(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    for number, state in enumerate([SENT, SENT, FAILED]):
        ledger.note(entry(str(number), 1, state))
    assert ledger.counts() == {SENT: 2, FAILED: 1}
    ledger.close()


def test_the_same_content_has_the_same_version_after_a_restart(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    first = ledger.new_version("a", identity(1), 1000, 0)
    ledger.close()
    again = open_ledger(tmp_path / "l.sqlite")
    assert again.new_version("a", identity(1), 1000, 0) == first
    others = {
        again.new_version("b", identity(1), 1000, 0),
        again.new_version("a", identity(2), 1000, 0),
        again.new_version("a", identity(1), 1001, 0),
        again.new_version("a", identity(1), 1000, 1),
    }
    assert len(others | {first}) == 5
    again.close()


def test_two_ledgers_never_give_the_same_version(tmp_path: Path) -> None:
    one, other = open_ledger(tmp_path / "1.sqlite"), open_ledger(tmp_path / "2.sqlite")
    assert one.new_version("a", identity(1), 9, 0) != other.new_version("a", identity(1), 9, 0)
    one.close()
    other.close()


@pytest.mark.parametrize("damage", [b"not a database at all", b"SQLite format 3\0" + b"\xff" * 500])
def test_a_damaged_ledger_is_set_aside_and_said_so(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "l.sqlite"
    path.write_bytes(damage)
    told: list[str] = []
    ledger = open_ledger(path, told)
    ledger.note(entry("a", 1))
    ledger.close()
    assert len(told) == 1 and str(path) in told[0]
    (kept,) = tmp_path.glob("*.bad")
    assert str(kept) in told[0] and kept.read_bytes() == damage


def test_a_ledger_of_a_newer_program_is_set_aside_and_said_so(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()
    told: list[str] = []
    open_ledger(path, told).close()
    assert len(told) == 1 and "99" in told[0]


def test_a_flush_that_fails_keeps_what_was_noted(tmp_path: Path) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    ledger.note(entry("before", 1))
    ledger.flush()
    ledger._db.execute("PRAGMA max_page_count = 1")  # a full disk, as SQLite sees it
    for number in range(2000):
        ledger.note(entry(f"{number:0200}", 1))
    with pytest.raises(DiskFull):
        ledger.flush()
    assert ledger.entry(f"{7:0200}") is not None
    ledger._db.execute("PRAGMA max_page_count = 1000000")
    ledger.flush()
    again = after_a_kill(tmp_path / "l.sqlite")
    assert again.counts() == {SENT: 2001}
    again.close()
    ledger.close()


@pytest.mark.parametrize("native", ["\udcff", "\udcff/a"])
def test_a_name_that_is_not_valid_unicode_can_be_noted(tmp_path: Path, native: str) -> None:
    ledger = open_ledger(tmp_path / "l.sqlite")
    try:
        assert ledger.entry(native) is None
        assert ledger.directory(split(native)[0]) == {}
        ledger.note(entry(native, 1, FAILED))
        ledger.flush()
        found = ledger.entry(native)
        assert found is not None and found.state == FAILED
        assert found.native == native.replace("\udcff", "\\xff")
    finally:
        ledger._db.close()
