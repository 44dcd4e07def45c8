"""What openmsi.kafka.seam promises to members of a group, held against both Kafkas."""

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
    either,
    poll_until,
    send,
    spread,
)

from openmsi.kafka import TopicInfo
from openmsi.protocol import Record, SafePoint, VersionId


@pytest.fixture(params=BOTH)
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    with either(request) as broker:
        yield broker


@pytest.fixture
def topic(broker: Broker, topic_name: str) -> Iterator[TopicInfo]:
    """A new topic of three partitions."""
    yield broker.admin().create_topic(topic_name, 3, {})
    broker.admin().delete_topic(topic_name)


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


def test_a_member_that_left_has_nothing_until_it_subscribes_again(
    broker: Broker, topic: TopicInfo
) -> None:
    group = "leave-" + topic.name
    send(broker, topic.name, *spread(5))
    with (
        closing(Member(broker.consumer(topic.name, group))) as first,
        closing(Member(broker.consumer(topic.name, group))) as second,
    ):
        poll_until(lambda: bool(first.owned) and bool(second.owned), first, second)
        assert first.consumer.members() == 2
        second.commit_on_revoke = {each: SafePoint(1, 2) for each in second.owned}
        moved = set(second.owned)
        second.consumer.leave()
        poll_until(lambda: len(first.owned) == 3, first, second)
        assert second.owned == set()
        assert {each: first.points[each] for each in moved} == second.commit_on_revoke
        assert second.consumer.members() == 1
        second.commit_on_revoke = {}
        first.consumer.leave()
        poll_until(lambda: not first.owned, first, second)
        assert first.consumer.members() == 0
        second.consumer.subscribe(second)
        poll_until(lambda: len(second.owned) == 3, first, second)
