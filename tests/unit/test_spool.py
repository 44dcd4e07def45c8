"""The spool holds exactly what was written, wherever it was written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.errors import LocalDiskError
from openmsi.protocol import VersionId, digest_of, new_hasher
from openmsi.receive import spool as spooling
from openmsi.receive.spool import Spool
from openmsi.receive.syncing import FileSystem


def version(number: int) -> VersionId:
    return VersionId(f"{number:032x}")


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / ".openmsi" / "spool")
    yield spool
    spool.close()


writes = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5000), st.binary(max_size=2000)))


@settings(max_examples=50, deadline=None)
@given(writes)
def test_any_writes_give_what_the_same_writes_into_memory_give(
    tmp_path_factory: pytest.TempPathFactory, script: list[tuple[int, int, bytes]]
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    spool = Spool(directory / "spool")
    model: dict[VersionId, bytearray] = {}
    try:
        for number, start, data in script:
            spool.write(version(number), start, data)
            content = model.setdefault(version(number), bytearray())
            if data:
                content.extend(bytes(max(0, start + len(data) - len(content))))
                content[start : start + len(data)] = data
        spool.sync_all()
        for each, content in model.items():
            assert Path(spool.path(each)).read_bytes() == content
            assert spool.size(each) == len(content)
            hasher = new_hasher("sha256")
            hasher.update(bytes(content))
            assert spool.digest(each, "sha256", 2**40) == digest_of(hasher, "sha256")
    finally:
        spool.close()
        shutil.rmtree(directory, ignore_errors=True)  # closing takes an empty one away


def test_more_files_than_may_be_open_are_written_side_by_side(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "MAX_OPEN_FILES", 4)
    for part in range(3):
        for number in range(20):
            spool.write(version(number), part, b"%d" % part)
            assert len(spool._handles) <= 4
    spool.sync_all()
    assert all(Path(spool.path(version(number))).read_bytes() == b"012" for number in range(20))


def test_a_system_that_writes_a_part_only_is_asked_for_the_rest(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = spooling._write_at
    monkeypatch.setattr(
        spooling, "_write_at", lambda handle, data, start: whole(handle, data[:7], start)
    )
    data = os.urandom(1000)
    spool.write(version(1), 100, data)
    assert Path(spool.path(version(1))).read_bytes() == bytes(100) + data


def test_a_write_that_failed_may_be_done_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:

        def full(handle: int, data: memoryview, start: int) -> int:
            raise OSError(28, "No space left on device")

        patched.setattr(spooling, "_write_at", full)
        with pytest.raises(OSError, match="No space"):
            spool.write(version(1), 0, b"data")
    spool.write(version(1), 0, b"data")
    assert Path(spool.path(version(1))).read_bytes() == b"data"


def test_each_file_is_synced_once_for_what_was_written(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    for number in range(3):
        spool.write(version(number), 0, b"x")
    spool.sync([version(0), version(7)])
    assert len(synced) == 1
    spool.sync_all()
    assert len(synced) == 3
    spool.sync_all()
    assert len(synced) == 3


def test_many_files_are_synced_with_one_call_where_that_can_be_trusted(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = spool._whole
    if whole is None:
        pytest.skip("not on this file system")
    called: list[str] = []
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", lambda _: called.append("fsync"))
        patched.setattr(whole, "sync", lambda: called.append("syncfs"))
        for number in range(spooling.MANY):
            spool.write(version(number), 0, b"x")
        spool.sync_all()
        spool.sync_all()
    assert called == ["syncfs"]
    whole.sync()  # the real one


def test_many_files_are_synced_one_by_one_elsewhere(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(spool, "_whole", None)
    for number in range(2 * spooling.MANY):
        spool.write(version(number), 0, b"x")
    spool.sync_all()
    assert len(synced) == 2 * spooling.MANY


def test_a_file_system_that_cannot_write_says_so(spool: Spool) -> None:
    if spool._whole is None:
        pytest.skip("not on this file system")
    gone = FileSystem(spool._whole._library, -1)
    with pytest.raises(OSError, match="Bad file descriptor"):
        gone.sync()


def test_only_some_file_systems_are_synced_as_a_whole() -> None:
    assert FileSystem.of(Path("/proc")) is None


def test_what_could_not_be_synced_is_synced_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.write(version(1), 0, b"x")

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", broken)
        with pytest.raises(OSError, match="Input/output"):
            spool.sync_all()
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    spool.sync_all()
    assert len(synced) == 1


def test_a_released_file_may_be_renamed_and_its_name_used_again(spool: Spool) -> None:
    spool.write(version(1), 0, b"first")
    path = Path(spool.release(version(1)))
    os.rename(path, path.with_name("final"))
    spool.write(version(1), 0, b"2nd")
    assert path.read_bytes() == b"2nd"
    assert path.with_name("final").read_bytes() == b"first"


def test_a_discarded_file_is_gone_and_may_be_discarded_again(spool: Spool) -> None:
    spool.write(version(1), 0, b"x")
    spool.discard(version(1))
    spool.discard(version(1))
    spool.discard(version(2))
    assert not Path(spool.path(version(1))).exists()
    assert spool.size(version(1)) == 0


def test_an_empty_write_makes_an_empty_file(spool: Spool) -> None:
    spool.write(version(1), 0, b"")
    assert Path(spool.path(version(1))).read_bytes() == b""


def test_closing_takes_an_empty_spool_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path / ".openmsi" / "spool")
    spool.write(version(1), 0, b"x")
    spool.discard(version(1))
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_closing_keeps_a_spool_in_which_something_is_left(tmp_path: Path) -> None:
    spool = Spool(tmp_path / ".openmsi" / "spool")
    spool.write(version(1), 0, b"x")
    spool.close()
    again = Spool(tmp_path / ".openmsi" / "spool")
    assert again.size(version(1)) == 1
    again.write(version(1), 1, b"y")
    again.close()
    assert Path(again.path(version(1))).read_bytes() == b"xy"


def test_a_spool_where_a_file_is_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".openmsi").write_text("a file")
    with pytest.raises(LocalDiskError, match="file"):
        Spool(tmp_path / ".openmsi" / "spool")


def test_a_digest_is_read_in_slices_and_begins_anew_after_a_write(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    one = version(1)
    spool.write(one, 0, bytes(250))
    assert spool.digest(one, "sha512", 100) is None
    assert spool.digest(one, "sha512", 100) is None
    spool.write(one, 0, b"x")
    found = [spool.digest(one, "sha512", 125) for _ in range(3)]
    hasher = new_hasher("sha512")
    hasher.update(b"x" + bytes(249))
    assert found == [None, None, digest_of(hasher, "sha512")]
    spool.discard(one)
    spool.close()
