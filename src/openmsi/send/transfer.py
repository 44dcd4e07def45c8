"""One version on its way into the topic: a state machine without IO.

    READING ──last chunk read──> DRAINING ──all acknowledged──> SENT
       │                            │
       └──────── give_up ───────────┴──> ABORTING ──all acknowledged──> ABORTED

Events are method calls; each returns the record to produce next, or None. The loop around it
(sender.py) reads the file, sends the records and brings the acknowledgements.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from openmsi.protocol import (
    Abort,
    Chunk,
    Closing,
    Digest,
    Manifest,
    Opening,
    Path,
    VersionId,
    digest_of,
    new_hasher,
)

ABORT_INDEX = -1  # stands for the abort record where chunks have their index

State = Enum("State", "READING DRAINING SENT ABORTING ABORTED")


class Progress(msgspec.Struct, frozen=True):
    """How much of a version is acknowledged: all chunks before `index`, all bytes before `start`.

    A version that is to be resumed keeps its chunk size, so that an index means the same bytes.
    """

    version: VersionId
    chunk_size: int
    index: int = 0
    start: int = 0
    partition: int = -1
    first_offset: int = -1


class Transfer:
    """Cuts one settled content into chunks and follows them until all are acknowledged.

    Args:
        path: the file's name in the topic.
        opening: what its first record tells; `opening.size` is the size in bytes.
        progress: where to go on; chunks before it are read for the digest, not sent again.
    """

    def __init__(self, path: Path, opening: Opening, progress: Progress) -> None:
        if opening.size is None:
            raise ValueError("a settled file has a size")
        self.path = path
        self.version = progress.version
        self.state = State.READING
        self._size = opening.size
        self._opening = opening
        self._resumed = progress
        self._chunk_size = progress.chunk_size
        self._hasher = new_hasher()
        self._digest: Digest | None = None
        self._next_index = 0
        self._next_start = 0
        # Chunks on their way, index -> start; a dict keeps them in index order.
        self._pending: dict[int, int] = {}
        self._partition = progress.partition
        self._first_offset = progress.first_offset
        self._last_offset = progress.first_offset
        self._reason = ""

    @property
    def want(self) -> int:
        """How many bytes to read next, at the place where the last read ended."""
        return min(self._chunk_size, self._size - self._next_start)

    @property
    def reason(self) -> str:
        """Why it was given up; empty otherwise."""
        return self._reason

    def read(self, data: bytes, unchanged: bool) -> Chunk | Abort | None:
        """The next `want` bytes were read; `unchanged` tells whether the file is still the one
        that was opened. Returns what to produce; None when there is nothing (a resumed chunk)."""
        assert self.state is State.READING
        if not unchanged:
            return self.give_up("it changed while it was read")
        if len(data) != self.want:
            return self.give_up(
                f"it ended after {self._next_start + len(data)} of {self._size} bytes"
            )
        index, start = self._next_index, self._next_start
        self._hasher.update(data)
        self._next_index += 1
        self._next_start += len(data)
        closing = None
        if self._next_start == self._size:
            self._digest = digest_of(self._hasher)
            closing = Closing(self._size, self._next_index, self._digest)
            self.state = State.DRAINING
        elif index < self._resumed.index:
            return None
        self._pending[index] = start
        opening = self._opening if index == 0 else None
        return Chunk(self.path, self.version, index, start, data, opening, closing)

    def give_up(self, reason: str) -> Abort | None:
        """Stop here. Returns the abort to produce, if any record may be in the topic."""
        self._reason = reason
        if self._next_index == 0 and self._resumed.index == 0:
            self.state = State.ABORTED
            return None
        self.state = State.ABORTING
        self._pending[ABORT_INDEX] = self._next_start
        return Abort(self.path, self.version, reason)

    def acknowledged(self, index: int, partition: int, offset: int) -> Abort | None:
        """The record with this index is in the topic. Returns an abort when the topic's
        partitions changed on the way: a version must lie in one."""
        del self._pending[index]
        if self._first_offset < 0:
            self._partition, self._first_offset = partition, offset
        self._last_offset = max(self._last_offset, offset)
        if partition != self._partition and self.state in (State.READING, State.DRAINING):
            return self.give_up("the topic's number of partitions changed")
        self._finish()
        return None

    def failed(self, index: int, reason: str) -> Abort | None:
        """The record with this index will never be in the topic. Returns the abort to produce."""
        del self._pending[index]
        if self.state in (State.READING, State.DRAINING):
            return self.give_up(reason)
        self._finish()
        return None

    def _finish(self) -> None:
        if not self._pending and self.state is State.DRAINING:
            self.state = State.SENT
        elif not self._pending and self.state is State.ABORTING:
            self.state = State.ABORTED

    def progress(self) -> Progress:
        """What a restart may rely on."""
        index, start = next(iter(self._pending.items()), (self._next_index, self._next_start))
        if index < self._resumed.index:
            return self._resumed
        return Progress(
            self.version, self._chunk_size, index, start, self._partition, self._first_offset
        )

    def manifest(self, topic: str) -> Manifest:
        """What was sent; only of a version that is SENT."""
        assert self.state is State.SENT
        assert self._digest is not None
        return Manifest(
            path=self.path,
            version=self.version,
            size=self._size,
            mtime_ns=self._opening.mtime_ns,
            chunks=self._next_index,
            digest=self._digest,
            topic=topic,
            partition=self._partition,
            first_offset=self._first_offset,
            last_offset=self._last_offset,
            source=self._opening.source,
            attributes=self._opening.attributes,
        )
