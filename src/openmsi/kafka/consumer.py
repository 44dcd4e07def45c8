"""Receiving records as a member of a consumer group: the real `Consumer`."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from openmsi.errors import BrokerUnreachable, OpenMSIError
from openmsi.kafka.admin import count_members
from openmsi.kafka.conditions import Conditions
from openmsi.kafka.lookup import watermarks
from openmsi.kafka.mapping import is_unreachable, mapped, to_error
from openmsi.kafka.records import to_fetched
from openmsi.kafka.seam import Fetched, Notice, Rebalanced
from openmsi.kafka.settings import KafkaSettings, consumer_config
from openmsi.protocol import SafePoint, decode_safe_point, encode_metadata

_log = logging.getLogger(__name__)

# Seconds to wait for an answer of the group's coordinator, or of a partition's leader.
_TIMEOUT = 10.0
_COMMITTED_TIMEOUT = 5.0
_CLOSE_TIMEOUT = 5.0
# What may be fetched while a commit is waited for, before fetching is paused.
_EARLY_BYTES = 48 * 1024 * 1024
_STEP = 0.005


class KafkaConsumer:
    """The real `Consumer`; `open_consumer` makes one."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str, notice: Notice) -> None:
        self._topic = topic
        self._what = f"topic {topic!r}"
        self._group = f"group {group!r}"
        self._count_members = partial(count_members, settings, group)
        self._where = f"Kafka at {settings.bootstrap_servers}"
        self._conditions = Conditions(notice, self._where)
        self._listener: Rebalanced | None = None
        # Ours, but not started: what the group committed for them is not known yet.
        self._waiting: set[int] = set()
        self._got_nothing = False
        self._started: set[int] = set()
        self._paused: set[int] = set()
        self._early: list[Message] = []
        self._commits: list[tuple[KafkaError | None, dict[int, TopicPartition]]] = []
        self._in_callback = False
        self._failed: BaseException | None = None
        callbacks = {"error_cb": self._conditions.heard, "on_commit": self._on_commit}
        with mapped("Kafka client"):
            self._client = Client({**consumer_config(settings, group), **callbacks})

    def subscribe(self, listener: Rebalanced) -> None:
        """See `Consumer.subscribe`."""
        self._listener = listener
        with mapped(self._what):
            self._client.subscribe(
                [self._topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )

    def poll(self, max_records: int, timeout: float) -> list[Fetched]:
        """See `Consumer.poll`. While all brokers are away it may take a second longer.

        Raises:
            TopicError: the topic does not exist (any more).
            NotAuthorized: the login, or reading the topic, is refused.
            Exception: whatever the listener raised, once the rebalance is done.
        """
        messages = self._receive(max_records, timeout)
        self._raise_failed()
        if self._waiting:
            self._start()
        elif self._got_nothing and self._listener is not None:
            self._got_nothing = False
            self._listener.assigned({})
        fetched = [to_fetched(each) for each in messages if self._is_record(each)]
        if fetched:
            self._conditions.over()
        elif not self._waiting:  # else what is wrong was told, and is not over
            self._conditions.tell(self._probe)
        return fetched

    def _receive(self, max_records: int, timeout: float) -> list[Message]:
        messages = self._take_early(max_records)
        if messages:
            timeout = 0
        # consume() waits until it has all that it may return: wait for the first with poll.
        with mapped(self._what):
            first = self._client.poll(timeout) if len(messages) < max_records else None
            if first is not None:
                messages.append(first)
                messages += self._client.consume(max_records - len(messages), 0)
        return messages

    def _take_early(self, most: int) -> list[Message]:
        taken: list[Message] = []
        kept: list[Message] = []
        for each in self._early:
            wanted = len(taken) < most and each.partition() not in self._paused
            (taken if wanted else kept).append(each)
        self._early = kept
        return taken

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        found = to_error(error, self._where if is_unreachable(error) else self._what)
        if not found.retriable:
            raise found
        self._conditions.passing(found)
        return False

    def _probe(self, timeout: float) -> object:
        return self._client.list_topics(self._topic, timeout)

    def _raise_failed(self) -> None:
        if self._failed is not None:
            failed, self._failed = self._failed, None
            raise failed

    # Rebalancing. librdkafka calls the three callbacks from inside poll and close. Nothing may
    # be raised through its C frames, so a listener's exception is kept, and raised after them.

    def _on_assign(self, client: Client, partitions: list[TopicPartition]) -> None:
        # Asking for committed offsets can take long or fail while a broker goes down. So here
        # only the protocol is satisfied; `_start` does the rest, again and again if need be.
        self._waiting.update(each.partition for each in partitions)
        self._got_nothing = not partitions
        client.incremental_assign([])

    def _start(self) -> None:
        """Ask what the group committed for the waiting partitions, and begin there."""
        assert self._listener is not None
        try:
            found = self._client.committed(self._places(self._waiting), _COMMITTED_TIMEOUT)
            for each in found:
                if each.error is not None:
                    raise KafkaException(each.error)
        except KafkaException as exception:
            error = to_error(exception.args[0], self._group)
            if not error.retriable:
                raise error from exception
            self._conditions.passing(error)
            return
        try:
            offsets = self._listener.assigned({each.partition: _point(each) for each in found})
        except OpenMSIError as error:
            if not error.retriable:
                raise
            # A broker went while the listener asked for offsets: it is asked again.
            self._conditions.passing(error)
            return
        starts = [TopicPartition(self._topic, each, offsets[each]) for each in self._waiting]
        with mapped(self._what):
            self._client.incremental_assign(starts)
            # librdkafka remembers a pause over the loss and return of a partition.
            self._client.resume(starts)
        self._started |= self._waiting
        self._waiting.clear()

    def _on_revoke(self, client: Client, partitions: list[TopicPartition]) -> None:
        self._let_go(client, partitions, lambda listener, gone: listener.revoked(gone))

    def _on_lost(self, client: Client, partitions: list[TopicPartition]) -> None:
        self._let_go(client, partitions, lambda listener, gone: listener.lost(gone))

    def _let_go(
        self,
        client: Client,
        partitions: list[TopicPartition],
        tell: Callable[[Rebalanced, Collection[int]], None],
    ) -> None:
        gone = {each.partition for each in partitions}
        told = self._started & gone
        self._in_callback = True
        try:
            if told and self._listener is not None:
                tell(self._listener, frozenset(told))
        except BaseException as exception:  # noqa: BLE001 - raised again by poll
            self._failed = exception
        finally:
            self._in_callback = False
        self._started -= gone
        self._paused -= gone
        self._early = [each for each in self._early if each.partition() not in gone]
        client.incremental_unassign(self._places(gone - self._waiting))
        self._waiting -= gone

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        """See `Consumer.commit`.

        From inside `Rebalanced.revoked` it does not wait: the client sends the commit before it
        gives the partitions away, and a failure is only logged.
        """
        if not points:
            return
        offsets = [
            TopicPartition(self._topic, partition, point.offset, encode_metadata(point))
            for partition, point in points.items()
        ]
        if not self._in_callback:
            self._commits.clear()
        # Never the client's synchronous commit: it hangs for good when a broker stops answering
        # in the middle of it, since it does not serve the rebalance that would free it.
        with mapped(self._group):
            self._client.commit(offsets=offsets, asynchronous=True)
        if not self._in_callback:
            self._wait_for({each.partition: each.offset for each in offsets})

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        failed = next((each.error for each in partitions if each.error is not None), error)
        if failed is not None:
            _log.info("commit failed group=%s error=%s", self._group, failed)
        self._commits.append((failed, {each.partition: each for each in partitions}))

    def _wait_for(self, offsets: Mapping[int, int]) -> None:
        deadline = time.monotonic() + _TIMEOUT
        holding = False
        try:
            while time.monotonic() < deadline:
                # The answer comes through poll, and records with it: `poll` returns them.
                with mapped(self._group):
                    message = self._client.poll(_STEP)
                if message is not None:
                    self._early.append(message)
                    holding = holding or self._hold()
                for error, places in self._commits:
                    if {each: place.offset for each, place in places.items()} == offsets:
                        if error is not None:
                            raise to_error(error, self._group)
                        self._conditions.over()
                        return
        finally:
            if holding:
                self.resume(self._started - self._paused)
        raise BrokerUnreachable(self._group, f"its coordinator did not answer for {_TIMEOUT:.0f} s")

    def _hold(self) -> bool:
        """Stop fetching when too much came while a commit is waited for."""
        if sum(len(each) for each in self._early) < _EARLY_BYTES:
            return False
        with mapped(self._what):
            self._client.pause(self._places(self._started))
        return True

    def pause(self, partitions: Collection[int]) -> None:
        """See `Consumer.pause`."""
        ours = self._started & set(partitions)
        self._paused |= ours
        with mapped(self._what):
            self._client.pause(self._places(ours))

    def resume(self, partitions: Collection[int]) -> None:
        """See `Consumer.resume`."""
        ours = self._started & set(partitions)
        self._paused -= ours
        with mapped(self._what):
            self._client.resume(self._places(ours))

    def offsets(self, partition: int) -> tuple[int, int]:
        """See `Consumer.offsets`.

        Raises:
            TopicError: there is no such partition.
            BrokerUnreachable: no answer within about 10 s.
        """
        with mapped(self._what):
            return watermarks(self._client, self._topic, partition, _TIMEOUT)

    def lag(self, positions: Mapping[int, int]) -> int:
        """See `Consumer.lag`."""
        total = 0
        for partition, position in positions.items():
            place = TopicPartition(self._topic, partition)
            _, end = self._client.get_watermark_offsets(place, cached=True)
            total += max(0, end - position)
        return total

    def leave(self) -> None:
        """See `Consumer.leave`."""
        with mapped(self._group):
            self._client.unsubscribe()

    def members(self) -> int:
        """See `Consumer.members`."""
        return self._count_members()

    def close(self) -> None:
        """See `Consumer.close`. Takes at most about 15 s, and only when a broker hangs.

        Raises:
            Exception: whatever the listener raised, after all is closed.
        """
        try:
            if self._started and self._listener is not None:
                self._listener.revoked(frozenset(self._started))
        finally:
            self._started.clear()
            # Closing waits for the coordinator, for ever if it hangs; nothing of ours does.
            closing = threading.Thread(target=self._client.close, name="kafka-close", daemon=True)
            closing.start()
            closing.join(_CLOSE_TIMEOUT)
            if closing.is_alive():
                _log.warning("%s does not let go; left to itself", self._group)
        self._raise_failed()

    def _places(self, partitions: Iterable[int]) -> list[TopicPartition]:
        return [TopicPartition(self._topic, each) for each in partitions]


def _point(committed: TopicPartition) -> SafePoint:
    if committed.offset < 0:
        return SafePoint(-1, -1)
    return decode_safe_point(committed.offset, committed.metadata)


def open_consumer(settings: KafkaSettings, topic: str, group: str, notice: Notice) -> KafkaConsumer:
    """Return a `Consumer` of `topic` as a member of `group`; `close` it when done.

    Args:
        notice: told, from within `poll`, of what passes by itself, and when it has passed.

    Raises:
        ConfigError: the client does not know or accept a setting.
    """
    return KafkaConsumer(settings, topic, group, notice)
