"""Versions being rebuilt from records: a state machine without IO.

Events are method calls; each returns the effects to perform, in order. The loop around it
(receiver.py) performs them and brings back what came of it.

    (unknown) ──first record──> OPEN ──all bytes, digest right──> COMPLETE ──published──> finished
                                  │                                  │
                                  └──gap, bad digest, abort, ...─────┴──rejected──> failed

The commit rule: a partition may commit its safe offset, the first offset it has of the oldest
version that is OPEN or COMPLETE, or its position when there is none. A version of the older
format has records in several partitions, and holds back each of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from openmsi.errors import RecordRejected
from openmsi.events import DeadLetter, Notice, VersionAborted, VersionStale
from openmsi.protocol import (
    Abort,
    Chunk,
    Digest,
    LegacyChunk,
    Manifest,
    Path,
    SafePoint,
    VersionId,
    algorithm_of,
    only_place,
)
from openmsi.receive.progress import Broken, InOrder, SavedInOrder, SavedSpread, Spread

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

    event: DeadLetter | VersionAborted | VersionStale | Notice


Effect = Write | Verify | Publish | Discard | Tell


class Saved(msgspec.Struct, frozen=True):
    """An open version as the journal keeps it, for one of the partitions it has records in."""

    version: VersionId
    path: Path
    partition: int
    first_offset: int
    last_offset: int
    timestamp_ms: int
    progress: SavedInOrder | SavedSpread


@dataclass(slots=True)
class _Assembly:
    version: VersionId
    path: Path
    progress: InOrder | Spread
    # The partitions with records of it that we own: first and last offset of these records.
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    touched: float = 0.0  # monotonic seconds
    timestamp_ms: int = 0  # of its newest record
    stale: bool = False
    # A newer content of its path was published. This one may still go on, and so still holds back
    # the safe offset, but nobody misses it.
    superseded: bool = False

    def seen(self, partition: int, offset: int, timestamp_ms: int) -> None:
        first, _ = self.places.get(partition, (offset, offset))
        self.places[partition] = (first, offset)
        if timestamp_ms > self.timestamp_ms:
            self.timestamp_ms, self.superseded = timestamp_ms, False


class Current(NamedTuple):
    """The version of a path that was published last, and its `Manifest.timestamp_ms`."""

    version: VersionId
    timestamp_ms: int


class Published(Protocol):
    """What was published before."""

    def finished(self, version: VersionId) -> bool:
        """Was this version published?"""
        ...

    def current(self, path: Path) -> Current | None:
        """What of `path` was published last."""
        ...


class Assembler:
    """All open versions of the assigned partitions of one topic.

    Args:
        topic: its name, for manifests and dead letters.
        before: asked once per new version.
    """

    def __init__(self, topic: str, before: Published) -> None:
        self._topic = topic
        self._before = before
        self._open: dict[VersionId, _Assembly] = {}
        self._failed: OrderedDict[VersionId, bool] = OrderedDict()  # with: for good?
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
            known = self._open.get(each.version)
            if known is None:
                known = _Assembly(each.version, each.path, each.progress.resumed(), touched=now)
                self._open[each.version] = known
            known.timestamp_ms = max(known.timestamp_ms, each.timestamp_ms)
            known.superseded = self._is_older(known)
            known.places[partition] = (each.first_offset, each.last_offset)

    def can_resume(self, saved: Saved) -> bool:
        """Is nothing lost by going on with this one? It is if the version was begun anew, from
        the records of another partition."""
        known = self._open.get(saved.version)
        if known is None or isinstance(saved.progress, SavedInOrder):
            return True
        assert isinstance(known.progress, Spread)
        return all(known.progress.spans.cover(*span) for span in saved.progress.spans)

    def forget(self, partition: int) -> list[VersionId]:
        """`partition` is somebody else's. Returns the versions that were open in it alone; their
        spool files stay. What other partitions of ours have of a version still counts."""
        self._position.pop(partition, None)
        self._handled.pop(partition, None)
        held = [each for each in self._open.values() if partition in each.places]
        for each in held:
            del each.places[partition]
        gone = [each.version for each in held if not each.places]
        for version in gone:
            del self._open[version]
        return gone

    def position(self, partition: int) -> int | None:
        """The offset of the next record of an owned partition; None of any other."""
        return self._position.get(partition)

    # -- records ---------------------------------------------------------------------------

    def record(
        self,
        partition: int,
        offset: int,
        item: Chunk | LegacyChunk | Abort | RecordRejected,
        now: float,
        timestamp_ms: int = 0,
    ) -> list[Effect]:
        """The next record of an owned partition, decoded, or why it could not be. `now` is
        monotonic seconds, `timestamp_ms` Kafka's time of the record."""
        self._position[partition] = offset + 1
        handled = self._handled[partition]
        if offset < handled.position and (
            isinstance(item, RecordRejected) or item.version not in handled.open
        ):
            return []
        if isinstance(item, RecordRejected):
            return [Tell(self._letter(partition, offset, item.reason, item.detail))]
        known = self._open.get(item.version)
        if known is not None and known.progress.complete:
            return []  # it is whole, and only waits to be published
        if isinstance(item, Abort):
            return self._aborted(partition, item)
        effects: list[Effect] = []
        if known is None:
            if self._is_done_with(item):
                return []
            if isinstance(item, Chunk) and item.opening is None:
                return self._without_beginning(partition, offset, item)
            effects, known = self._begin(item)
        known.touched, known.stale = now, False
        if isinstance(known.progress, Spread):
            known.seen(partition, offset, timestamp_ms)
        if known.progress.has(item):
            return effects
        if isinstance(known.progress, InOrder):
            if known.places and (item.path != known.path or partition not in known.places):
                return self._fail(known, "mixed-up", "its records differ in path or partition")
            known.seen(partition, offset, timestamp_ms)
        return effects + self._add(known, item)

    def _is_done_with(self, chunk: Chunk | LegacyChunk) -> bool:
        if isinstance(chunk, Chunk):
            # One whose beginning was gone may be sent again as a whole.
            failed = self._failed.get(chunk.version)
            again = failed is None or (not failed and chunk.opening is not None)
            return not again or self._before.finished(chunk.version)
        # Without ids of its own, a content that comes back after another is the same version.
        current = self._before.current(chunk.path)
        return current is not None and current.version == chunk.version

    def _without_beginning(self, partition: int, offset: int, chunk: Chunk) -> list[Effect]:
        self._remember_failed(chunk.version, for_good=False)
        detail = f"the first record seen of it has index {chunk.index}: its beginning is gone"
        letter = self._letter(partition, offset, "no-beginning", detail)
        return [Tell(replace(letter, path=chunk.path, version=chunk.version))]

    def _begin(self, chunk: Chunk | LegacyChunk) -> tuple[list[Effect], _Assembly]:
        effects: list[Effect] = []
        if len(self._open) >= MAX_OPEN_VERSIONS:
            oldest = next(
                (each for each in self._open.values() if not each.progress.complete), None
            )
            if oldest is not None:
                detail = f"over {MAX_OPEN_VERSIONS} open versions"
                effects = self._fail(oldest, "too-many-open", detail)
        if isinstance(chunk, LegacyChunk):
            begun = _Assembly(chunk.version, chunk.path, Spread(chunk.digest, chunk.chunks))
        else:
            assert chunk.opening is not None
            begun = _Assembly(chunk.version, chunk.path, InOrder.begun(chunk.opening))
        self._open[chunk.version] = begun
        return effects, begun

    def _add(self, known: _Assembly, chunk: Chunk | LegacyChunk) -> list[Effect]:
        try:
            known.progress.add(chunk)
        except Broken as broken:
            return self._fail(known, *broken.args)
        effects: list[Effect] = [Write(chunk.version, chunk.start, chunk.data)]
        if known.progress.complete:
            digest = known.progress.digest()
            if digest is None:
                algorithm = algorithm_of(known.progress.whole().digest)
                return [*effects, Verify(known.version, algorithm)]
            effects += self.verified(known.version, digest)
        return effects

    def _aborted(self, partition: int, abort: Abort) -> list[Effect]:
        known = self._open.get(abort.version)
        if known is None or isinstance(known.progress, Spread):
            return []
        if abort.path != known.path or partition not in known.places:
            return []  # somebody else's idea of an abort
        del self._open[abort.version]
        self._remember_failed(abort.version)
        told = VersionAborted(known.path, abort.version, abort.reason)
        return [Discard(abort.version), Tell(told)]

    # -- what came of the effects ----------------------------------------------------------

    def verified(self, version: VersionId, digest: Digest) -> list[Effect]:
        """The whole content of a version has this digest."""
        known = self._open[version]
        whole = known.progress.whole()
        if digest != whole.digest:
            detail = f"the content has {digest}, its records say {whole.digest}"
            return self._fail(known, "bad-digest", detail)
        if self._is_older(known):
            del self._open[version]
            text = f"{known.path}: an older content came completely after a newer one, which stays"
            return [Discard(version), Tell(Notice(text))]
        partition, first_offset, last_offset = only_place(known.places)
        manifest = Manifest(
            path=known.path,
            version=version,
            size=whole.size,
            mtime_ns=whole.mtime_ns,
            chunks=whole.chunks,
            digest=digest,
            topic=self._topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            source=whole.source,
            attributes=whole.attributes,
            timestamp_ms=known.timestamp_ms,
        )
        return [Publish(manifest)]

    def _is_older(self, known: _Assembly) -> bool:
        """Than what was published of its path? Elsewhere the order of offsets answers that."""
        if isinstance(known.progress, InOrder):
            return False
        current = self._before.current(known.path)
        return current is not None and current.timestamp_ms > known.timestamp_ms

    def published(self, version: VersionId) -> None:
        """The version lies at its destination, durably."""
        done = self._open.pop(version)
        if isinstance(done.progress, Spread):
            # Its format has no way to say that a content was given up for this one.
            for each in self._open.values():
                if each.path == done.path and isinstance(each.progress, Spread):
                    each.superseded = each.timestamp_ms <= done.timestamp_ms

    def rejected(self, version: VersionId, reason: str, detail: str) -> list[Effect]:
        """The version cannot be written: a directory has its name, for example. Nothing follows
        for one that was given up before."""
        known = self._open.get(version)
        return [] if known is None else self._fail(known, reason, detail)

    def _fail(self, known: _Assembly, reason: str, detail: str) -> list[Effect]:
        del self._open[known.version]
        if isinstance(known.progress, InOrder):
            # The other kind has one version for all attempts: a later one may succeed.
            self._remember_failed(known.version)
        letter = DeadLetter(
            self._topic, *only_place(known.places), reason, detail, known.path, known.version
        )
        return [Discard(known.version), Tell(letter)]

    def _remember_failed(self, version: VersionId, for_good: bool = True) -> None:
        self._failed[version] = for_good
        if len(self._failed) > MAX_FAILED_REMEMBERED:
            self._failed.popitem(last=False)

    def _letter(self, partition: int, offset: int, reason: str, detail: str) -> DeadLetter:
        """About one record."""
        return DeadLetter(self._topic, partition, offset, offset, reason, detail)

    # -- checkpoints -----------------------------------------------------------------------

    def stale(self, now: float, stale_after: float) -> list[Effect]:
        """Versions without news for `stale_after` seconds stop holding back the safe offset, and
        what is left of older contents is deleted."""
        effects: list[Effect] = []
        for each in [*self._open.values()]:
            silent = now - each.touched > stale_after
            if silent and each.superseded and not each.progress.complete:
                del self._open[each.version]
                effects.append(Discard(each.version))
            elif silent and not each.stale and not each.progress.complete:
                each.stale = True
                partition, first_offset, _ = only_place(each.places)
                effects.append(Tell(VersionStale(each.path, each.version, partition, first_offset)))
        return effects

    def safe_points(self) -> dict[int, SafePoint]:
        """What each partition may commit now."""
        open_ids: dict[int, set[VersionId]] = {each: set() for each in self._position}
        safe = dict(self._position)
        for each in self._open.values():
            for partition, (first_offset, _) in each.places.items():
                open_ids[partition].add(each.version)
                if not each.stale:
                    safe[partition] = min(safe[partition], first_offset)
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
            Saved(each.version, each.path, partition, *offsets, each.timestamp_ms, progress)
            for each in self._open.values()
            if not each.progress.complete
            for progress in [each.progress.saved()]
            for partition, offsets in each.places.items()
        ]

    def positions(self) -> dict[int, int]:
        """The offset of the next record of each owned partition."""
        return dict(self._position)

    def open_count(self) -> int:
        return len(self._open)

    def incomplete(self) -> list[tuple[Path, VersionId]]:
        """Path and version of what is still open, and not superseded."""
        return [(each.path, each.version) for each in self._open.values() if not each.superseded]
