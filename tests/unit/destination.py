"""What an assembler's effects lead to, in memory."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

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
    digest_of,
    new_hasher,
)
from openmsi.receive.assembly import (
    Assembler,
    Current,
    Discard,
    Effect,
    Publish,
    Verify,
    Write,
)

TOPIC = "scans"
START = SafePoint(0, 0)


def digest(content: bytes, algorithm: str = "blake3") -> Digest:
    hasher = new_hasher(algorithm)
    hasher.update(content)
    return digest_of(hasher, algorithm)


class Published(NamedTuple):
    manifest: Manifest
    content: bytes


class Destination:
    """An assembler and what its effects lead to, in memory.

    Effects are performed as the receiving loop does: in order, but as late as `perform` is
    called, so that further records may come in between.
    """

    def __init__(self, published: list[Published] | None = None, partitions: int = 1) -> None:
        self.published = [] if published is None else published
        self.told: list[DeadLetter | VersionAborted | VersionStale | Notice] = []
        self.spooled: dict[VersionId, bytearray] = {}
        self.assembler = Assembler(TOPIC, self)
        for partition in range(partitions):
            self.assembler.assigned(partition, 0, START, [], 0.0)
        self._effects: deque[Effect] = deque()
        self._offset = 0

    def finished(self, version: VersionId) -> bool:
        return any(each.manifest.version == version for each in self.published)

    def current(self, path: Path) -> Current | None:
        found = [each.manifest for each in self.published if each.manifest.path == path]
        return Current(found[-1].version, found[-1].timestamp_ms) if found else None

    def take(
        self,
        item: Chunk | LegacyChunk | Abort | RecordRejected,
        partition: int = 0,
        timestamp_ms: int = 0,
    ) -> list[Effect]:
        effects = self.assembler.record(partition, self._offset, item, 0.0, timestamp_ms)
        self._offset += 1
        self._effects.extend(effects)
        return effects

    def take_all(self, items: list[Chunk]) -> None:
        for each in items:
            self.take(each)

    def perform(self) -> None:
        while self._effects:
            self._perform_one(self._effects.popleft())

    def _perform_one(self, effect: Effect) -> None:
        if isinstance(effect, Write):
            file = self.spooled.setdefault(effect.version, bytearray())
            file.extend(bytes(max(0, effect.start - len(file))))
            file[effect.start : effect.start + len(effect.data)] = effect.data
        elif isinstance(effect, Verify):
            content = bytes(self.spooled[effect.version])
            found = digest(content, effect.algorithm)
            self._effects.extendleft(reversed(self.assembler.verified(effect.version, found)))
        elif isinstance(effect, Publish):
            version = effect.manifest.version
            content = bytes(self.spooled.pop(version, b""))
            self.published.append(Published(effect.manifest, content))
            self.assembler.published(version)
        elif isinstance(effect, Discard):
            self.spooled.pop(effect.version, None)
        else:
            self.told.append(effect.event)

    def restarted(self) -> Destination:
        """The same destination after a crash right after a checkpoint."""
        self.perform()
        position = self.assembler.positions()[0]
        saved = self.assembler.saved()
        new = Destination(self.published)
        new.told, new.spooled, new._offset = self.told, self.spooled, self._offset
        new.assembler.assigned(0, position, SafePoint(position, position), saved, 0.0)
        return new

    def reasons(self) -> list[str]:
        """Why anything was rejected."""
        return [each.reason for each in self.told if isinstance(each, DeadLetter)]
