"""What openmsi.kafka.seam promises, held against the real Kafka and the one in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from typing import Protocol

import pytest

from openmsi.errors import OpenMSIError, RecordTooLarge, TopicError
from openmsi.kafka import (
    Admin,
    Consumer,
    Delivery,
    Fetched,
    KafkaSettings,
    Producer,
    TopicInfo,
    open_admin,
    open_consumer,
    open_producer,
    partition_of,
)
from openmsi.protocol import Record, SafePoint, VersionId
from openmsi.testing import MemoryBroker

PATIENCE = 60.0


def no_notice(error: OpenMSIError | None) -> None:
    raise AssertionError(f"unexpected notice: {error}")


class Broker(Protocol):
    """What the tests need of either Kafka."""

    def admin(self) -> Admin: ...
    def producer(self, topic: str) -> Producer: ...
    def consumer(self, topic: str, group: str) -> Consumer: ...


class RealBroker:
    def __init__(self, bootstrap: str) -> None:
        # Members hear of a rebalance with a heartbeat: more of them, less waiting.
        self._settings = KafkaSettings(bootstrap, {"heartbeat.interval.ms": 500})
        self._admin = open_admin(self._settings)

    def admin(self) -> Admin:
        return self._admin

    def producer(self, topic: str) -> Producer:
        return open_producer(self._settings, self._admin.describe_topic(topic), no_notice)

    def consumer(self, topic: str, group: str) -> Consumer:
        return open_consumer(self._settings, topic, group, no_notice)


@pytest.fixture(params=["memory", pytest.param("real", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "memory":
        yield MemoryBroker()
        return
    real = RealBroker(request.getfixturevalue("kafka_bootstrap"))
    yield real
    real.admin().close()


@pytest.fixture
def topic(broker: Broker, topic_name: str) -> Iterator[TopicInfo]:
    """A new topic of three partitions."""
    yield broker.admin().create_topic(topic_name, 3, {})
    broker.admin().delete_topic(topic_name)


class Member:
    """A member of a group that starts where it is told and remembers what it was told."""

    def __init__(self, consumer: Consumer, start: Callable[[SafePoint], int] | None = None) -> None:
        self.consumer = consumer
        self.points: dict[int, SafePoint] = {}
        self.owned: set[int] = set()
        self.got: list[Fetched] = []
        self.commit_on_revoke: dict[int, SafePoint] = {}
        self._start = start or (lambda point: point.offset if point.offset >= 0 else -2)
        consumer.subscribe(self)

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        self.points |= points
        self.owned |= set(points)
        return {partition: self._start(point) for partition, point in points.items()}

    def revoked(self, partitions: Collection[int]) -> None:
        last = {each: self.commit_on_revoke[each] for each in partitions if self.commit_on_revoke}
        self.consumer.commit(last)
        self.owned -= set(partitions)

    def lost(self, partitions: Collection[int]) -> None:
        self.owned -= set(partitions)

    def poll(self, max_records: int = 100) -> None:
        found = self.consumer.poll(max_records, 0.05)
        assert len(found) <= max_records
        self.got += found

    def close(self) -> None:
        self.consumer.close()


def poll_until(condition: Callable[[], bool], *members: Member) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        for each in members:
            each.poll()


def settled(producer: Producer, count: int) -> list[Delivery]:
    """The next `count` deliveries, and no more."""
    deadline = time.monotonic() + PATIENCE
    found: list[Delivery] = []
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} of {count} came back"
        found += producer.poll(0.1)
    assert producer.poll(0.05) == []
    assert len(found) == count
    return found


def send(broker: Broker, topic: str, *records: Record) -> list[Delivery]:
    """Send all; the deliveries in the order of `records`."""
    with closing(broker.producer(topic)) as producer:
        for token, record in enumerate(records):
            assert producer.produce(record, token)
        return sorted(settled(producer, len(records)), key=lambda each: str(each.token).zfill(9))


def numbered(key: bytes | None, count: int) -> list[Record]:
    return [Record(key, b"%d" % number, []) for number in range(count)]


def spread(count: int) -> list[Record]:
    """`count` records for each of three partitions."""
    keys: dict[int, bytes] = {}
    for number in range(100):
        keys[partition_of(b"%d" % number, 3)] = b"%d" % number
    return [each for key in keys.values() for each in numbered(key, count)]


# -- topics --------------------------------------------------------------------------------


def test_a_new_topic_is_described_with_its_settings(broker: Broker, topic_name: str) -> None:
    settings = {
        "max.message.bytes": "2000000",
        "retention.ms": "-1",
        "retention.bytes": "5000000",
        "cleanup.policy": "delete",
    }
    made = broker.admin().create_topic(topic_name, 2, settings)
    assert broker.admin().describe_topic(topic_name) == made
    assert (made.name, made.partitions, made.replication) == (topic_name, 2, 1)
    assert made.max_message_bytes == 2_000_000
    assert made.retention_ms is None
    assert made.retention_bytes == 5_000_000
    assert made.cleanup_policy == "delete"
    assert made.min_insync_replicas == 1
    broker.admin().delete_topic(topic_name)


def test_kafkas_own_defaults_hold_where_no_setting_is_given(topic: TopicInfo) -> None:
    assert topic.max_message_bytes == 1_048_588
    assert topic.retention_ms == 7 * 24 * 3600 * 1000
    assert topic.retention_bytes is None


def test_an_existing_topic_cannot_be_made_again(broker: Broker, topic: TopicInfo) -> None:
    with pytest.raises(TopicError, match=topic.name):
        broker.admin().create_topic(topic.name, 1, {})


def test_a_topic_needs_a_partition(broker: Broker, topic_name: str) -> None:
    with pytest.raises(TopicError, match=topic_name):
        broker.admin().create_topic(topic_name, 0, {})


def test_an_unknown_topic_is_named_and_not_made(broker: Broker, topic_name: str) -> None:
    for _ in range(2):
        with pytest.raises(TopicError, match=topic_name):
            broker.admin().describe_topic(topic_name)
    with pytest.raises(TopicError, match=topic_name):
        broker.admin().delete_topic(topic_name)


def test_a_topic_made_again_has_another_id(broker: Broker, topic_name: str) -> None:
    first = broker.admin().create_topic(topic_name, 1, {})
    broker.admin().delete_topic(topic_name)
    second = broker.admin().create_topic(topic_name, 1, {})
    assert first.topic_id
    assert first.topic_id != second.topic_id
    broker.admin().delete_topic(topic_name)


# -- sending -------------------------------------------------------------------------------


def test_every_token_comes_back_once_with_the_place_of_its_record(
    broker: Broker, topic: TopicInfo
) -> None:
    records = [Record(b"key-%d" % (number % 7), b"%d" % number, []) for number in range(500)]
    deliveries = send(broker, topic.name, *records)
    assert [each.token for each in deliveries] == list(range(500))
    assert all(each.error is None for each in deliveries)
    for each in deliveries[::50]:
        found = broker.admin().read(topic.name, each.partition, each.offset)
        assert found is not None
        assert found.record == records[int(str(each.token))]


def test_records_of_one_key_share_a_partition_and_keep_their_order(
    broker: Broker, topic: TopicInfo
) -> None:
    deliveries = send(broker, topic.name, *numbered(b"a/path.tif", 300))
    assert len({each.partition for each in deliveries}) == 1
    assert [each.offset for each in deliveries] == list(range(300))


@pytest.mark.parametrize("partitions", [1, 3, 6])
def test_a_key_lands_where_kafkas_java_client_would_put_it(
    broker: Broker, topic_name: str, partitions: int
) -> None:
    broker.admin().create_topic(topic_name, partitions, {})
    keys = [b"", b"a", b"ab", b"abc", b"abcd", "Grün/ü.tif".encode(), b"\x00\xff" * 9, b"x" * 1000]
    deliveries = send(broker, topic_name, *[Record(each, b"", []) for each in keys])
    assert [each.partition for each in deliveries] == [
        partition_of(each, partitions) for each in keys
    ]
    broker.admin().delete_topic(topic_name)


def test_a_full_queue_takes_nothing_until_there_is_room(broker: Broker, topic: TopicInfo) -> None:
    record = Record(b"k", os.urandom(1_000_000), [])
    with closing(broker.producer(topic.name)) as producer:
        taken = 0
        while producer.produce(record, taken):
            taken += 1
            assert taken < 100, "the queue has no bound"
        assert taken > 30
        found = [each.token for each in settled(producer, taken)]
        assert found == list(range(taken))
        assert producer.produce(record, "one more")
        assert settled(producer, 1)[0].token == "one more"


def test_a_record_too_large_fails_alone(broker: Broker, topic_name: str) -> None:
    broker.admin().create_topic(topic_name, 1, {"max.message.bytes": "10000"})
    records = [Record(b"k", b"x" * size, []) for size in (10, 9_000, 10_001, 500_000, 20)]
    errors = [each.error for each in send(broker, topic_name, *records)]
    assert [type(each) for each in errors] == [
        type(None),
        type(None),
        RecordTooLarge,
        RecordTooLarge,
        type(None),
    ]
    assert not any(each.retriable for each in errors if each is not None)
    broker.admin().delete_topic(topic_name)


# -- receiving -----------------------------------------------------------------------------


def test_odd_records_arrive_as_they_were_sent(broker: Broker, topic: TopicInfo) -> None:
    twice: list[tuple[str, bytes]] = [("h", b"1"), ("h", b""), ("", b"empty name"), ("ü", b"\xff")]
    null: list[tuple[str, bytes]] = [("null", None)]  # type: ignore[list-item]
    odd = [
        Record(None, b"no key", []),
        Record(b"no value", None, []),
        Record(None, None, twice),
        Record(b"", b"", null),
        Record(b"\x00\xff", bytes(range(256)), [(str(n), b"x" * n) for n in range(100)]),
    ]
    before_ms = time.time() * 1000 - 3600_000
    sent = send(broker, topic.name, *odd)
    with closing(Member(broker.consumer(topic.name, "odd-" + topic.name))) as member:
        poll_until(lambda: len(member.got) == len(odd), member)
    got = {(each.partition, each.offset): each for each in member.got}
    assert [got[each.partition, each.offset].record for each in sent] == odd
    if isinstance(broker, RealBroker):
        assert all(each.timestamp_ms > before_ms for each in member.got)


def test_a_new_group_has_committed_nothing_and_sees_all(broker: Broker, topic: TopicInfo) -> None:
    send(broker, topic.name, *spread(30))
    with closing(Member(broker.consumer(topic.name, "new-" + topic.name))) as member:
        poll_until(lambda: len(member.got) == 90, member)
    assert member.points == {each: SafePoint(-1, -1) for each in range(3)}
    for partition in range(3):
        offsets = [each.offset for each in member.got if each.partition == partition]
        assert offsets == list(range(len(offsets)))


def test_no_more_records_come_at_once_than_were_asked_for(broker: Broker, topic: TopicInfo) -> None:
    send(broker, topic.name, *numbered(b"k", 50))
    with closing(Member(broker.consumer(topic.name, "few-" + topic.name))) as member:
        deadline = time.monotonic() + PATIENCE
        while len(member.got) < 50 and time.monotonic() < deadline:
            member.poll(max_records=1 if len(member.got) < 10 else 7)
    assert [each.record.value for each in member.got] == [b"%d" % each for each in range(50)]


def test_the_listener_says_where_to_start(broker: Broker, topic: TopicInfo) -> None:
    partition = send(broker, topic.name, *numbered(b"k", 10))[0].partition
    consumer = broker.consumer(topic.name, "start-" + topic.name)
    with closing(Member(consumer, start=lambda _: 7)) as member:
        poll_until(lambda: len(member.got) == 3, member)
    assert [(each.partition, each.offset) for each in member.got] == [
        (partition, 7),
        (partition, 8),
        (partition, 9),
    ]


def test_offsets_tell_the_first_and_the_one_after_the_last(
    broker: Broker, topic: TopicInfo
) -> None:
    partition = send(broker, topic.name, *numbered(b"k", 10))[0].partition
    with closing(Member(broker.consumer(topic.name, "ends-" + topic.name))) as member:
        poll_until(lambda: len(member.owned) == 3, member)
        assert member.consumer.offsets(partition) == (0, 10)
        assert member.consumer.offsets((partition + 1) % 3) == (0, 0)


def test_paused_partitions_are_held_back_and_go_on_without_a_gap(
    broker: Broker, topic: TopicInfo
) -> None:
    consumer = broker.consumer(topic.name, "pause-" + topic.name)
    with closing(Member(consumer)) as member:
        poll_until(lambda: len(member.owned) == 3, member)
        consumer.pause([0, 1, 2])
        send(broker, topic.name, *numbered(b"k", 100))
        for _ in range(5):
            member.poll()
        assert member.got == []
        consumer.resume([0, 1, 2])
        poll_until(lambda: len(member.got) >= 40, member)
        consumer.pause([0, 1, 2])
        count = len(member.got)
        member.poll()
        assert len(member.got) == count
        consumer.resume([0, 1, 2])
        poll_until(lambda: len(member.got) >= 100, member)
    assert [each.offset for each in member.got] == list(range(100))


def test_an_unknown_topic_is_not_waited_for(broker: Broker, topic_name: str) -> None:
    member = Member(broker.consumer(topic_name, "lost-" + topic_name))
    with closing(member), pytest.raises(TopicError, match=topic_name):
        poll_until(lambda: False, member)


def test_one_record_is_read_by_its_place(broker: Broker, topic: TopicInfo) -> None:
    records = numbered(b"k", 200)
    partition = send(broker, topic.name, *records)[0].partition
    admin = broker.admin()
    for offset in (150, 3, *range(60, 80), 75, 199, 0):
        found = admin.read(topic.name, partition, offset)
        assert found is not None
        assert (found.partition, found.offset, found.record) == (partition, offset, records[offset])
    assert admin.read(topic.name, partition, 200) is None
    assert admin.read(topic.name, partition, 10**12) is None
    send(broker, topic.name, Record(b"k", b"later", []))
    later = admin.read(topic.name, partition, 200)
    assert later is not None
    assert later.record.value == b"later"


def test_reading_where_there_is_no_partition_says_so(broker: Broker, topic: TopicInfo) -> None:
    with pytest.raises(TopicError):
        broker.admin().read(topic.name, 99, 0)
    with pytest.raises(TopicError):
        broker.admin().read(topic.name + "-unknown", 0, 0)


# -- groups --------------------------------------------------------------------------------


def test_what_one_member_commits_the_next_one_sees(broker: Broker, topic: TopicInfo) -> None:
    send(broker, topic.name, *spread(30))
    group = "commit-" + topic.name
    points = {
        0: SafePoint(4, 9, frozenset({VersionId("a" * 32), VersionId("b" * 32)})),
        2: SafePoint(1, 1),
    }
    with closing(Member(broker.consumer(topic.name, group))) as first:
        poll_until(lambda: len(first.got) == 90, first)
        first.consumer.commit({})
        first.consumer.commit({0: SafePoint(1, 1)})
        first.consumer.commit(points)
    with closing(Member(broker.consumer(topic.name, group))) as second:
        poll_until(lambda: len(second.owned) == 3, second)
    assert second.points == {**points, 1: SafePoint(-1, -1)}


def test_a_commit_while_records_stream_in_loses_none(broker: Broker, topic: TopicInfo) -> None:
    large = [Record(b"k%d" % each, os.urandom(500_000), []) for each in range(60)]
    send(broker, topic.name, *large)
    group = "stream-" + topic.name
    with closing(Member(broker.consumer(topic.name, group))) as member:
        deadline = time.monotonic() + PATIENCE
        while len(member.got) < 60 and time.monotonic() < deadline:
            member.poll(max_records=3)
            next_offsets = {each.partition: each.offset + 1 for each in member.got}
            member.consumer.commit({each: SafePoint(n, n) for each, n in next_offsets.items()})
    assert len(member.got) == 60
    assert {each.record.value for each in member.got} == {each.value for each in large}
    for partition in range(3):
        offsets = [each.offset for each in member.got if each.partition == partition]
        assert offsets == list(range(len(offsets)))


def test_closing_revokes_what_is_assigned_and_still_commits_it(
    broker: Broker, topic: TopicInfo
) -> None:
    group = "close-" + topic.name
    send(broker, topic.name, *spread(10))
    first = Member(broker.consumer(topic.name, group))
    poll_until(lambda: len(first.owned) == 3, first)
    first.commit_on_revoke = {each: SafePoint(1, 2) for each in range(3)}
    first.close()
    assert first.owned == set()
    with closing(Member(broker.consumer(topic.name, group))) as second:
        poll_until(lambda: len(second.owned) == 3, second)
    assert second.points == first.commit_on_revoke


def test_two_members_share_and_a_newcomer_sees_the_last_commit(
    broker: Broker, topic: TopicInfo
) -> None:
    group = "share-" + topic.name
    with closing(Member(broker.consumer(topic.name, group))) as first:
        poll_until(lambda: len(first.owned) == 3, first)
        send(broker, topic.name, *spread(30))
        poll_until(lambda: len(first.got) == 90, first)
        first.commit_on_revoke = {each: SafePoint(5, 6) for each in range(3)}
        with closing(Member(broker.consumer(topic.name, group))) as second:
            poll_until(lambda: bool(second.owned) and len(first.owned) == 2, first, second)
            assert first.owned | second.owned == {0, 1, 2}
            assert not first.owned & second.owned
            assert second.points == {each: SafePoint(5, 6) for each in second.owned}
            moved = set(second.owned)
            second.commit_on_revoke = {each: SafePoint(7, 7) for each in moved}
        poll_until(lambda: len(first.owned) == 3, first)
        assert {each: first.points[each] for each in moved} == second.commit_on_revoke


def test_a_partition_that_comes_back_is_not_paused_any_more(
    broker: Broker, topic: TopicInfo
) -> None:
    group = "again-" + topic.name
    with closing(Member(broker.consumer(topic.name, group))) as first:
        poll_until(lambda: len(first.owned) == 3, first)
        first.consumer.pause([0, 1, 2])
        with closing(Member(broker.consumer(topic.name, group))) as second:
            poll_until(lambda: bool(second.owned), first, second)
            moved = set(second.owned)
        poll_until(lambda: len(first.owned) == 3, first)
        send(broker, topic.name, *spread(20))
        poll_until(lambda: len(first.got) >= 20 * len(moved), first)
        assert {each.partition for each in first.got} == moved


def test_what_the_listener_raises_comes_out_of_poll(broker: Broker, topic: TopicInfo) -> None:
    class Broken(Exception):
        pass

    def broken(_: SafePoint) -> int:
        raise Broken

    member = Member(broker.consumer(topic.name, "broken-" + topic.name), broken)
    with closing(member), pytest.raises(Broken):
        poll_until(lambda: False, member)
