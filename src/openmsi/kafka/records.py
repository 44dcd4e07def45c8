"""The client's messages <-> our records."""

from __future__ import annotations

import logging
from typing import cast

from confluent_kafka import Message

from openmsi.kafka.seam import Fetched
from openmsi.protocol import Record

_log = logging.getLogger(__name__)


def to_fetched(message: Message) -> Fetched:
    """The record in `message`, which must not be an error, and its place."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    kind_and_time = message.timestamp()
    record = Record(message.key(), message.value(), _headers(message))
    return Fetched(partition, offset, max(kind_and_time[1], 0), record)


def _headers(message: Message) -> list[tuple[str, bytes]]:
    try:
        # A list of tuples, None without headers; null values are passed on as None.
        return cast("list[tuple[str, bytes]]", message.headers() or [])
    except (SystemError, UnicodeDecodeError):
        # confluent_kafka cannot show header names that are not UTF-8. Ours always are.
        _log.warning(
            "unreadable header names topic=%s partition=%s offset=%s",
            message.topic(),
            message.partition(),
            message.offset(),
        )
        return []
