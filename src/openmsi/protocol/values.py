"""What the records of a topic mean. Every codec decodes to these, and to valid ones only; none
encodes one that breaks the format.

`start` and `size` are bytes in a file; `index` counts chunks from 0; `mtime_ns` is nanoseconds
since 1970-01-01 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NewType

import msgspec

from openmsi.protocol.digests import Digest
from openmsi.protocol.paths import Path

VersionId = NewType("VersionId", str)

MAX_SIZE = 2**60
MAX_CHUNKS = 2**40
# The default chunk: with key and headers it fits a topic with Kafka's default limit for a record.
DEFAULT_CHUNK_SIZE = 1_000_000
KAFKA_DEFAULT_MAX_MESSAGE_BYTES = 1_048_588


class Record(msgspec.Struct, frozen=True):
    """One record as Kafka carries it, without its place in the topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Opening(msgspec.Struct, frozen=True):
    """What a version's first record tells. `size` is None while the file is still growing."""

    size: int | None = None
    mtime_ns: int | None = None
    source: str = ""
    attributes: dict[str, str] = {}


class Closing(msgspec.Struct, frozen=True):
    """What a version's last record tells."""

    size: int
    chunks: int
    digest: Digest
    # Of a file that grew while it was sent, and only if the opening has none.
    mtime_ns: int | None = None


class Chunk(msgspec.Struct, frozen=True):
    """Contiguous bytes of one version of one path."""

    path: Path
    version: VersionId
    index: int
    start: int
    data: bytes
    opening: Opening | None = None
    closing: Closing | None = None


class Abort(msgspec.Struct, frozen=True):
    """The version will not be finished."""

    path: Path
    version: VersionId
    reason: str


class Manifest(msgspec.Struct, frozen=True):
    """One complete version: what it is and where it lies in the topic.

    A version of the older format may lie in several partitions: then `partition` and both
    offsets are -1. `timestamp_ms` is Kafka's time of its newest record, in milliseconds since
    1970-01-01 UTC, 0 if unknown; only where there is no order of offsets does it mean anything.
    """

    path: Path
    version: VersionId
    size: int
    mtime_ns: int | None
    chunks: int
    digest: Digest
    topic: str
    partition: int
    first_offset: int
    last_offset: int
    source: str = ""
    attributes: dict[str, str] = {}
    timestamp_ms: int = 0


# Partition and offsets of a version whose records lie in several partitions.
SEVERAL = -1


def only_place(places: Mapping[int, tuple[int, int]]) -> tuple[int, int, int]:
    """Partition, first and last offset of a version that has records from a first to a last
    offset in each of these partitions; SEVERAL each unless there is exactly one."""
    if len(places) != 1:
        return SEVERAL, SEVERAL, SEVERAL
    ((partition, (first, last)),) = places.items()
    return partition, first, last
