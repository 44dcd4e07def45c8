"""One version's content, read back from its records."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO

import msgspec

from openmsi.errors import RecordRejected
from openmsi.kafka.seam import ReadRecord
from openmsi.protocol import Chunk, Digest, VersionId, algorithm_of, decode, digest_of, new_hasher


class Place(msgspec.Struct, frozen=True):
    """Where a version lies: it has one partition, first and last offset included."""

    version: VersionId
    digest: Digest
    partition: int
    first_offset: int
    last_offset: int


class Unreadable(Exception):
    """The version is not whole in the topic; the argument says what is wrong."""


def digest_in_topic(read: ReadRecord, place: Place) -> Digest | str:
    """The digest of the version's content as the topic holds it now, or, as plain text, why
    there is none. Reads every record from its first to its last."""
    algorithm = algorithm_of(place.digest)
    hasher = new_hasher(algorithm)
    end = 0
    try:
        for chunk in _chunks(read, place):
            if chunk.start != end:
                return _digest_by_file(read, place, algorithm)
            hasher.update(chunk.data)
            end += len(chunk.data)
    except Unreadable as error:
        return str(error)
    return digest_of(hasher, algorithm)


def _chunks(read: ReadRecord, place: Place) -> Iterator[Chunk]:
    """The version's chunks in order, each once.

    Raises:
        Unreadable: a chunk is missing.
    """
    index = 0
    for offset in range(place.first_offset, place.last_offset + 1):
        fetched = read(place.partition, offset)
        if fetched is None:
            continue
        try:
            chunk = decode(fetched.record)
        except RecordRejected:
            continue
        if chunk.version != place.version or not isinstance(chunk, Chunk) or chunk.index < index:
            continue
        if chunk.index > index:
            break
        index += 1
        yield chunk
        if chunk.closing is not None:
            return
    raise Unreadable(f"its record with index {index} is not in the topic (any more)")


def _digest_by_file(read: ReadRecord, place: Place, algorithm: str) -> Digest | str:
    """For a version that wrote some bytes again: they count as they were written last."""
    file: IO[bytes]
    with tempfile.TemporaryFile() as file:
        try:
            for chunk in _chunks(read, place):
                file.seek(chunk.start)
                file.write(chunk.data)
        except Unreadable as error:
            return str(error)
        file.seek(0)
        hasher = new_hasher(algorithm)
        while data := file.read(2**20):
            hasher.update(data)
    return digest_of(hasher, algorithm)
