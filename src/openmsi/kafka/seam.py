"""The narrow seam to Kafka: what sending and receiving need of it, and no more.

Two things stand behind it: the real client (`client.py`, `consumer.py`, `admin.py`) and the
in-memory broker of `openmsi.testing`. tests/contract/ holds both to the same promises.
One producer or consumer belongs to one topic and to one thread.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple, Protocol

import msgspec

from openmsi.errors import OpenMSIError
from openmsi.protocol import Record, SafePoint


class TopicInfo(msgspec.Struct, frozen=True):
    """A topic's identity and the settings that matter for files.

    `topic_id` changes when a topic is deleted and made again under the same name; it is empty
    where the broker does not tell. `retention_ms` is None when records are kept for ever;
    `retention_bytes` (per partition) is None when size does not matter.
    """

    name: str
    topic_id: str
    partitions: int
    replication: int
    max_message_bytes: int
    retention_ms: int | None
    retention_bytes: int | None
    cleanup_policy: str
    min_insync_replicas: int


class Delivery(NamedTuple):
    """What became of one record: acknowledged at `offset`, or failed with `error`."""

    token: object
    partition: int
    offset: int
    error: OpenMSIError | None


class Fetched(NamedTuple):
    """One record and its place in the topic. `timestamp_ms` is Kafka's own, 0 if unknown."""

    partition: int
    offset: int
    timestamp_ms: int
    record: Record


# Called with conditions that pass by themselves (a broker is away); None when it is over.
Notice = Callable[[OpenMSIError | None], None]


class Producer(Protocol):
    """Sends records to one topic, idempotently, each acknowledged by all in-sync replicas.

    Records of one key go to one partition and keep their order. It never gives up a record
    because time passed: a broker that is away for an hour is waited for.
    """

    def produce(self, record: Record, token: object) -> bool:
        """Queue `record`. Returns False, and takes nothing, when the queue is full."""
        ...

    def poll(self, timeout: float) -> list[Delivery]:
        """What was delivered or failed since the last call; waits up to `timeout` seconds for
        the first of it. Each `token` comes back exactly once."""
        ...

    def close(self) -> None:
        """Let go. What was not acknowledged by now may or may not be in the topic."""
        ...


class Rebalanced(Protocol):
    """Told, from inside `Consumer.poll`, when partitions come and go."""

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        """These partitions are ours from now on, with what the group committed for each
        (offset -1 where it never committed). Returns the offset to start at for each;
        -2 means the beginning."""
        ...

    def revoked(self, partitions: Collection[int]) -> None:
        """These will be somebody else's when this returns: the last chance to commit them."""
        ...

    def lost(self, partitions: Collection[int]) -> None:
        """These are somebody else's already: nothing of them may be committed."""
        ...


class Consumer(Protocol):
    """Receives the records of one topic as a member of a consumer group, cooperatively."""

    def subscribe(self, listener: Rebalanced) -> None: ...

    def poll(self, max_records: int, timeout: float) -> list[Fetched]:
        """Up to `max_records` records, in offset order within a partition; waits up to
        `timeout` seconds for the first. Records of partitions that were revoked meanwhile
        may still be among them."""
        ...

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        """Commit, and wait until the group's coordinator has it.

        Raises:
            OpenMSIError: retriable ones may be tried again at the next checkpoint.
        """
        ...

    def pause(self, partitions: Collection[int]) -> None: ...

    def resume(self, partitions: Collection[int]) -> None: ...

    def offsets(self, partition: int) -> tuple[int, int]:
        """The first offset that still exists, and the one after the last."""
        ...

    def close(self) -> None:
        """Leave the group. Calls `revoked` for what is still assigned."""
        ...


class Admin(Protocol):
    def describe_topic(self, name: str) -> TopicInfo:
        """Raises TopicError when there is none. Never creates one."""
        ...

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> TopicInfo:
        """Raises TopicError when it exists already."""
        ...

    def delete_topic(self, name: str) -> None: ...

    def read(self, topic: str, partition: int, offset: int) -> Fetched | None:
        """The one record at `offset`; None when it is not there (any more)."""
        ...
