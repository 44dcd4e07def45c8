"""For tests, ours and yours: Kafka in memory, a clock that obeys, a disk that fails.

    broker = MemoryBroker()
    broker.admin().create_topic("scans", 3, {})
    producer = broker.producer("scans")
    consumer = broker.consumer("scans", "group")

Nothing here waits, starts threads or reads the real time: every run of a test is the same. All of
it belongs to one thread. `MemoryBroker` keeps the promises of `openmsi.kafka.seam`.
"""

from __future__ import annotations

import errno
import os
from collections import Counter, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from openmsi.errors import BrokerUnreachable, KafkaFailure, OpenMSIError, RecordTooLarge, TopicError
from openmsi.kafka.partitions import partition_of
from openmsi.kafka.seam import Delivery, Fetched, Notice, Rebalanced, TopicInfo
from openmsi.kafka.topics import topic_info
from openmsi.protocol import Record, SafePoint, decode_safe_point, encode_metadata

# What Kafka adds around one record in a batch of its own, at most; see librdkafka's estimate.
_RECORD_OVERHEAD = 61 + 36


class FakeClock:
    """Time that passes only when told to. All in seconds, `time` since 1970-01-01 UTC."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self._elapsed = 0.0
        self._now = now

    def monotonic(self) -> float:
        return self._elapsed

    def time(self) -> float:
        return self._now + self._elapsed

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds

    sleep = advance


@dataclass
class _Log:
    """One partition: its records from offset `first` on."""

    first: int = 0
    records: list[Fetched] = field(default_factory=list)

    @property
    def end(self) -> int:
        return self.first + len(self.records)


class _Topic:
    def __init__(self, info: TopicInfo) -> None:
        self.info = info
        self.logs = [_Log() for _ in range(info.partitions)]


@dataclass
class _Group:
    members: list[MemoryConsumer] = field(default_factory=list)
    committed: dict[int, tuple[int, str]] = field(default_factory=dict)


class MemoryBroker:
    """Kafka's topics, offsets and consumer groups in memory, and ways to break them.

    While `away` is True no broker answers: nothing is acknowledged, fetched or committed.
    """

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.away = False
        self._topics: dict[str, _Topic] = {}
        self._made = 0
        self._groups: dict[tuple[str, str], _Group] = {}
        self._failures: deque[tuple[OpenMSIError, bool]] = deque()

    def admin(self) -> MemoryAdmin:
        return MemoryAdmin(self)

    def producer(self, topic: str, notice: Notice = lambda _: None) -> MemoryProducer:
        return MemoryProducer(self, topic, notice)

    def consumer(self, topic: str, group: str, notice: Notice = lambda _: None) -> MemoryConsumer:
        return MemoryConsumer(self, topic, group, notice)

    def fail_next(self, count: int, error: OpenMSIError, *, kept: bool = False) -> None:
        """Let the next `count` deliveries fail with `error`. With `kept` the records are in the
        topic all the same, as when only the acknowledgement was lost."""
        self._failures.extend([(error, kept)] * count)

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """What retention does: the records before the offset `before` are gone."""
        log = self._topic(topic).logs[partition]
        gone = min(max(before - log.first, 0), len(log.records))
        del log.records[:gone]
        log.first += gone

    def evict(self, consumer: MemoryConsumer) -> None:
        """What the group does with a member that is silent too long: its partitions are lost,
        and given to others. It is told, and joins again, at its next poll."""
        consumer._evicted = True
        self._group(consumer._topic, consumer._group).members.remove(consumer)

    def committed(self, topic: str, group: str) -> dict[int, SafePoint]:
        """What `group` committed, by partition."""
        found = self._group(topic, group).committed
        return {each: decode_safe_point(*found[each]) for each in sorted(found)}

    def _topic(self, name: str) -> _Topic:
        if name not in self._topics:
            cure = "Make it with `openmsi topic create NAME`, or check the name."
            raise TopicError(f"topic {name!r}", "Unknown topic or partition", cure)
        return self._topics[name]

    def _group(self, topic: str, group: str) -> _Group:
        return self._groups.setdefault((topic, group), _Group())

    def _answer(self) -> None:
        if self.away:
            raise BrokerUnreachable("Kafka in memory", "it is away")

    def _append(self, topic: str, record: Record) -> tuple[int, int]:
        found = self._topic(topic)
        size = len(record.key or b"") + len(record.value or b"") + _RECORD_OVERHEAD
        size += sum(len(name.encode()) + len(value or b"") + 4 for name, value in record.headers)
        if size > found.info.max_message_bytes:
            raise RecordTooLarge(f"topic {topic!r}", "Message size too large")
        if record.key is None:  # anywhere
            partition = sum(each.end for each in found.logs) % len(found.logs)
        else:
            partition = partition_of(record.key, len(found.logs))
        log = found.logs[partition]
        at = Fetched(partition, log.end, int(self.clock.time() * 1000), record)
        log.records.append(at)
        return partition, at.offset

    def _deliver(self, topic: str, record: Record, token: object) -> Delivery:
        error, kept = self._failures.popleft() if self._failures else (None, True)
        place = (-1, -1)
        try:
            if kept:
                place = self._append(topic, record)
        except TopicError as refused:
            error = error or refused
        return Delivery(token, *(place if error is None else (-1, -1)), error)


class MemoryAdmin:
    """`openmsi.kafka.Admin` in memory."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    def describe_topic(self, name: str) -> TopicInfo:
        self._broker._answer()
        return self._broker._topic(name).info

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> TopicInfo:
        broker = self._broker
        broker._answer()
        if name in broker._topics:
            raise TopicError(f"topic {name!r}", f"Topic {name!r} already exists.")
        if partitions < 1:
            raise TopicError(f"topic {name!r}", "Number of partitions must be larger than 0.")
        broker._made += 1
        info = topic_info(name, f"memory-{broker._made}", partitions, 1, settings)
        broker._topics[name] = _Topic(info)
        return info

    def delete_topic(self, name: str) -> None:
        self._broker._answer()
        self._broker._topic(name)
        del self._broker._topics[name]
        for (topic, _), group in self._broker._groups.items():
            if topic == name:
                group.committed.clear()

    def read(self, topic: str, partition: int, offset: int) -> Fetched | None:
        self._broker._answer()
        logs = self._broker._topic(topic).logs
        if not 0 <= partition < len(logs):
            raise TopicError(f"topic {topic!r}", "Unknown partition")
        log = logs[partition]
        return log.records[offset - log.first] if log.first <= offset < log.end else None

    def close(self) -> None:
        pass


class _Watch:
    """Gives notice when the broker goes away and when it is back, once each."""

    def __init__(self, broker: MemoryBroker, notice: Notice) -> None:
        self._broker = broker
        self._notice = notice
        self._told = False

    def is_away(self) -> bool:
        if self._broker.away and not self._told:
            self._notice(BrokerUnreachable("Kafka in memory", "it is away"))
        elif self._told and not self._broker.away:
            self._notice(None)
        self._told = self._broker.away
        return self._told


class MemoryProducer:
    """`openmsi.kafka.Producer` in memory. Records reach the topic in `poll`."""

    def __init__(self, broker: MemoryBroker, topic: str, notice: Notice) -> None:
        self.max_records = 20_000
        self.max_bytes = 64 * 1024 * 1024
        self._broker = broker
        self._topic = topic
        self._watch = _Watch(broker, notice)
        self._queue: list[tuple[Record, object]] = []
        self._bytes = 0

    def produce(self, record: Record, token: object) -> bool:
        size = len(record.value or b"")
        full = self._queue and self._bytes + size > self.max_bytes
        if full or len(self._queue) >= self.max_records:
            return False
        self._queue.append((record, token))
        self._bytes += size
        return True

    def poll(self, timeout: float) -> list[Delivery]:
        if self._watch.is_away():
            return []
        queue, self._queue, self._bytes = self._queue, [], 0
        return [self._broker._deliver(self._topic, record, token) for record, token in queue]

    def close(self) -> None:
        self._queue.clear()


class MemoryConsumer:
    """`openmsi.kafka.Consumer` in memory. Partitions come and go only in its own `poll`."""

    def __init__(self, broker: MemoryBroker, topic: str, group: str, notice: Notice) -> None:
        self._broker = broker
        self._topic = topic
        self._group = group
        self._watch = _Watch(broker, notice)
        self._listener: Rebalanced | None = None
        self._next: dict[int, int] = {}  # what is assigned, and the next offset of each
        self._paused: set[int] = set()
        self._turn = 0
        self._evicted = False
        self._leaving = False

    def subscribe(self, listener: Rebalanced) -> None:
        self._listener = listener
        self._leaving = False

    def poll(self, max_records: int, timeout: float) -> list[Fetched]:
        if self._watch.is_away():
            return []
        topic = self._broker._topic(self._topic)
        if self._leaving:
            self._let_go(self._next, lost=self._evicted)
            self._leave_now()
            return []
        self._rebalance(topic.info.partitions)
        fetched: list[Fetched] = []
        ready = [each for each in sorted(self._next) if each not in self._paused]
        self._turn += 1
        for place in range(len(ready)):
            partition = ready[(self._turn + place) % len(ready)]
            fetched += self._fetch(topic.logs[partition], partition, max_records - len(fetched))
        return fetched

    def _fetch(self, log: _Log, partition: int, most: int) -> list[Fetched]:
        start = self._next[partition]
        if not log.first <= start <= log.end:
            start = log.first  # as auto.offset.reset=earliest does, without a word
        stop = min(log.end, start + most)
        self._next[partition] = stop
        return log.records[start - log.first : stop - log.first]

    def _rebalance(self, partitions: int) -> None:
        """Cooperatively: give up what others shall have; take what is ours and free."""
        if self._listener is None:
            return
        members = self._broker._group(self._topic, self._group).members
        if self._evicted:
            self._evicted = False
            self._let_go(self._next, lost=True)
        if self not in members:
            members.append(self)
        wanted = _share(members, partitions)[self]
        self._let_go(set(self._next) - wanted)
        taken = {each for member in members for each in member._next}
        if free := wanted - taken:
            self._start(free)

    def _start(self, partitions: Collection[int]) -> None:
        assert self._listener is not None
        committed = self._broker.committed(self._topic, self._group)
        points = {each: committed.get(each, SafePoint(-1, -1)) for each in sorted(partitions)}
        self._next |= self._listener.assigned(points)

    def _let_go(self, partitions: Collection[int], *, lost: bool = False) -> None:
        if not partitions or self._listener is None:
            return
        gone = frozenset(partitions)
        (self._listener.lost if lost else self._listener.revoked)(gone)
        for each in gone:
            del self._next[each]
        self._paused -= gone

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        self._broker._answer()
        if self._evicted:
            raise KafkaFailure(f"group {self._group!r}", "Unknown member", retriable=True)
        if strange := set(points) - set(self._next):
            raise KafkaFailure(f"group {self._group!r}", f"not ours to commit: {sorted(strange)}")
        found = self._broker._group(self._topic, self._group).committed
        found |= {each: (point.offset, encode_metadata(point)) for each, point in points.items()}

    def pause(self, partitions: Collection[int]) -> None:
        self._paused |= set(partitions) & set(self._next)

    def resume(self, partitions: Collection[int]) -> None:
        self._paused -= set(partitions)

    def offsets(self, partition: int) -> tuple[int, int]:
        self._broker._answer()
        log = self._broker._topic(self._topic).logs[partition]
        return log.first, log.end

    def lag(self, positions: Mapping[int, int]) -> int:
        logs = self._broker._topic(self._topic).logs
        return sum(max(0, logs[each].end - position) for each, position in positions.items())

    def leave(self) -> None:
        self._leaving = True

    def members(self) -> int:
        self._broker._answer()
        return len(self._broker._group(self._topic, self._group).members)

    def close(self) -> None:
        self._let_go(self._next, lost=self._evicted)
        self._leave_now()

    def _leave_now(self) -> None:
        members = self._broker._group(self._topic, self._group).members
        if self in members:
            members.remove(self)


def _share(members: list[MemoryConsumer], partitions: int) -> dict[MemoryConsumer, set[int]]:
    """Equal shares that move as little as possible; earlier members get the odd ones."""
    small, odd = divmod(partitions, len(members))
    sizes = {member: small + (place < odd) for place, member in enumerate(members)}
    shares = {member: set(sorted(member._next)[: sizes[member]]) for member in members}
    free = deque(sorted(set(range(partitions)).difference(*shares.values())))
    for member, share in shares.items():
        while len(share) < sizes[member]:
            share.add(free.popleft())
    return shares


class FailingDisk:
    """File operations that really happen, until told to fail.

    `free` is how many bytes may still be written before the disk is full; None: no limit.
    """

    def __init__(self) -> None:
        self.free: int | None = None
        self.calls: Counter[str] = Counter()
        self._failing: dict[str, int] = {}

    def fail(self, operation: str, code: int = errno.EIO) -> None:
        """Let `operation` ("write_at", "fsync", "replace") fail with this errno, until `heal`."""
        self._failing[operation] = code

    def heal(self) -> None:
        self._failing.clear()
        self.free = None

    def write_at(self, file: BinaryIO, start: int, data: bytes) -> None:
        """Write `data` at `start`. A disk that gets full takes what still fits."""
        self._enter("write_at", file.name)
        fits = len(data) if self.free is None else min(len(data), self.free)
        file.seek(start)
        file.write(data[:fits])
        if self.free is not None:
            self.free -= fits
        if fits < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)

    def fsync(self, file: BinaryIO) -> None:
        self._enter("fsync", file.name)
        os.fsync(file.fileno())

    def replace(self, source: str, target: str) -> None:
        self._enter("replace", target)
        os.replace(source, target)

    def _enter(self, operation: str, name: str) -> None:
        self.calls[operation] += 1
        if operation in self._failing:
            code = self._failing[operation]
            raise OSError(code, os.strerror(code), name)
