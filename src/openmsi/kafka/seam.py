"""The narrow seam to Kafka: what sending and receiving need of it, and no more.

Two things stand behind it: the real client (`producer.py`, `consumer.py`, `admin.py`) and the
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


# Called, from within `poll`, with a condition that passes by itself (all brokers are away), once
# for as long as it lasts; and with None when something succeeded again.
Notice = Callable[[OpenMSIError | None], None]


# partition, offset -> the record there; None when it is not there any more.
ReadRecord = Callable[[int, int], Fetched | None]


class Producer(Protocol):
    """Sends records to one topic, idempotently, each acknowledged by all in-sync replicas.

    Records of one key go to one partition and keep their order. It never gives up a record
    because time passed: a broker that is away for an hour is waited for.
    """

    def produce(self, record: Record, token: object) -> bool:
        """Queue `record`. Returns False, and takes nothing, when the queue is full. It raises
        nothing: what can never be sent (too large, ...) fails in `poll` like everything else."""
        ...

    def poll(self, timeout: float) -> list[Delivery]:
        """What was delivered or failed since the last call; waits up to `timeout` seconds for
        the first of it. Each `token` comes back exactly once. A failure that is retriable means
        that this producer may be of no more use: close it, open another, and send again.

        Raises:
            NotAuthorized: the login is refused. Nothing is given up: `poll` waits on.
        """
        ...

    def close(self) -> None:
        """Let go. What was not acknowledged by now may or may not be in the topic."""
        ...


class Rebalanced(Protocol):
    """Told when partitions come and go: `assigned` from inside `Consumer.poll`; `revoked` and
    `lost` from inside `poll`, `commit` or `close`."""

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        """These partitions are ours from now on, with what the group committed for each
        (offset -1 where it never committed). None at all where the group has more members than
        the topic has partitions. Returns the offset to start at for each;
        -2 means the beginning."""
        ...

    def revoked(self, partitions: Collection[int]) -> None:
        """These will be somebody else's when this returns: the last chance to commit them. A
        commit from in here is sent before they are given away, but not waited for."""
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
        may still be among them. Call it at least every few minutes, or the group goes on
        without this member.

        An offset that no longer exists is replaced, without a word, by the first that does.

        Raises:
            TopicError: the topic is unknown, or was deleted.
            NotAuthorized: the login, or reading the topic, is refused.
        """
        ...

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        """Commit, and wait until the group's coordinator has it, for about 10 s at most.

        Raises:
            OpenMSIError: retriable ones may be tried again at the next checkpoint.
        """
        ...

    def pause(self, partitions: Collection[int]) -> None:
        """Hold back the records of these. What was fetched ahead of them is thrown away and
        fetched again after `resume`, so this is for waits of seconds, not for pacing."""
        ...

    def resume(self, partitions: Collection[int]) -> None:
        """Go on where `pause` stopped. Assigned partitions are never paused at first."""
        ...

    def offsets(self, partition: int) -> tuple[int, int]:
        """The first offset that still exists, and the one after the last."""
        ...

    def lag(self, positions: Mapping[int, int]) -> int:
        """How many records there are from `positions` on, as far as this is known from what was
        fetched: asks nobody, and is 0 at first."""
        ...

    def leave(self) -> None:
        """Leave the group; `subscribe` comes back. `revoked` is called from a later `poll`."""
        ...

    def members(self) -> int:
        """How many members the group has now, this one included.

        Raises:
            OpenMSIError: no answer, or we may not know.
        """
        ...

    def close(self) -> None:
        """Leave the group. Calls `revoked` for what is still assigned. Takes about 15 s when
        a broker hangs, else well under one."""
        ...


class Admin(Protocol):
    def describe_topic(self, name: str) -> TopicInfo:
        """Raises TopicError when there is none. Never creates one."""
        ...

    def create_topic(self, name: str, partitions: int, settings: Mapping[str, str]) -> TopicInfo:
        """Raises TopicError when it exists already."""
        ...

    def delete_topic(self, name: str) -> None:
        """Raises TopicError when there is none."""
        ...

    def read(self, topic: str, partition: int, offset: int) -> Fetched | None:
        """The one record at `offset`; None when it is not there (any more)."""
        ...

    def close(self) -> None: ...
