"""Topics of the OpenMSI programs: each record has its own key, a file lies in all partitions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from helpers import Lab, tree, wait_until

from openmsi.protocol import Digest, LegacyChunk, Record, check_path, encode_legacy

SIZE = 1000


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic(partitions=6)
        yield lab


def records_of(path: str, content: bytes) -> list[Record]:
    digest = Digest(f"sha512:{hashlib.sha512(content).hexdigest()}")
    starts = range(0, max(1, len(content)), SIZE)
    chunks = [
        LegacyChunk(
            check_path(path), digest, index, len(starts), start, content[start : start + SIZE]
        )
        for index, start in enumerate(starts)
    ]
    return [encode_legacy(each) for each in chunks]


def send(lab: Lab, files: dict[str, bytes]) -> None:
    producer = Producer({"bootstrap.servers": lab.bootstrap, "acks": "all", "linger.ms": 5})
    for path, content in files.items():
        for each in records_of(path, content):
            producer.produce(lab.topic, each.value, each.key)
    assert producer.flush(30) == 0


def made_up(count: int, prefix: str) -> dict[str, bytes]:
    return {f"{prefix}/{each}": os.urandom(7 * SIZE + each) for each in range(count)}


def contents(*roots: Path) -> dict[str, bytes]:
    return {
        name: (root / name).read_bytes() for root in roots if root.exists() for name in tree(root)
    }


def test_files_spread_over_all_partitions_arrive_equal(lab: Lab) -> None:
    files = made_up(20, "run") | {"empty": b"", "one chunk": b"x"}
    send(lab, files)
    program = lab.download_to_end()
    assert contents(lab.target) == files
    assert len(program.events("rebuilt")) == len(files)
    assert not program.events("dead-letter")


def test_of_receivers_that_share_a_group_one_takes_all(lab: Lab, tmp_path: Path) -> None:
    targets = [tmp_path / "a", tmp_path / "b"]
    programs = [
        lab.start("download", each, "--group", lab.topic, "--state-dir", tmp_path / f"s{each.name}")
        for each in targets
    ]
    for each in programs:
        each.until("started", seconds=60)
    files = made_up(20, "first")
    send(lab, files)
    wait_until(lambda: contents(*targets).keys() == files.keys(), 90, "all files of both")
    assert contents(*targets) == files
    standing_by = [
        each for each in programs if any("stands by" in n["text"] for n in each.events("notice"))
    ]
    assert len(standing_by) == 1
    [working] = [each for each in programs if each not in standing_by]

    working.stop(20)
    files |= made_up(20, "second")
    send(lab, {name: files[name] for name in files if name.startswith("second")})
    wait_until(lambda: contents(*targets).keys() == files.keys(), 90, "the files after that")
    assert contents(*targets) == files
    standing_by[0].stop(20)
    rebuilt = [name for each in programs for name in each.paths("rebuilt")]
    assert sorted(rebuilt) == sorted(files)


def test_a_receiver_that_is_killed_goes_on_with_files_of_all_partitions(lab: Lab) -> None:
    big = os.urandom(400 * SIZE)
    records = records_of("big", big)
    producer = Producer({"bootstrap.servers": lab.bootstrap, "acks": "all"})
    for each in records[:300]:
        producer.produce(lab.topic, each.value, each.key)
    assert producer.flush(30) == 0
    program = lab.download()
    spool = lab.target / ".openmsi" / "spool"
    wait_until(lambda: spool.exists() and len(list(spool.iterdir())) == 1, 30, "a spool file")
    program.until("started")
    wait_until(lambda: next(spool.iterdir()).stat().st_size >= 250 * SIZE, 30, "bytes in it")
    program.close()
    for each in records[300:]:
        producer.produce(lab.topic, each.value, each.key)
    assert producer.flush(30) == 0
    again = lab.download_to_end()
    assert contents(lab.target) == {"big": big}
    assert again.paths("rebuilt") == ["big"]
