"""The client's messages -> our records."""

from __future__ import annotations

import logging
from operator import methodcaller
from typing import cast

from confluent_kafka import Message

from openmsi.kafka.seam import Fetched
from openmsi.protocol import Record

_log = logging.getLogger(__name__)

# Header names that are not UTF-8 make confluent_kafka return a broken list together with an
# exception. A plain call would let the exception out somewhere later; this one raises it at once.
_read_headers = methodcaller("headers")


def to_fetched(message: Message) -> Fetched:
    """The record in `message`, which must not be an error, and its place."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    timestamp_ms = max(message.timestamp()[1], 0)
    try:
        # A list of tuples, None without headers; null values are passed on as None.
        headers = cast("list[tuple[str, bytes]]", _read_headers(message) or [])
    except (SystemError, UnicodeDecodeError):
        _log.warning(
            "unreadable header names: topic=%s partition=%d offset=%d",
            message.topic(),
            partition,
            offset,
        )
        headers = []
    return Fetched(partition, offset, timestamp_ms, Record(message.key(), message.value(), headers))
