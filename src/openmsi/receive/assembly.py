"""Versions being rebuilt from records: a state machine without IO.

Events are method calls; each returns the effects to perform, in order. The loop around it
(receiver.py) performs them and brings back what came of it.

    (unknown) ──index 0──> OPEN ──last record, digest right──> COMPLETE ──published──> finished
                            │                                      │
                            └──gap, bad digest, abort, ...─────────┴──rejected──> failed

The commit rule: a partition may commit its safe offset, the first offset of the oldest version
that is OPEN or COMPLETE, or its position when there is none.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from openmsi.errors import RecordRejected
from openmsi.events import DeadLetter, VersionAborted, VersionStale
from openmsi.protocol import (
    Abort,
    Chunk,
    Closing,
    Digest,
    Hasher,
    Manifest,
    Opening,
    Path,
    SafePoint,
    VersionId,
    algorithm_of,
    digest_of,
    new_hasher,
)

# An attacker may open versions without end; a sender has a few dozen open at most.
MAX_OPEN_VERSIONS = 10_000
MAX_FAILED_REMEMBERED = 10_000


class Write(msgspec.Struct, frozen=True):
    """Write `data` at byte `start` of the version's spool file."""

    version: VersionId
    start: int
    data: bytes


class Verify(msgspec.Struct, frozen=True):
    """Read the version's spool file and bring its digest: it was not written in one go."""

    version: VersionId
    algorithm: str


class Publish(msgspec.Struct, frozen=True):
    """The version is whole and its digest right: give it its name."""

    manifest: Manifest


class Discard(msgspec.Struct, frozen=True):
    """Delete what was spooled of the version."""

    version: VersionId


class Tell(msgspec.Struct, frozen=True):
    """Report this event; a dead letter is also kept."""

    event: DeadLetter | VersionAborted | VersionStale


Effect = Write | Verify | Publish | Discard | Tell


class Saved(msgspec.Struct, frozen=True):
    """An open version as the journal keeps it: exactly what its durable spool file holds."""

    version: VersionId
    path: Path
    partition: int
    first_offset: int
    last_offset: int
    next_index: int
    extent: int
    opening: Opening


@dataclass(slots=True)
class _Assembly:
    version: VersionId
    path: Path
    partition: int
    first_offset: int
    last_offset: int
    opening: Opening
    touched: float
    next_index: int = 0
    extent: int = 0  # bytes from the start of the file to the end of the furthest chunk
    # None once the digest can no longer be had by reading along.
    hasher: Hasher | None = None
    closing: Closing | None = None
    stale: bool = False


class Assembler:
    """All open versions of the assigned partitions of one topic.

    Args:
        topic: its name, for manifests and dead letters.
        finished: was this version published before? Asked once per new version.
    """

    def __init__(self, topic: str, finished: Callable[[VersionId], bool]) -> None:
        self._topic = topic
        self._finished = finished
        self._open: dict[VersionId, _Assembly] = {}
        self._failed: OrderedDict[VersionId, None] = OrderedDict()
        self._position: dict[int, int] = {}
        self._handled: dict[int, SafePoint] = {}

    # -- partitions come and go ------------------------------------------------------------

    def assigned(
        self, partition: int, start: int, handled: SafePoint, saved: Iterable[Saved], now: float
    ) -> None:
        """`partition` is read from `start` on. Records before `handled.position` were handled
        by somebody, except those of the versions in `handled.open`. The versions in `saved`
        go on from what was spooled of them."""
        self._position[partition] = start
        self._handled[partition] = handled
        for each in saved:
            self._open[each.version] = _Assembly(
                each.version,
                each.path,
                partition,
                each.first_offset,
                each.last_offset,
                each.opening,
                now,
                each.next_index,
                each.extent,
            )

    def forget(self, partition: int) -> list[VersionId]:
        """`partition` is somebody else's. Returns its open versions; their spool files stay."""
        self._position.pop(partition, None)
        self._handled.pop(partition, None)
        gone = [each.version for each in self._open.values() if each.partition == partition]
        for version in gone:
            del self._open[version]
        return gone

    def position(self, partition: int) -> int | None:
        """The offset of the next record of an owned partition; None of any other."""
        return self._position.get(partition)

    # -- records ---------------------------------------------------------------------------

    def record(
        self, partition: int, offset: int, item: Chunk | Abort | RecordRejected, now: float
    ) -> list[Effect]:
        """The next record of an owned partition, decoded, or why it could not be. `now` is
        monotonic seconds."""
        self._position[partition] = offset + 1
        handled = self._handled[partition]
        if offset < handled.position and (
            isinstance(item, RecordRejected) or item.version not in handled.open
        ):
            return []
        if isinstance(item, RecordRejected):
            return [Tell(self._letter(partition, offset, item.reason, item.detail))]
        known = self._open.get(item.version)
        if known is not None and known.closing is not None:
            return []  # it is whole, and only waits to be published
        if isinstance(item, Abort):
            return self._aborted(partition, item)
        if known is not None:
            return self._continue(known, partition, offset, item, now)
        if item.version in self._failed or self._finished(item.version):
            return []
        if item.opening is None:
            self._remember_failed(item.version)
            detail = f"the first record seen of it has index {item.index}: its beginning is gone"
            return [Tell(self._letter(partition, offset, "no-beginning", detail, item))]
        return self._begin(partition, offset, item, item.opening, now)

    def _begin(
        self, partition: int, offset: int, chunk: Chunk, opening: Opening, now: float
    ) -> list[Effect]:
        effects: list[Effect] = []
        if len(self._open) >= MAX_OPEN_VERSIONS:
            oldest = next((each for each in self._open.values() if each.closing is None), None)
            if oldest is not None:
                detail = f"over {MAX_OPEN_VERSIONS} open versions"
                effects = self._fail(oldest, "too-many-open", detail)
        assembly = _Assembly(
            chunk.version, chunk.path, partition, offset, offset, opening, now, hasher=new_hasher()
        )
        self._open[chunk.version] = assembly
        return effects + self._add(assembly, offset, chunk)

    def _continue(
        self, assembly: _Assembly, partition: int, offset: int, chunk: Chunk, now: float
    ) -> list[Effect]:
        assembly.touched, assembly.stale = now, False
        if chunk.index < assembly.next_index:
            return []  # repeated by a sender that was restarted
        if chunk.path != assembly.path or partition != assembly.partition:
            return self._fail(assembly, "mixed-up", "its records differ in path or partition")
        if chunk.index > assembly.next_index:
            missing = f"index {assembly.next_index} is missing before index {chunk.index}"
            return self._fail(assembly, "gap", missing)
        return self._add(assembly, offset, chunk)

    def _add(self, assembly: _Assembly, offset: int, chunk: Chunk) -> list[Effect]:
        end = chunk.start + len(chunk.data)
        size = assembly.opening.size
        if chunk.start > assembly.extent:
            hole = f"index {chunk.index} starts at {chunk.start}, after {assembly.extent}"
            return self._fail(assembly, "gap", hole)
        if size is not None and end > size:
            return self._fail(assembly, "bad-size", f"index {chunk.index} ends after {size}")
        if chunk.start < assembly.extent:
            assembly.hasher = None
        if assembly.hasher is not None:
            assembly.hasher.update(chunk.data)
        assembly.next_index = chunk.index + 1
        assembly.last_offset = offset
        assembly.extent = max(assembly.extent, end)
        assembly.closing = chunk.closing
        effects: list[Effect] = [Write(chunk.version, chunk.start, chunk.data)]
        if chunk.closing is not None:
            effects += self._close(assembly, chunk.closing)
        return effects

    def _close(self, assembly: _Assembly, closing: Closing) -> list[Effect]:
        if assembly.extent != closing.size or assembly.opening.size not in (None, closing.size):
            detail = f"it has {assembly.extent} bytes, its last record says {closing.size}"
            return self._fail(assembly, "bad-size", detail)
        algorithm = algorithm_of(closing.digest)
        if assembly.hasher is None or algorithm != "blake3":
            return [Verify(assembly.version, algorithm)]
        return self.verified(assembly.version, digest_of(assembly.hasher))

    def _aborted(self, partition: int, abort: Abort) -> list[Effect]:
        assembly = self._open.get(abort.version)
        if assembly is None:
            return []
        if abort.path != assembly.path or partition != assembly.partition:
            return []  # somebody else's idea of an abort
        del self._open[abort.version]
        self._remember_failed(abort.version)
        told = VersionAborted(assembly.path, abort.version, abort.reason)
        return [Discard(abort.version), Tell(told)]

    # -- what came of the effects ----------------------------------------------------------

    def verified(self, version: VersionId, digest: Digest) -> list[Effect]:
        """The whole content of a version has this digest."""
        assembly = self._open[version]
        closing = assembly.closing
        assert closing is not None
        if digest != closing.digest:
            detail = f"the content has {digest}, its last record says {closing.digest}"
            return self._fail(assembly, "bad-digest", detail)
        opening = assembly.opening
        manifest = Manifest(
            path=assembly.path,
            version=version,
            size=closing.size,
            mtime_ns=closing.mtime_ns if opening.mtime_ns is None else opening.mtime_ns,
            chunks=closing.chunks,
            digest=digest,
            topic=self._topic,
            partition=assembly.partition,
            first_offset=assembly.first_offset,
            last_offset=assembly.last_offset,
            source=opening.source,
            attributes=opening.attributes,
        )
        return [Publish(manifest)]

    def published(self, version: VersionId) -> None:
        """The version lies at its destination, durably."""
        del self._open[version]

    def rejected(self, version: VersionId, reason: str, detail: str) -> list[Effect]:
        """The version cannot be written: a directory has its name, for example."""
        return self._fail(self._open[version], reason, detail)

    def _fail(self, assembly: _Assembly, reason: str, detail: str) -> list[Effect]:
        del self._open[assembly.version]
        self._remember_failed(assembly.version)
        letter = DeadLetter(
            self._topic,
            assembly.partition,
            assembly.first_offset,
            self._position[assembly.partition] - 1,
            reason,
            detail,
            assembly.path,
            assembly.version,
        )
        return [Discard(assembly.version), Tell(letter)]

    def _remember_failed(self, version: VersionId) -> None:
        self._failed[version] = None
        if len(self._failed) > MAX_FAILED_REMEMBERED:
            self._failed.popitem(last=False)

    def _letter(
        self, partition: int, offset: int, reason: str, detail: str, item: Chunk | None = None
    ) -> DeadLetter:
        path, version = (item.path, item.version) if item else ("", "")
        return DeadLetter(self._topic, partition, offset, offset, reason, detail, path, version)

    # -- checkpoints -----------------------------------------------------------------------

    def stale(self, now: float, stale_after: float) -> list[Effect]:
        """Versions without news for `stale_after` seconds stop holding back the safe offset."""
        effects: list[Effect] = []
        for each in self._open.values():
            if not each.stale and each.closing is None and now - each.touched > stale_after:
                each.stale = True
                told = VersionStale(each.path, each.version, each.partition, each.first_offset)
                effects.append(Tell(told))
        return effects

    def safe_points(self) -> dict[int, SafePoint]:
        """What each partition may commit now."""
        open_ids: dict[int, set[VersionId]] = {each: set() for each in self._position}
        safe = dict(self._position)
        for each in self._open.values():
            open_ids[each.partition].add(each.version)
            if not each.stale:
                safe[each.partition] = min(safe[each.partition], each.first_offset)
        points = {}
        for partition, position in self._position.items():
            handled = self._handled[partition]
            # While records are read again that were handled before, that knowledge stays.
            if position < handled.position:
                position = handled.position
                open_ids[partition] |= handled.open
            points[partition] = SafePoint(safe[partition], position, frozenset(open_ids[partition]))
        return points

    def saved(self) -> list[Saved]:
        """The open versions, as the journal keeps them once the spool is durable."""
        return [
            Saved(
                each.version,
                each.path,
                each.partition,
                each.first_offset,
                each.last_offset,
                each.next_index,
                each.extent,
                each.opening,
            )
            for each in self._open.values()
            if each.closing is None
        ]

    def positions(self) -> dict[int, int]:
        """The offset of the next record of each owned partition."""
        return dict(self._position)

    def open_count(self) -> int:
        return len(self._open)

    def incomplete(self) -> list[tuple[Path, VersionId]]:
        """Path and version of what is still open."""
        return [(each.path, each.version) for each in self._open.values()]
