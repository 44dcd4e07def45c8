"""`upload` and `watch` in the older format to the peer's DataFileDownloadDirectory."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections import Counter
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from helpers import MB, Foreign, Lab, wait_until

from interop.files import CHUNK_SIZES, arrived, make_files, wait_for
from interop.peer import OWN_DIRECTORY, Peer

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills at once there")


def all_records(lab: Lab) -> list[tuple[bytes | None, Any]]:
    """Key and decoded value of every record in the topic."""
    consumer = Consumer(
        {"bootstrap.servers": lab.bootstrap, "group.id": f"{lab.topic}-all", "log_level": 0}
    )
    found: list[tuple[bytes | None, Any]] = []
    ends = lab.ends()
    try:
        consumer.assign([TopicPartition(lab.topic, each, 0) for each in ends])
        while len(found) < sum(ends.values()):
            record = consumer.poll(10)
            assert record is not None
            assert record.error() is None
            value = record.value()
            assert value
            found.append((record.key(), msgspec.msgpack.decode(value)))
    finally:
        consumer.close()
    return found


def records_of(name: str, content: bytes, fields: int, mtime: float) -> list[Foreign]:
    """The records of `content` in chunks of 4 bytes, made by hand."""
    parts = [content[at : at + 4] for at in range(0, len(content), 4)] or [b""]
    whole = hashlib.sha512(content).digest()
    found = []
    for index, data in enumerate(parts):
        part = hashlib.sha512(data).digest()
        values = [name, whole, part, 4 * index, index + 1, len(parts), "", "", data, mtime]
        found.append(Foreign(b"any", msgspec.msgpack.encode(values[:fields])))
    return found


TREE = {
    "root.dat": 40_000,
    "nested/deep er/scan.csv": 300_000,
    "Zoë/測定 1/Ångström 😀.dat": 120_000,
    "catalog.csv": 1000,
    "run_2021-05-06/scan.tar.gz": 70_000,
    "no suffix": 10,
    "tab\there.txt": 100,
    "empty.txt": 0,
    "five.dat": 5 * MB,
}


@pytest.mark.parametrize("partitions", [1, 6])
def test_every_file_that_is_uploaded_arrives_at_the_peer(
    lab: Lab, peer: Peer, partitions: int
) -> None:
    # Given a tree, uploaded once with small chunks and nine fields, once with large and ten,
    lab.create_topic(partitions)
    expected = make_files(lab.source, TREE)
    for chunk_size, fields in zip(CHUNK_SIZES, (9, 10), strict=True):
        prefix = f"with {chunk_size}"
        chunks = ["--chunk-size", str(chunk_size), "--prefix", prefix]
        sender = lab.upload(lab.source, "--format", f"openmsi-{fields}", *chunks).wait(120)
        assert sender.events("summary")[0]["sent"] == len(TREE)
    everything = {
        f"with {chunk_size}/{name}": digest
        for chunk_size in CHUNK_SIZES
        for name, digest in expected.items()
    }
    # when the peer reads the topic,
    with peer.download_directory(lab.target) as program:
        wait_for(program, lab.target, everything, 90)
        printed = program.quit()
    # then all arrive, equal, and nothing else does; and every partition had its share.
    assert arrived(lab.target) == everything
    assert f"{len(everything)} files were successfully reconstructed" in printed
    assert all(lab.ends().values())


def test_every_file_that_appears_arrives_at_the_peer(lab: Lab, peer: Peer) -> None:
    lab.create_topic(6)
    sender = lab.watch("--format", "openmsi-9", "--settle", "0.5")
    with peer.download_directory(lab.target) as program:
        expected = make_files(lab.source, {"first.dat": 600_000, "sub/second.dat": 5, "empty": 0})
        wait_for(program, lab.target, expected, 60)
        # A file that is written again, and shorter, has no old tail.
        expected |= make_files(lab.source, {"first.dat": 0, "third.dat": 17})
        sender.until("sent", path="first.dat", size=0)
        sender.until("sent", path="third.dat")
        wait_until(lambda: program.running() and (lab.target / "third.dat").exists(), 60)
        program.quit()
    sender.stop()
    assert arrived(lab.target)["third.dat"] == expected["third.dat"]


def test_the_records_are_those_of_the_peer(lab: Lab, peer: Peer) -> None:
    # Given the same tree, sent by the peer's program and by ours,
    lab.create_topic(3)
    make_files(lab.source, {"root.dat": 40_000, "a b/Zoë.dat": 100_000})
    with peer.upload_directory(lab.source, "--chunk_size", "16384") as program:
        program.sends(lab, 10)
        program.quit()
    shutil.rmtree(lab.source / OWN_DIRECTORY)
    theirs = all_records(lab)
    # when ours are those that came later,
    lab.upload(lab.source, "--format", "openmsi-10", "--chunk-size", "16384").wait()
    ours = Counter(map(repr, all_records(lab))) - Counter(map(repr, theirs))
    # then each has the same key and the same value.
    assert ours == Counter(map(repr, theirs))


def test_what_the_peer_does_not_manage_is_as_the_documentation_says(lab: Lab, peer: Peer) -> None:
    # Given contents of 5 chunks, all of them or 3 only, and then others under the same names,
    lab.create_topic(1)
    first, second = b"AAAABBBBCCCCDDDDEEEE", b"aaaabbbbccccddddeeee"
    records = []
    for name, begun, then, fields in (
        ("another", 5, second, 9),
        ("shorter", 5, b"ssss", 10),
        ("empty", 5, b"", 10),
        ("begun, then another", 3, second, 9),
        ("begun, then shorter", 3, b"ssss", 10),
        ("begun, then later", 3, second, 10),
    ):
        records += records_of(name, first, fields, 1)[:begun] + records_of(name, then, fields, 2)
    lab.produce([*records, *records_of("last", b"last", 9, 1)])
    # when the peer has read them all,
    with peer.download_directory(lab.target) as program:
        wait_until(lambda: program.running() and (lab.target / "last").exists(), 60)
        program.quit()
    # then it has only the first of them right.
    found = {each.name: each.read_bytes() for each in lab.target.iterdir() if each.is_file()}
    assert found == {
        "another": second,
        "shorter": b"ssssBBBBCCCCDDDDEEEE",
        "empty": first,
        "begun, then another": first[:12],
        "begun, then shorter": first[:12],
        "begun, then later": bytes(4) + second[4:],
        "last": b"last",
    }
    # Ours has them all right, and does not wait for what a later content took the place of.
    target = lab.target.with_name("ours")
    receiver = lab.start("download", target, "--until-end").wait()
    assert receiver.events("summary")[0]["incomplete"] == 0
    whole = {"another", "begun, then another", "begun, then later"}
    expected = {name: second if name in whole else b"ssss" for name in found}
    assert {each.name: each.read_bytes() for each in target.iterdir() if each.is_file()} == {
        **expected,
        "empty": b"",
        "last": b"last",
    }


@pytest.mark.slow
@pytest.mark.parametrize("partitions", [1, 6])
@pytest.mark.parametrize("chunk_size", CHUNK_SIZES)
def test_a_large_file_arrives_at_the_peer(
    lab: Lab, peer: Peer, partitions: int, chunk_size: int
) -> None:
    lab.create_topic(partitions)
    expected = make_files(lab.source, {"large.dat": 300 * MB, "small.dat": 1})
    lab.upload(lab.source, "--format", "openmsi-9", "--chunk-size", str(chunk_size)).wait(300)
    with peer.download_directory(lab.target) as program:
        size = 300 * MB
        large = lab.target / "large.dat"
        wait_until(lambda: program.running() and large.exists(), 60)
        wait_until(lambda: program.running() and large.stat().st_size == size, 300)
        wait_for(program, lab.target, expected, 300)
        program.quit()
    assert arrived(lab.target) == expected
