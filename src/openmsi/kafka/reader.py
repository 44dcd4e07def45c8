"""Reading single records by their offset, outside any consumer group."""

from __future__ import annotations

import time

from confluent_kafka import Consumer as Client
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from openmsi.kafka.conditions import Trouble
from openmsi.kafka.lookup import watermarks
from openmsi.kafka.mapping import is_unreachable, mapped, to_error
from openmsi.kafka.records import to_fetched
from openmsi.kafka.seam import Fetched
from openmsi.kafka.settings import KafkaSettings, reader_config

# Seconds for a record to come, and for the first answer of a broker.
_TIMEOUT = 10.0
_CONNECT_TIMEOUT = 4.5
# So near ahead that reading on is cheaper than fetching anew.
_NEAR = 100


class Reader:
    """Stays at the partition it read last, so that reading on costs nothing extra."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._where = f"Kafka at {settings.bootstrap_servers}"
        self._trouble = Trouble()
        with mapped("Kafka client"):
            self._client = Client({**reader_config(settings), "error_cb": self._trouble.heard})
        self._at: tuple[str, int] | None = None
        self._next = 0
        self._end = 0

    def read(self, topic: str, partition: int, offset: int) -> Fetched | None:
        """The record at `offset`; None when it is not there.

        Raises:
            TopicError: there is no such topic or partition.
            BrokerUnreachable: no answer within about 10 s.
        """
        self._trouble.forget()
        try:
            if not self._go(topic, partition, offset):
                return None
            found = self._seek(offset)
        except KafkaException as exception:
            self._at = None
            error: KafkaError = exception.args[0]
            if is_unreachable(error):
                self._client.poll(0)  # hears the reason, if there is one
                error = self._trouble.blamed_for(error)
            raise to_error(error, self._what(error, topic)) from exception
        return None if found is None or found.offset() != offset else to_fetched(found)

    def _what(self, error: KafkaError, topic: str) -> str:
        return self._where if is_unreachable(error) else f"topic {topic!r}"

    def _go(self, topic: str, partition: int, offset: int) -> bool:
        """Be at or shortly before `offset`; False when it is not in the partition."""
        here = self._at == (topic, partition)
        if not here or offset >= self._end:
            first, self._end = watermarks(self._client, topic, partition, _CONNECT_TIMEOUT)
            if not first <= offset < self._end:
                return False
        if not here or not self._next <= offset < self._next + _NEAR:
            self._client.assign([TopicPartition(topic, partition, offset)])
            self._at, self._next = (topic, partition), offset
        return True

    def _seek(self, offset: int) -> Message | None:
        deadline = time.monotonic() + _TIMEOUT
        while time.monotonic() < deadline:
            message = self._client.poll(0.2)
            if message is None:
                continue
            error = message.error()
            if error is None:
                found = message.offset()
                assert found is not None
                self._next = found + 1
                if found >= offset:
                    return message
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                self._at = None  # retention took it between the two questions
                return None
            elif not is_unreachable(error):
                raise KafkaException(error)
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "no record within 10 s"))

    def close(self) -> None:
        self._client.close()
