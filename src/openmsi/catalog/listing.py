"""Which versions a topic holds, by reading it from beginning to end without keeping anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from openmsi.errors import RecordRejected
from openmsi.kafka.seam import Consumer, Fetched
from openmsi.protocol import (
    Abort,
    Chunk,
    LegacyChunk,
    Manifest,
    Opening,
    Path,
    SafePoint,
    Spans,
    VersionId,
    decode,
    only_place,
)


def current_versions(consumer: Consumer, topic: str) -> dict[Path, Manifest]:
    """The current version of each path: the complete one whose last record has the highest
    offset. `consumer` is subscribed here and must be the only member of its group; nothing is
    committed.

    Raises:
        OpenMSIError: as `Consumer.poll`.
    """
    listing = _Listing(consumer, topic)
    consumer.subscribe(listing)
    quiet = 0
    # Nothing may come although the end is not reached: the last may be records that are never
    # shown, such as a transaction's marker.
    while not listing.complete() and quiet < QUIET_POLLS:
        fetched = consumer.poll(200, 0.2)
        quiet = 0 if fetched or not listing.assigned_once else quiet + 1
        for each in fetched:
            listing.take(each)
    if quiet:
        listing.ask_again()
    return listing.current


QUIET_POLLS = 75  # of 0.2 s each


@dataclass(slots=True)
class _Spread:
    """What was seen of a version in the older format."""

    spans: Spans = field(default_factory=Spans)
    end: int | None = None
    timestamp_ms: int = 0
    places: dict[int, tuple[int, int]] = field(default_factory=dict)  # first and last offsets


class _Listing:
    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._topic = topic
        self._ends: dict[int, int] | None = None
        self._positions: dict[int, int] = {}
        self._open: dict[VersionId, tuple[int, Opening]] = {}  # with the first offset
        self._spread: dict[VersionId, _Spread] = {}
        self.current: dict[Path, Manifest] = {}

    def assigned(self, points: Mapping[int, SafePoint]) -> Mapping[int, int]:
        self._ends = self._ends or {}
        for partition in points:
            low, high = self._consumer.offsets(partition)
            self._positions[partition] = low
            self._ends[partition] = high
        return {partition: self._positions[partition] for partition in points}

    def revoked(self, partitions: Collection[int]) -> None:
        self.lost(partitions)

    def lost(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            del self._positions[partition]

    @property
    def assigned_once(self) -> bool:
        return self._ends is not None

    def ask_again(self) -> None:
        """Raises OpenMSIError when it was quiet because the broker does not answer."""
        for partition in self._positions:
            self._consumer.offsets(partition)

    def complete(self) -> bool:
        if self._ends is None:
            return False
        return all(at >= self._ends[partition] for partition, at in self._positions.items())

    def take(self, fetched: Fetched) -> None:
        self._positions[fetched.partition] = fetched.offset + 1
        try:
            item = decode(fetched.record)
        except RecordRejected:
            return
        if isinstance(item, LegacyChunk):
            self._take_legacy(fetched, item)
            return
        if isinstance(item, Abort):
            self._open.pop(item.version, None)
            return
        if item.opening is not None:
            self._open.setdefault(item.version, (fetched.offset, item.opening))
        if item.closing is not None and item.version in self._open:
            first_offset, opening = self._open.pop(item.version)
            self.current[item.path] = self._manifest(item, opening, first_offset, fetched)

    def _take_legacy(self, fetched: Fetched, chunk: LegacyChunk) -> None:
        """Its records are in no order. Which content is newer, Kafka's timestamps tell."""
        found = self._spread.setdefault(chunk.version, _Spread())
        found.timestamp_ms = max(found.timestamp_ms, fetched.timestamp_ms)
        first, _ = found.places.get(fetched.partition, (fetched.offset, 0))
        found.places[fetched.partition] = (first, fetched.offset)
        end = chunk.start + len(chunk.data)
        found.spans.add(chunk.start, end)
        if chunk.index == chunk.chunks - 1:
            found.end = end
        if found.end is None or not found.spans.reach(found.end):
            return
        del self._spread[chunk.version]
        known = self.current.get(chunk.path)
        if known is not None and known.timestamp_ms > found.timestamp_ms:
            return
        partition, first_offset, last_offset = only_place(found.places)
        self.current[chunk.path] = Manifest(
            path=chunk.path,
            version=chunk.version,
            size=found.end,
            mtime_ns=chunk.mtime_ns,
            chunks=chunk.chunks,
            digest=chunk.digest,
            topic=self._topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            timestamp_ms=found.timestamp_ms,
        )

    def _manifest(
        self, last: Chunk, opening: Opening, first_offset: int, fetched: Fetched
    ) -> Manifest:
        """Of the version whose last record, `last`, was just fetched."""
        closing = last.closing
        assert closing is not None
        return Manifest(
            path=last.path,
            version=last.version,
            size=closing.size,
            mtime_ns=closing.mtime_ns if opening.mtime_ns is None else opening.mtime_ns,
            chunks=closing.chunks,
            digest=closing.digest,
            topic=self._topic,
            partition=fetched.partition,
            first_offset=first_offset,
            last_offset=fetched.offset,
            source=opening.source,
            attributes=opening.attributes,
            timestamp_ms=fetched.timestamp_ms,
        )
