"""What openmsi.kafka.seam promises, held against the real Kafka and the one in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafkas import (
    BOTH,
    PATIENCE,
    Broker,
    Member,
    RealBroker,
    either,
    numbered,
    poll_until,
    send,
    settled,
    spread,
)

from openmsi.errors import RecordTooLarge, TopicError
from openmsi.kafka import TopicInfo, partition_of
from openmsi.protocol import Record, SafePoint


@pytest.fixture(params=BOTH)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with either(request) as broker:
        yield broker


@pytest.fixture
def topic(broker: Broker, topic_name: str) -> Iterator[TopicInfo]:
    """A new topic of three partitions."""
    yield broker.admin().create_topic(topic_name, 3, {})
    broker.admin().delete_topic(topic_name)


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


def test_the_lag_is_what_is_known_to_be_still_there(broker: Broker, topic: TopicInfo) -> None:
    partition = send(broker, topic.name, *numbered(b"k", 10))[0].partition
    with closing(Member(broker.consumer(topic.name, "lag-" + topic.name))) as member:
        poll_until(lambda: len(member.got) == 10, member)
        assert member.consumer.lag({partition: 10}) == 0
        assert member.consumer.lag({partition: 4}) == 6
        assert member.consumer.lag({partition: 4, (partition + 1) % 3: 0}) == 6
        send(broker, topic.name, *numbered(b"k", 5))
        poll_until(lambda: len(member.got) == 15, member)
        assert member.consumer.lag({partition: 10}) == 5


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
