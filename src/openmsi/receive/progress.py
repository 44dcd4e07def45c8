"""How far one version is: which of its bytes are in its spool file, and what is still to come."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from openmsi.protocol import (
    Chunk,
    Closing,
    Digest,
    Hasher,
    LegacyChunk,
    Opening,
    Spans,
    algorithm_of,
    digest_of,
    new_hasher,
)

# A file of 100 GB in small chunks, whose partitions are read at different speeds, has some 10,000.
MAX_SPANS = 200_000


class Broken(Exception):
    """The version can never be completed; `args` are a short reason and a sentence."""


class Whole(msgspec.Struct, frozen=True):
    """What a complete version is, as its records say."""

    size: int
    chunks: int
    digest: Digest
    mtime_ns: int | None
    source: str = ""
    attributes: dict[str, str] = {}


class SavedInOrder(msgspec.Struct, frozen=True, tag="in-order"):
    """`InOrder` as the journal keeps it: exactly what the durable spool file holds."""

    next_index: int
    extent: int
    opening: Opening

    def resumed(self) -> InOrder:
        return InOrder(self.opening, self.next_index, self.extent)


class SavedSpread(msgspec.Struct, frozen=True, tag="spread"):
    """`Spread` as the journal keeps it: exactly what the durable spool file holds."""

    digest: Digest
    chunks: int
    spans: list[tuple[int, int]]
    end: int | None = None
    mtime_ns: int | None = None

    @property
    def extent(self) -> int:
        return self.spans[-1][1] if self.spans else 0

    def resumed(self) -> Spread:
        return Spread(self.digest, self.chunks, self.end, self.mtime_ns, Spans(self.spans))


@dataclass(slots=True)
class InOrder:
    """A version of the native format: its chunks come by index, out of one partition."""

    opening: Opening
    next_index: int = 0
    extent: int = 0  # bytes from the start of the file to the end of the furthest chunk
    # None once the digest can no longer be had by reading along.
    hasher: Hasher | None = None
    closing: Closing | None = None

    @classmethod
    def begun(cls, opening: Opening) -> InOrder:
        return cls(opening, hasher=new_hasher())

    @property
    def complete(self) -> bool:
        return self.closing is not None

    def has(self, chunk: Chunk | LegacyChunk) -> bool:
        """Is this one repeated, as by a sender that was restarted?"""
        return chunk.index < self.next_index

    def add(self, chunk: Chunk | LegacyChunk) -> None:
        """Raises Broken when it does not fit."""
        assert isinstance(chunk, Chunk)
        end, size = chunk.start + len(chunk.data), self.opening.size
        if chunk.index > self.next_index:
            missing = f"index {self.next_index} is missing before index {chunk.index}"
            raise Broken("gap", missing)
        if chunk.start > self.extent:
            hole = f"index {chunk.index} starts at {chunk.start}, after {self.extent}"
            raise Broken("gap", hole)
        if size is not None and end > size:
            raise Broken("bad-size", f"index {chunk.index} ends after {size}")
        if chunk.start < self.extent:
            self.hasher = None
        if self.hasher is not None:
            self.hasher.update(chunk.data)
        self.next_index = chunk.index + 1
        self.extent = max(self.extent, end)
        self.closing = chunk.closing
        if self.closing is not None:
            total = self.closing.size
            if self.extent != total or size not in (None, total):
                detail = f"it has {self.extent} bytes, its last record says {total}"
                raise Broken("bad-size", detail)

    def digest(self) -> Digest | None:
        """Of the complete content; None when the spool file must be read for it."""
        if self.hasher is None or algorithm_of(self.whole().digest) != "blake3":
            return None
        return digest_of(self.hasher)

    def whole(self) -> Whole:
        """What it should be, once `complete`."""
        opening, closing = self.opening, self.closing
        assert closing is not None
        mtime_ns = closing.mtime_ns if opening.mtime_ns is None else opening.mtime_ns
        return Whole(
            closing.size,
            closing.chunks,
            closing.digest,
            mtime_ns,
            opening.source,
            opening.attributes,
        )

    def saved(self) -> SavedInOrder:
        return SavedInOrder(self.next_index, self.extent, self.opening)


@dataclass(slots=True)
class Spread:
    """A content in the older format: its chunks come in any order, out of any partition.

    Its records agree on the digest. It is complete when every byte up to the end of its last
    chunk is there: chunks of other sizes, from another sender of the same content, fit too.
    """

    expected: Digest
    chunks: int
    end: int | None = None  # known from the last chunk
    mtime_ns: int | None = None
    spans: Spans = field(default_factory=Spans)

    @property
    def complete(self) -> bool:
        return self.end is not None and self.spans.reach(self.end)

    def has(self, chunk: Chunk | LegacyChunk) -> bool:
        """Does it tell nothing new?"""
        assert isinstance(chunk, LegacyChunk)
        tells_end = self.end is None and chunk.index == chunk.chunks - 1
        return not tells_end and self.spans.cover(chunk.start, chunk.start + len(chunk.data))

    def add(self, chunk: Chunk | LegacyChunk) -> None:
        """Raises Broken when it does not fit."""
        assert isinstance(chunk, LegacyChunk)
        end = chunk.start + len(chunk.data)
        if chunk.index == chunk.chunks - 1:
            self._end_at(end)
        if self.end is not None and end > self.end:
            raise Broken("bad-size", f"chunk {chunk.index + 1} ends after {self.end}")
        self.spans.add(chunk.start, end)
        if len(self.spans) > MAX_SPANS:
            raise Broken("bad-size", f"it comes in over {MAX_SPANS} separate pieces")
        self.mtime_ns = self.mtime_ns if chunk.mtime_ns is None else chunk.mtime_ns

    def _end_at(self, end: int) -> None:
        if self.end not in (None, end) or self.spans.extent > end:
            detail = f"its last chunk ends at {end}, others at {self.end or self.spans.extent}"
            raise Broken("bad-size", detail)
        self.end = end

    def digest(self) -> Digest | None:
        """None: the spool file must be read for it."""
        return None

    def whole(self) -> Whole:
        """What it should be, once `complete`."""
        assert self.end is not None
        return Whole(self.end, self.chunks, self.expected, self.mtime_ns)

    def saved(self) -> SavedSpread:
        return SavedSpread(self.expected, self.chunks, self.spans.list(), self.end, self.mtime_ns)
