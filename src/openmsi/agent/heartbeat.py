"""Tells a topic how the agent is, so that a site sees all its agents in one place."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from openmsi.agent.part import Task
from openmsi.agent.status import AgentStatus
from openmsi.config import Heartbeat
from openmsi.events import Started, Waits
from openmsi.kafka import describe_topic, open_producer
from openmsi.kafka.seam import Producer
from openmsi.protocol import Record

PAUSE_SECONDS = 0.5
LAST_SECONDS = 2.0


def beat(task: Task, status: Callable[[], AgentStatus]) -> None:
    """Send the status as JSON, with the agent's name as the key: at once, every so many seconds,
    and a last time when the agent is to stop.

    While one was not acknowledged, no other is sent: nobody wants those of a time when the brokers
    were away.

    Raises:
        OpenMSIError: the topic is not there, or refused.
    """
    part = task.part
    assert isinstance(part, Heartbeat)
    topic = describe_topic(task.settings.sending, part.topic)
    producer = open_producer(task.settings.sending, topic, Waits(task.report).because)
    try:
        task.report(Started("", part.topic))
        due, waiting = 0.0, False
        while not task.stop():
            if not waiting and time.monotonic() >= due:
                due = time.monotonic() + part.seconds
                waiting = _send(producer, status())
            waiting = not _acknowledged(producer, PAUSE_SECONDS) and waiting
        if not waiting:
            _send(producer, status())
            _acknowledged(producer, LAST_SECONDS)
    finally:
        producer.close()


def _send(producer: Producer, status: AgentStatus) -> bool:
    record = Record(status.name.encode(), msgspec.json.encode(status), [])
    return producer.produce(record, None)


def _acknowledged(producer: Producer, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        for each in producer.poll(left):
            if each.error is not None:
                raise each.error
            return True
    return False
