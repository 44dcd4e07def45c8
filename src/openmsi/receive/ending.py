"""Where a topic ended when its partitions were assigned, for a receiver that stops there."""

from __future__ import annotations

import time
from collections.abc import Mapping

from openmsi.errors import OpenMSIError
from openmsi.kafka.seam import Consumer

QUIET_END_SECONDS, QUIET_ANSWERS = 5.0, 3


class TopicEnd:
    """Knows the ends of the owned partitions."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._ends: dict[int, int] = {}
        self._heard = time.monotonic()
        self._quiet_answers = 0

    def is_at(self, partition: int, end: int) -> None:
        self._ends[partition] = end
        self._heard = time.monotonic()

    def forget(self, partition: int) -> None:
        self._ends.pop(partition, None)

    def heard(self) -> None:
        """Records came."""
        self._heard = time.monotonic()
        self._quiet_answers = 0

    def reached(self, positions: Mapping[int, int]) -> bool:
        short = [each for each, end in self._ends.items() if positions.get(each, end) < end]
        return not short or self._is_quiet(short)

    def _is_quiet(self, short: list[int]) -> bool:
        """The end of a topic may be a record that is never shown to us, such as a transaction's
        marker: then nothing comes, again and again, although the broker answers."""
        now = time.monotonic()
        if now - self._heard < QUIET_END_SECONDS:
            return False
        self._heard = now
        try:
            for partition in short:
                self._consumer.offsets(partition)
        except OpenMSIError as error:
            if not error.retriable:
                raise
            self._quiet_answers = 0
            return False
        self._quiet_answers += 1
        return self._quiet_answers >= QUIET_ANSWERS
