"""What `openmsi.testing` adds to the seam: faults on command, and time on command."""

from __future__ import annotations

import errno
import os
from collections.abc import Collection, Mapping
from pathlib import Path

import confluent_kafka
import pytest

from openmsi.errors import BrokerUnreachable, KafkaFailure, OpenMSIError, TopicError
from openmsi.kafka import Fetched, partition_of
from openmsi.protocol import Record, SafePoint
from openmsi.testing import FailingDisk, FakeClock, MemoryBroker, MemoryConsumer, MemoryProducer


def record(number: int) -> Record:
    return Record(b"key", b"%d" % number, [])


class Listener:
    def __init__(self, consumer: MemoryConsumer) -> None:
        self.told: list[tuple[str, list[int]]] = []
        consumer.subscribe(self)

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        self.told.append(("assigned", sorted(points)))
        return {each: max(point.offset, -2) for each, point in points.items()}

    def revoked(self, partitions: Collection[int]) -> None:
        self.told.append(("revoked", sorted(partitions)))

    def lost(self, partitions: Collection[int]) -> None:
        self.told.append(("lost", sorted(partitions)))


@pytest.fixture
def broker() -> MemoryBroker:
    broker = MemoryBroker()
    broker.admin().create_topic("t", 1, {})
    return broker


def fill(producer: MemoryProducer, count: int) -> None:
    for number in range(count):
        assert producer.produce(record(number), number)


def values(fetched: list[Fetched]) -> list[bytes | None]:
    return [each.record.value for each in fetched]


def test_the_partition_of_a_key_is_librdkafkas() -> None:
    for length in range(40):
        key = os.urandom(length)
        assert partition_of(key, 7) == confluent_kafka.murmur2(key, 7)


def test_while_it_is_away_nothing_is_acknowledged_and_notice_is_given_once(
    broker: MemoryBroker,
) -> None:
    notices: list[OpenMSIError | None] = []
    producer = broker.producer("t", notices.append)
    fill(producer, 2)
    broker.away = True
    assert producer.poll(1) == []
    assert producer.poll(1) == []
    with pytest.raises(BrokerUnreachable):
        broker.admin().describe_topic("t")
    broker.away = False
    assert [each.offset for each in producer.poll(1)] == [0, 1]
    assert [type(each) for each in notices] == [BrokerUnreachable, type(None)]


def test_a_consumer_gets_and_commits_nothing_while_it_is_away(broker: MemoryBroker) -> None:
    producer = broker.producer("t")
    fill(producer, 1)
    producer.poll(0)
    consumer = broker.consumer("t", "g")
    Listener(consumer)
    assert len(consumer.poll(10, 0)) == 1
    broker.away = True
    assert consumer.poll(10, 0) == []
    with pytest.raises(BrokerUnreachable):
        consumer.commit({0: SafePoint(1, 1)})
    broker.away = False
    consumer.commit({0: SafePoint(1, 1)})
    assert broker.committed("t", "g") == {0: SafePoint(1, 1)}


def test_deliveries_fail_on_command_with_or_without_the_record_being_there(
    broker: MemoryBroker,
) -> None:
    error = KafkaFailure("test", "broken", retriable=True)
    broker.fail_next(1, error)
    broker.fail_next(1, error, kept=True)
    producer = broker.producer("t")
    fill(producer, 3)
    assert [(each.token, each.error) for each in producer.poll(0)] == [
        (0, error),
        (1, error),
        (2, None),
    ]
    kept = [broker.admin().read("t", 0, offset) for offset in range(3)]
    assert [each.record.value if each else None for each in kept] == [b"1", b"2", None]


def test_what_retention_took_is_skipped_without_a_word(broker: MemoryBroker) -> None:
    producer = broker.producer("t")
    fill(producer, 10)
    producer.poll(0)
    consumer = broker.consumer("t", "g")
    Listener(consumer)
    assert values(consumer.poll(2, 0)) == [b"0", b"1"]
    broker.delete_records("t", 0, before=7)
    assert consumer.offsets(0) == (7, 10)
    assert values(consumer.poll(10, 0)) == [b"7", b"8", b"9"]
    assert broker.admin().read("t", 0, 6) is None


def test_a_topic_made_again_starts_over_and_forgets_what_was_committed(
    broker: MemoryBroker,
) -> None:
    producer = broker.producer("t")
    fill(producer, 5)
    producer.poll(0)
    consumer = broker.consumer("t", "g")
    Listener(consumer)
    consumer.poll(10, 0)
    consumer.commit({0: SafePoint(5, 5)})
    broker.admin().delete_topic("t")
    with pytest.raises(TopicError):
        consumer.poll(10, 0)
    fill(producer, 1)
    assert isinstance(producer.poll(0)[0].error, TopicError)
    broker.admin().create_topic("t", 1, {})
    fill(producer, 2)
    producer.poll(0)
    assert values(consumer.poll(10, 0)) == [b"0", b"1"]
    assert broker.committed("t", "g") == {}


def test_an_evicted_member_loses_its_partitions_and_joins_again(broker: MemoryBroker) -> None:
    first, second = broker.consumer("t", "g"), broker.consumer("t", "g")
    told = Listener(first).told
    other = Listener(second).told
    first.poll(1, 0)
    broker.evict(first)
    with pytest.raises(KafkaFailure) as caught:
        first.commit({0: SafePoint(1, 1)})
    assert caught.value.retriable
    second.poll(1, 0)
    assert other == [("assigned", [0])]
    first.poll(1, 0)
    assert told == [("assigned", [0]), ("lost", [0])]
    second.close()
    first.poll(1, 0)
    assert told[2:] == [("assigned", [0])]


def test_only_what_is_assigned_can_be_committed(broker: MemoryBroker) -> None:
    consumer = broker.consumer("t", "g")
    Listener(consumer)
    with pytest.raises(KafkaFailure, match=r"\[0\]"):
        consumer.commit({0: SafePoint(1, 1)})


def test_shares_are_equal_and_move_little(broker: MemoryBroker) -> None:
    broker.admin().create_topic("six", 6, {})
    members = [broker.consumer("six", "g") for _ in range(4)]
    told = [Listener(each).told for each in members]
    members[0].poll(1, 0)
    for _ in range(2):
        for each in members:
            each.poll(1, 0)
    assert told == [
        [("assigned", [0, 1, 2, 3, 4, 5]), ("revoked", [2, 3, 4, 5])],
        [("assigned", [2, 3])],
        [("assigned", [4])],
        [("assigned", [5])],
    ]


def test_the_fake_clock_obeys() -> None:
    clock = FakeClock(now=100.0)
    clock.advance(2.5)
    clock.sleep(0.5)
    assert (clock.monotonic(), clock.time()) == (3.0, 103.0)


def test_a_full_disk_takes_what_fits(tmp_path: Path) -> None:
    disk = FailingDisk()
    disk.free = 5
    with open(tmp_path / "f", "w+b", buffering=0) as file:
        disk.write_at(file, 0, b"abc")
        with pytest.raises(OSError, match="No space") as caught:
            disk.write_at(file, 3, b"defg")
        assert caught.value.errno == errno.ENOSPC
        disk.heal()
        disk.write_at(file, 5, b"fg")
        disk.fsync(file)
    assert (tmp_path / "f").read_bytes() == b"abcdefg"


def test_operations_fail_until_healed(tmp_path: Path) -> None:
    disk = FailingDisk()
    (tmp_path / "a").write_bytes(b"x")
    disk.fail("replace", errno.EACCES)
    with pytest.raises(PermissionError):
        disk.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    disk.heal()
    disk.replace(str(tmp_path / "a"), str(tmp_path / "b"))
    assert disk.calls["replace"] == 2
