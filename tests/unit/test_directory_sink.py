"""The directory sink: whole files under their name, and nothing outside, whatever lies there."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.errors import LocalDiskError
from openmsi.protocol import Digest, Manifest, VersionId
from openmsi.protocol import Path as TopicPath
from openmsi.receive.sink import Refused
from openmsi.sinks import DirectorySink

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="names and links differ there")


def manifest(path: str, size: int = 4, mtime_ns: int | None = None) -> Manifest:
    return Manifest(
        path=TopicPath(path),
        version=VersionId("0" * 32),
        size=size,
        mtime_ns=mtime_ns,
        chunks=1,
        digest=Digest("blake3:" + "0" * 64),
        topic="t",
        partition=0,
        first_offset=0,
        last_offset=0,
    )


def spooled(sink: DirectorySink, data: bytes = b"data") -> str:
    sink.spool_directory.mkdir(parents=True, exist_ok=True)
    path = sink.spool_directory / "spooled"
    path.write_bytes(data)
    return str(path)


def publish(sink: DirectorySink, path: str, data: bytes = b"data") -> None:
    sink.publish(manifest(path, len(data)), spooled(sink, data))


def everything(root: Path) -> dict[str, bytes | str]:
    """Every file and link below `root` but for the spool, with what it holds."""
    found: dict[str, bytes | str] = {}
    for directory, names, files in os.walk(root):
        names[:] = [each for each in names if each != ".openmsi"]
        for name in [*files, *names]:
            path = Path(directory, name)
            relative = path.relative_to(root).as_posix()
            if path.is_symlink():
                found[relative] = f"-> {os.readlink(path)}"
            elif path.is_file():
                found[relative] = path.read_bytes()
    return found


@pytest.fixture
def sink(tmp_path: Path) -> DirectorySink:
    return DirectorySink(tmp_path / "root")


def test_a_file_gets_its_name_its_bytes_and_its_time(sink: DirectorySink) -> None:
    mtime_ns = 1_600_000_000_123_456_789
    sink.publish(manifest("a/b/c.txt", mtime_ns=mtime_ns), spooled(sink, b"data"))
    path = sink.root / "a/b/c.txt"
    assert path.read_bytes() == b"data"
    if sys.platform != "win32":
        assert path.stat().st_mtime_ns == mtime_ns
    assert not (sink.spool_directory / "spooled").exists()


@pytest.mark.parametrize("mtime_ns", [2**63 - 1, -(2**63 - 1)])
def test_a_time_that_the_system_cannot_hold_does_not_cost_the_file(
    sink: DirectorySink, mtime_ns: int
) -> None:
    sink.publish(manifest("a", mtime_ns=mtime_ns), spooled(sink))
    assert (sink.root / "a").read_bytes() == b"data"


def test_a_later_version_replaces_the_former(sink: DirectorySink) -> None:
    publish(sink, "a", b"first")
    publish(sink, "a", b"2")
    assert everything(sink.root) == {"a": b"2"}


@pytest.mark.parametrize(
    ("first", "second"), [("a/b", "a"), ("a", "a/b"), ("a", "a/b/c"), ("x/a", "x/a/b")]
)
def test_what_is_in_the_way_is_refused_and_stays(
    sink: DirectorySink, first: str, second: str
) -> None:
    publish(sink, first, b"first")
    before = everything(sink.root)
    with pytest.raises(Refused) as caught:
        publish(sink, second)
    reason, detail = caught.value.args
    assert reason == "in-the-way"
    assert "a" in detail
    assert everything(sink.root) == before


@posix_only
@pytest.mark.parametrize("path", ["link/x", "link/a/b", "real/link/x"])
def test_a_link_is_never_followed(tmp_path: Path, sink: DirectorySink, path: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (sink.root / "real").mkdir()
    (sink.root / "link").symlink_to(outside)
    (sink.root / "real" / "link").symlink_to(outside)
    with pytest.raises(Refused, match="symbolic link"):
        publish(sink, path)
    assert list(outside.iterdir()) == []


@posix_only
@pytest.mark.parametrize("target", ["outside", "root/real", "nothing"])
def test_a_link_to_a_directory_inside_or_to_nothing_is_not_followed_either(
    tmp_path: Path, sink: DirectorySink, target: str
) -> None:
    (tmp_path / "outside").mkdir()
    (sink.root / "real").mkdir()
    (sink.root / "link").symlink_to(tmp_path / target)
    with pytest.raises(Refused):
        publish(sink, "link/x")


@posix_only
def test_a_link_that_has_the_files_own_name_is_replaced_not_followed(
    tmp_path: Path, sink: DirectorySink
) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (sink.root / "a").symlink_to(tmp_path / "precious")
    publish(sink, "a")
    assert everything(sink.root) == {"a": b"data"}
    assert (tmp_path / "precious").read_bytes() == b"precious"


@posix_only
def test_a_directory_that_becomes_a_link_is_noticed_after_a_checkpoint(
    tmp_path: Path, sink: DirectorySink
) -> None:
    (tmp_path / "outside").mkdir()
    publish(sink, "a/x")
    sink.sync()
    shutil.rmtree(sink.root / "a")
    (sink.root / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused):
        publish(sink, "a/y")
    assert list((tmp_path / "outside").iterdir()) == []


names = st.sampled_from(["a", "b", "link", "file", "dir", "é", "new\nline", "-x"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@posix_only
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(paths, st.binary(max_size=20)), max_size=12))
def test_any_files_into_any_tree_change_nothing_outside(
    tmp_path_factory: pytest.TempPathFactory, files: list[tuple[str, bytes]]
) -> None:
    parent = tmp_path_factory.mktemp("sink")
    outside = parent / "outside"
    (outside / "a").mkdir(parents=True)
    (outside / "file").write_bytes(b"precious")
    sink = DirectorySink(parent / "root")
    (sink.root / "dir" / "a").mkdir(parents=True)
    (sink.root / "link").symlink_to(outside)
    (sink.root / "dir" / "link").symlink_to(outside / "file")
    (sink.root / "file").write_bytes(b"a file")
    before = everything(outside)
    try:
        for path, data in files:
            try:
                publish(sink, path, data)
            except Refused as refused:
                assert refused.args[0] == "in-the-way"
            else:
                assert (sink.root / path).read_bytes() == data
                assert not (sink.root / path).is_symlink()
        sink.sync()
        assert everything(outside) == before
        assert sorted(each.name for each in parent.iterdir()) == ["outside", "root"]
    finally:
        shutil.rmtree(parent)


@posix_only
def test_a_name_that_is_too_long_for_the_disk_is_refused(sink: DirectorySink) -> None:
    for path in ("x" * 256, "x" * 256 + "/a", "a/" + "x" * 256):
        with pytest.raises(Refused) as caught:
            publish(sink, path)
        assert caught.value.args[0] == "bad-name"


@posix_only
def test_a_path_that_is_too_long_for_the_system_is_refused(sink: DirectorySink) -> None:
    path = "/".join(["d" * 200] * 20)
    try:
        publish(sink, path)
    except Refused as refused:
        assert refused.args[0] == "bad-name"
    else:
        assert (sink.root / path).exists()


@pytest.mark.parametrize("gone", ["a", "a/b"])
def test_a_directory_that_somebody_took_away_is_made_again(sink: DirectorySink, gone: str) -> None:
    publish(sink, "a/b/x")
    shutil.rmtree(sink.root / gone)
    publish(sink, "a/b/y")
    assert everything(sink.root) == {"a/b/y": b"data"}


def test_syncing_forgives_directories_that_are_gone(sink: DirectorySink) -> None:
    publish(sink, "a/b/x")
    shutil.rmtree(sink.root / "a")
    sink.sync()


@posix_only
def test_every_new_name_is_made_durable(
    sink: DirectorySink, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(sink, "a/b/x")
    publish(sink, "y")
    synced: list[str] = []
    monkeypatch.setattr("openmsi.sinks.directory._sync_directory", synced.append)
    sink.sync()
    assert set(synced) == {str(sink.root), str(sink.root / "a"), str(sink.root / "a" / "b")}
    synced.clear()
    sink.sync()
    assert synced == []


def test_a_destination_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalDiskError, match="it is a file"):
        DirectorySink(tmp_path / "file")
    with pytest.raises(LocalDiskError, match="parents is a file"):
        DirectorySink(tmp_path / "file" / "below")


def test_a_destination_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    if os.access(tmp_path / "closed", os.W_OK):
        pytest.skip("whoever runs this may write everywhere")
    with pytest.raises(LocalDiskError):
        DirectorySink(tmp_path / "closed")
