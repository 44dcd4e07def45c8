"""The peer's UploadDataFile and DataFileUploadDirectory to `download`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from helpers import MB, Lab, digest_of

from interop.files import CHUNK_SIZES, arrived, make_files
from interop.peer import OWN_DIRECTORY, Peer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills at once there")

# The peer never sends an empty file, and stops at a name with a tab in it.
TREE = {
    "root.dat": 40_000,
    "nested/deep er/scan.csv": 300_000,
    "Zoë/測定 1/Ångström 😀.dat": 120_000,
    "run_2021-05-06/scan.tar.gz": 70_000,
    "no suffix": 10,
    "five.dat": 5 * MB,
}


def uploaded(
    lab: Lab, peer: Peer, chunk_size: int, sizes: dict[str, int], already: int = 0
) -> dict[str, str]:
    """Let the peer send a tree of these sizes to a topic with so many records `already`.
    Returns the digest of each file by its name."""
    expected = make_files(lab.source, sizes)
    records = already + sum(-(-size // chunk_size) for size in sizes.values())
    with peer.upload_directory(lab.source, "--chunk_size", str(chunk_size)) as program:
        program.sends(lab, records)
        program.quit()
    shutil.rmtree(lab.source / OWN_DIRECTORY)
    return expected


@pytest.mark.parametrize(("partitions", "chunk_size"), [(1, CHUNK_SIZES[0]), (6, CHUNK_SIZES[1])])
def test_every_file_of_a_directory_that_the_peer_sends_arrives(
    lab: Lab, peer: Peer, partitions: int, chunk_size: int
) -> None:
    lab.create_topic(partitions)
    expected = uploaded(lab, peer, chunk_size, TREE)
    receiver = lab.download_to_end()
    assert receiver.paths("rebuilt") == sorted(TREE)
    assert arrived(lab.target) == expected
    # The peer sends the time of modification too, as a float.
    for name in TREE:
        sent, rebuilt = ((each / name).stat().st_mtime for each in (lab.source, lab.target))
        assert abs(sent - rebuilt) < 1e-6


def test_a_single_file_that_the_peer_sends_arrives(lab: Lab, peer: Peer, tmp_path: Path) -> None:
    lab.create_topic(3)
    receiver = lab.download()
    for name, size in {"Zoë single.dat": 300_000, "second.dat": 20_000}.items():
        expected = make_files(lab.source, {name: size})
        with peer.upload_file(lab.source / name, "--chunk_size", "16384") as program:
            program.wait()
        receiver.until("rebuilt", path=name)
        assert digest_of(lab.target / name) == expected[name]
    receiver.stop()


def test_files_of_both_programs_in_one_topic_arrive(lab: Lab, peer: Peer) -> None:
    # Given a topic with records of the peer, ours in its format, and native ones between,
    lab.create_topic(3)
    first = make_files(lab.source, {"native/one.dat": 300_000, "native/empty": 0})
    lab.upload(lab.source).wait()
    shutil.rmtree(lab.source / "native")
    theirs = {"theirs/one.dat": 300_000, "theirs/two.dat": 5}
    second = uploaded(lab, peer, 16384, theirs, lab.record_count())
    shutil.rmtree(lab.source / "theirs")
    third = make_files(lab.source, {"ours/one.dat": 300_000, "ours/empty": 0})
    lab.upload(lab.source, "--format", "openmsi-9", "--chunk-size", "16384").wait()
    shutil.rmtree(lab.source / "ours")
    fourth = make_files(lab.source, {"native/late.dat": 2_000_000})
    lab.upload(lab.source, "--format", "native").wait()
    # then one receiver rebuilds them all.
    lab.download_to_end()
    assert arrived(lab.target) == {**first, **second, **third, **fourth}


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 6])
@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_a_large_file_of_the_peer_arrives(
    lab: Lab, peer: Peer, partitions: int, chunk_size: int
) -> None:
    lab.create_topic(partitions)
    expected = uploaded(lab, peer, chunk_size, {"large.dat": 300 * MB, "small.dat": 1})
    lab.download_to_end(seconds=300)
    assert arrived(lab.target) == expected
