"""Records on their way out: a producer that is replaced when it breaks, and what it did not
take yet."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from openmsi.errors import KafkaFailure, OpenMSIError, TopicRemade
from openmsi.events import Report, Waits
from openmsi.kafka.seam import Delivery, Notice, Producer
from openmsi.protocol import Record
from openmsi.send.formats import Encode, Item

OpenProducer = Callable[[Notice], Producer]
REOPEN_SECONDS = 2.0
SILENCE_SECONDS = 10.0
PAUSE_SECONDS = 0.1


class Outbox:
    """Sends in order, one record after the other.

    Args:
        open_producer: gives a producer; called again when one broke.
        report: hears when the broker is away, and when it is back.
        encode: makes the records.

    Raises:
        OpenMSIError: the first producer cannot be opened.
    """

    def __init__(self, open_producer: OpenProducer, report: Report, encode: Encode) -> None:
        self._open_producer = open_producer
        self._encode = encode
        self._waits = Waits(report)
        self._producer: Producer | None = open_producer(self._waits.because)
        self._open_due = 0.0
        self._backlog: deque[tuple[Record, object]] = deque()
        self._unanswered = 0
        self._heard = time.monotonic()
        self._silent = False

    @property
    def full(self) -> bool:
        """Is there something that the producer did not take yet?"""
        return bool(self._backlog)

    def send(self, item: Item, token: object) -> None:
        """Send the record of `item`; while `full`, it waits for its turn."""
        self._backlog.append((self._encode(item), token))
        self.push()

    def push(self) -> None:
        """Give the producer as much as it takes."""
        while self._producer is not None and self._backlog:
            if not self._producer.produce(*self._backlog[0]):
                return
            self._backlog.popleft()
            if self._unanswered == 0:
                self._heard = time.monotonic()
            self._unanswered += 1

    def poll(self, patience: float) -> list[Delivery]:
        """What became of records, waiting up to `patience` seconds for the first."""
        if self._producer is None:
            return []
        deliveries = self._producer.poll(patience)
        if deliveries:
            self._unanswered -= len(deliveries)
            self._heard = time.monotonic()
        self._tell_silence()
        return deliveries

    def _tell_silence(self) -> None:
        """Brokers may be there and still not acknowledge anything."""
        silent = self._unanswered > 0 and time.monotonic() - self._heard > SILENCE_SECONDS
        if silent and not self._silent:
            why = "a partition has no leader, or too few of its replicas are in sync, or it is slow"
            self._waits.because(KafkaFailure("the brokers acknowledge nothing", why))
        elif self._silent and not silent:
            self._waits.because(None)
        self._silent = silent

    def give_up(self) -> None:
        """The producer broke. What it holds, and what waits, must be sent again."""
        self._backlog.clear()
        self._unanswered = 0
        self.close()

    def ready(self) -> bool:
        """Is there a producer? Opens another one as soon as the broker lets us.

        Raises:
            OpenMSIError: there is no use in trying again.
        """
        if self._producer is not None:
            return True
        if time.monotonic() < self._open_due:
            time.sleep(PAUSE_SECONDS)
            return False
        try:
            self._producer = self._open_producer(self._waits.because)
        except OpenMSIError as error:
            if not error.retriable or isinstance(error, TopicRemade):
                raise
            self._open_due = time.monotonic() + REOPEN_SECONDS
            self._waits.because(error)
            return False
        self._waits.because(None)
        return True

    def close(self) -> None:
        if self._producer is not None:
            self._producer.close()
            self._producer = None
