"""Sending records: the real `Producer`."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import Producer as Client

from openmsi.errors import KafkaFailure, OpenMSIError
from openmsi.kafka.conditions import Conditions
from openmsi.kafka.mapping import mapped, to_error
from openmsi.kafka.seam import Delivery, Notice, TopicInfo
from openmsi.kafka.settings import KafkaSettings, producer_config
from openmsi.protocol import Record

_HASTE_SECONDS = 0.2
_HASTE_TRIES = 3
_EVENT_SECONDS = 0.1
_EVENT_TRIES = 10


class KafkaProducer:
    """The real `Producer`; `open_producer` makes one.

    After an error that leaves librdkafka's producer useless, every record that it holds and
    every later one comes back from `poll` with that error, and another producer has to be opened.
    """

    def __init__(self, settings: KafkaSettings, topic: TopicInfo, notice: Notice) -> None:
        self._topic = topic.name
        self._what = f"topic {topic.name!r}"
        self._conditions = Conditions(notice, f"Kafka at {settings.bootstrap_servers}")
        # Delivery callbacks run inside poll, in the caller's thread: a list is enough.
        self._delivered: list[Delivery] = []
        # The last offset acknowledged in each partition.
        self._last: dict[int, int] = {}
        config = {**producer_config(settings, topic), "error_cb": self._conditions.heard}
        with mapped("Kafka client"):
            self._client = Client(config)
        self._hasten()

    def _hasten(self) -> None:
        # librdkafka asks for its producer id whenever metadata arrive, else twice a second. The
        # first come from a bootstrap server, whose connection it then gives up; a second answer,
        # from a broker that it stays with, often saves the half second.
        for _ in range(_HASTE_TRIES):
            with suppress(KafkaException):
                if self._probe(_HASTE_SECONDS).orig_broker_id >= 0:
                    return

    def produce(self, record: Record, token: object) -> bool:
        """See `Producer.produce`. What can never be sent is taken too, and fails in `poll`."""
        try:
            self._client.produce(
                self._topic,
                record.value,
                record.key,
                on_delivery=partial(self._done, token),
                headers=record.headers,  # type: ignore[arg-type]
            )
        except BufferError:
            return False
        except KafkaException as exception:
            self._hear_why(exception.args[0])
            self._delivered.append(Delivery(token, -1, -1, self._error(exception.args[0])))
        return True

    def _hear_why(self, refusal: KafkaError) -> None:
        # After a fatal error librdkafka refuses records with a bare "fatal"; the reason is an
        # event, which may not have been served before.
        for _ in range(_EVENT_TRIES):
            if refusal.code() != KafkaError._FATAL or self._conditions.fatal:
                return
            self._serve(_EVENT_SECONDS)

    def _done(self, token: object, error: KafkaError | None, message: Message) -> None:
        # Keep nothing of `message`: it holds a copy of the value.
        if error is not None:
            self._delivered.append(Delivery(token, -1, -1, self._error(error)))
            return
        partition, offset = message.partition(), message.offset()
        if partition is None or offset is None or offset <= self._last.get(partition, -1):
            self._delivered.append(Delivery(token, -1, -1, self._unplaced(partition, offset)))
            return
        self._last[partition] = offset
        self._delivered.append(Delivery(token, partition, offset, None))

    def _error(self, error: KafkaError) -> OpenMSIError:
        # A fatal error is the reason for all that is purged or refused after it.
        return self._conditions.fatal or to_error(error, self._what)

    def _unplaced(self, partition: int | None, offset: int | None) -> OpenMSIError:
        # After a lost answer a broker may say "duplicate": the record is there, but librdkafka
        # makes its offset up. It also goes back when the topic was deleted and made again.
        why = f"acknowledged in partition {partition} at the impossible offset {offset}"
        return KafkaFailure(self._what, why, "It will be sent again.", retriable=True)

    def poll(self, timeout: float) -> list[Delivery]:
        """See `Producer.poll`. While all brokers are away it may take a second longer.

        Raises:
            NotAuthorized: the login is refused. Nothing is given up: poll again to wait on.
        """
        # librdkafka returns as soon as it has anything for us, be it a log line.
        self._serve(0 if self._delivered else timeout)
        if not self._delivered:
            self._conditions.tell(self._probe)
            return []
        delivered, self._delivered = self._delivered, []
        if self._conditions.doubtful and any(each.error is None for each in delivered):
            self._conditions.over()
        return delivered

    def _serve(self, timeout: float) -> None:
        try:
            self._client.poll(timeout)
        except KafkaException as exception:
            # confluent_kafka raises fatal errors here instead of calling `error_cb`.
            if not exception.args[0].fatal():
                raise to_error(exception.args[0], self._what) from exception
            self._conditions.heard(exception.args[0])
            self._client.purge()
            self._client.poll(0)

    def _probe(self, timeout: float) -> Any:
        return self._client.list_topics(self._topic, timeout)

    def close(self) -> None:
        """See `Producer.close`. Does not wait for brokers."""
        self._client.purge()
        self._serve(0)
        # The last reference: librdkafka ends its threads here.
        del self._client


def open_producer(settings: KafkaSettings, topic: TopicInfo, notice: Notice) -> KafkaProducer:
    """Return a `Producer` for `topic`; `close` it when done.

    Args:
        notice: told, from within `poll`, that all brokers are away, and that they are back.

    Raises:
        ConfigError: the client does not know or accept a setting.
    """
    return KafkaProducer(settings, topic, notice)
