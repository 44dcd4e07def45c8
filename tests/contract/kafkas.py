"""Both Kafkas, and a member of a group that remembers what it was told."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Protocol

import pytest

from openmsi.errors import OpenMSIError
from openmsi.kafka import (
    Admin,
    Consumer,
    Delivery,
    Fetched,
    KafkaSettings,
    Producer,
    open_admin,
    open_consumer,
    open_producer,
    partition_of,
)
from openmsi.protocol import Record, SafePoint
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


BOTH = ["memory", pytest.param("real", marks=pytest.mark.kafka)]


@contextmanager
def either(request: pytest.FixtureRequest) -> Iterator[Broker]:
    """The Kafka that a fixture with the parameters BOTH is to give."""
    if request.param == "memory":
        yield MemoryBroker()
        return
    real = RealBroker(request.getfixturevalue("kafka_bootstrap"))
    with closing(real.admin()):
        yield real


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
