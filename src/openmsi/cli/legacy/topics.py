"""Heartbeats and log lines of a long-running program, as messages in topics of their own."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from openmsi.cli.legacy.console import Lines
from openmsi.errors import OpenMSIError
from openmsi.kafka import KafkaSettings, Producer, describe_topic, open_producer
from openmsi.protocol import Record

CLOSE_SECONDS = 5.0


class Place(NamedTuple):
    """Where messages go, under which key, and how many seconds lie between two."""

    settings: KafkaSettings
    topic: str
    key: str
    seconds: float


class Messages:
    """Puts a small message into a topic at once, at regular times, and at the end.

    It has a thread of its own: a broker that does not answer must not hold up the work that the
    messages tell of. What cannot be delivered is told once.

    Args:
        content: what to say now, as a JSON object; nothing if it is empty. Called in the thread.

    Raises:
        OpenMSIError: the topic is unknown or cannot be reached.
    """

    def __init__(self, place: Place, content: Callable[[], dict[str, Any]], lines: Lines) -> None:
        self._place = place
        self._content = content
        self._lines = lines
        self._on_their_way = 0
        self._told = False
        self._ending = threading.Event()
        topic = describe_topic(place.settings, place.topic)
        self._producer: Producer = open_producer(place.settings, topic, lambda _: None)
        self._thread = threading.Thread(target=self._run, name=place.topic, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say the last, and wait a little until it is there."""
        self._ending.set()
        self._thread.join(2 * CLOSE_SECONDS)

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._say()
                due = time.monotonic() + self._place.seconds
                while not self._ending.is_set() and (left := due - time.monotonic()) > 0:
                    self._poll(min(left, 0.2))
            self._say()
            end = time.monotonic() + CLOSE_SECONDS
            while self._on_their_way > 0 and time.monotonic() < end:
                self._poll(0.1)
            self._producer.close()
        except OpenMSIError as error:
            self._failed(error)
        if self._on_their_way:
            text = f"{self._on_their_way} messages did not reach topic {self._place.topic!r}"
            self._lines(text, logging.WARNING)

    def _say(self) -> None:
        content = self._content()
        if content:
            value = json.dumps(content).encode()
            record = Record(self._place.key.encode(), value, [])
            self._on_their_way += self._producer.produce(record, None)

    def _poll(self, seconds: float) -> None:
        for each in self._producer.poll(seconds):
            self._on_their_way -= 1
            if each.error is not None:
                self._failed(each.error)

    def _failed(self, error: OpenMSIError) -> None:
        if not self._told:
            self._told = True
            text = f"topic {self._place.topic!r} does not get its messages: {error}"
            self._lines(text, logging.WARNING)
