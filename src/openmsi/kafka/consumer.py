"""Receiving records as a member of a consumer group: the real `Consumer`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaException, Message, TopicPartition

from openmsi.errors import KafkaFailure
from openmsi.kafka.conditions import Conditions
from openmsi.kafka.mapping import is_unreachable, mapped, to_error
from openmsi.kafka.records import to_fetched
from openmsi.kafka.seam import Fetched, Notice, Rebalanced
from openmsi.kafka.settings import KafkaSettings, consumer_config
from openmsi.protocol import SafePoint, decode_safe_point, encode_metadata

# Seconds to wait for the group's coordinator.
_TIMEOUT = 10.0
_COMMITTED_TIMEOUT = 5.0


class KafkaConsumer:
    """The real `Consumer`; `open_consumer` makes one."""

    def __init__(self, settings: KafkaSettings, topic: str, group: str, notice: Notice) -> None:
        self._topic = topic
        self._what = f"topic {topic!r}"
        self._group = f"group {group!r}"
        self._where = f"Kafka at {settings.bootstrap_servers}"
        self._conditions = Conditions(notice, self._where)
        self._listener: Rebalanced | None = None
        # Ours, but not started: what the group committed for them is not known yet.
        self._waiting: set[int] = set()
        self._started: set[int] = set()
        self._failed: BaseException | None = None
        config = {**consumer_config(settings, group), "error_cb": self._conditions.heard}
        with mapped("Kafka client"):
            self._client = Client(config)

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
        fetched = [to_fetched(each) for each in messages if self._sound(each)]
        if fetched:
            self._conditions.over()
        else:
            self._conditions.tell(self._probe)
        return fetched

    def _receive(self, max_records: int, timeout: float) -> list[Message]:
        # consume() waits for all that it may return: wait for the first with poll instead.
        with mapped(self._what):
            first = self._client.poll(timeout)
            if first is None:
                return []
            return (
                [first, *self._client.consume(max_records - 1, 0)] if max_records > 1 else [first]
            )

    def _sound(self, message: Message) -> bool:
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
        offsets = self._listener.assigned({each.partition: _point(each) for each in found})
        starts = [TopicPartition(self._topic, each, offsets[each]) for each in self._waiting]
        with mapped(self._what):
            self._client.incremental_assign(starts)
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
        self._waiting -= gone
        started = self._started & gone
        self._started -= started
        try:
            if started and self._listener is not None:
                tell(self._listener, frozenset(started))
        except BaseException as exception:  # noqa: BLE001 - raised again by poll and close
            self._failed = exception
        client.incremental_unassign(self._places(started))

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        """See `Consumer.commit`."""
        if not points:
            return
        offsets = [
            TopicPartition(self._topic, partition, point.offset, encode_metadata(point))
            for partition, point in points.items()
        ]
        with mapped(self._group):
            for each in self._client.commit(offsets=offsets, asynchronous=False):
                if each.error is not None:
                    raise to_error(each.error, self._group)
        self._conditions.over()

    def pause(self, partitions: Collection[int]) -> None:
        """See `Consumer.pause`."""
        with mapped(self._what):
            self._client.pause(self._places(self._started & set(partitions)))

    def resume(self, partitions: Collection[int]) -> None:
        """See `Consumer.resume`."""
        with mapped(self._what):
            self._client.resume(self._places(self._started & set(partitions)))

    def offsets(self, partition: int) -> tuple[int, int]:
        """See `Consumer.offsets`."""
        with mapped(self._what):
            found = self._client.get_watermark_offsets(
                TopicPartition(self._topic, partition), _TIMEOUT
            )
        if found is None:
            raise KafkaFailure(self._what, f"no answer within {_TIMEOUT:.0f} s", retriable=True)
        return found

    def close(self) -> None:
        """See `Consumer.close`. Raises what the listener raised, after all is closed."""
        self._client.close()
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
