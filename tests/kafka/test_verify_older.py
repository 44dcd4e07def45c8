"""`verify` of files in the older format, whose records lie in all partitions, in no order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from helpers import Lab, random_file


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic(3)
        yield lab


def problems(lab: Lab, *options: str, code: int = 0) -> dict[str, str]:
    program = lab.start("verify", lab.source, *options).wait(60, code)
    return {each["path"]: each.get("problem", "") for each in program.events("verified")}


@pytest.mark.parametrize("options", [[], ["--deep"]])
def test_files_of_many_records_are_found_where_they_lie(lab: Lab, options: list[str]) -> None:
    random_file(lab.source / "large.dat", 200_000, 1)
    random_file(lab.source / "sub" / "small.dat", 10, 2)
    lab.upload(lab.source, "--format", "openmsi-9", "--chunk-size", "16384").wait()
    assert problems(lab, *options) == {"large.dat": "", "sub/small.dat": ""}
    # On another computer there is no ledger.
    lab.environment["OPENMSI_STATE_DIR"] += "-other"
    assert problems(lab, *options) == {"large.dat": "", "sub/small.dat": ""}


def test_a_file_that_is_not_whole_in_the_topic_any_more_is_named(lab: Lab) -> None:
    random_file(lab.source / "large.dat", 200_000, 1)
    lab.upload(lab.source, "--format", "openmsi-9", "--chunk-size", "16384").wait()
    partition, end = max(lab.ends().items(), key=lambda each: each[1])
    admin = AdminClient({"bootstrap.servers": lab.bootstrap, "log_level": 0})
    place = TopicPartition(lab.topic, partition, end)
    for future in admin.delete_records([place]).values():
        future.result(30)
    del admin
    assert "not all of its records" in problems(lab, code=3)["large.dat"]


def test_a_file_that_changed_after_it_was_sent_is_named(lab: Lab) -> None:
    file = random_file(lab.source / "scan.dat", 50_000, 1)
    lab.upload(lab.source, "--format", "openmsi-9").wait()
    random_file(file, 50_000, 2)
    assert "not the one that was sent" in problems(lab, code=3)["scan.dat"]
    # Sent again, the newer content counts, and the older one does not.
    lab.upload(lab.source, "--format", "openmsi-9").wait()
    assert problems(lab) == {"scan.dat": ""}
    random_file(file, 50_000, 1)
    os.utime(file, (1, 1))
    assert "not the one that was sent" in problems(lab, code=3)["scan.dat"]
