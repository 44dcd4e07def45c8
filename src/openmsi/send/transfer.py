"""One version on its way into the topic: a state machine without IO.

    HASHING ──read once──┐
                         v
    GROWING ──settled──> READING ──last chunk read──> DRAINING ──all acknowledged──> SENT
       ^                    │                            │
       └──it grew further───┤                            │
                            └───────── give_up ──────────┴──> ABORTING ──> ABORTED

A settled file begins in READING; only a file that is sent while it is written begins in GROWING.
In the older format each record tells the digest of the whole content: a file of several chunks
begins in HASHING, is read for that digest, and then once more. Its last chunk is produced only if
both readings had the same digest, so that a content that nobody had is never complete in a topic.
That format knows no aborts: a version that is given up just ends.
Events are method calls; each returns the record to produce next, or None. The loop around it
(sender.py) reads the file, sends the records and brings the acknowledgements.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from blake3 import blake3

from openmsi.protocol import (
    DEFAULT_ALGORITHM,
    LEGACY_ALGORITHM,
    SEVERAL,
    Abort,
    Chunk,
    Closing,
    Digest,
    LegacyChunk,
    Manifest,
    Opening,
    Path,
    VersionId,
    digest_of,
    new_hasher,
)
from openmsi.protocol.legacy import legacy_version
from openmsi.send.formats import Item, Piece

ABORT_INDEX = -1  # stands for the abort record where chunks have their index
HASH_BYTES = 2**20  # read at a time for the digest only

State = Enum("State", "HASHING GROWING READING DRAINING SENT ABORTING ABORTED")


class Progress(msgspec.Struct, frozen=True):
    """How much of a version is acknowledged: all chunks before `index`, all bytes before `start`.

    A version that is to be resumed keeps its chunk size, so that an index means the same bytes.
    `partition` is -1 when nothing is acknowledged, or its records lie in several. `digest` is that
    of the whole content where the records tell it, in the older format.
    """

    version: VersionId
    chunk_size: int
    index: int = 0
    start: int = 0
    partition: int = -1
    first_offset: int = -1
    digest: Digest | None = None


class Transfer:
    """Cuts one content into chunks and follows them until all are acknowledged.

    The file is read in slots of the chunk size. A slot that is in the topic already is read for
    the digest only: one that was acknowledged before a restart, or one that was sent while the
    file grew and did not change since.

    Args:
        path: the file's name in the topic.
        opening: what its first record tells; without `size` for a file that still grows.
        progress: where to go on.
        legacy: in the older format. Such a version is named by its content, and its records may
            lie in any partition; `opening` must have the size.
    """

    def __init__(
        self, path: Path, opening: Opening, progress: Progress, legacy: bool = False
    ) -> None:
        self.path = path
        self.version = progress.version
        self.state = State.GROWING if opening.size is None else State.READING
        self.position = 0  # where the next read begins
        self._growing = opening.size is None
        self._size = opening.size or 0
        self._mtime_ns = opening.mtime_ns
        self._opening = opening
        self._resumed = progress
        self._chunk_size = progress.chunk_size
        self._legacy = legacy
        self._algorithm = LEGACY_ALGORITHM if legacy else DEFAULT_ALGORITHM
        self._hasher = new_hasher(self._algorithm)
        self._digest = progress.digest if legacy else None
        self._next_index = 0
        self._sent_slots: list[bytes] = []  # of a growing file: a short digest of each slot
        # Chunks on their way, index -> start; a dict keeps them in index order.
        self._pending: dict[int, int] = {}
        self._partition = progress.partition
        self._first_offset = progress.first_offset
        self._last_offset = progress.first_offset
        self._spread = legacy and progress.index > 0 and progress.partition < 0
        self._torn = False
        self._reason = ""
        if legacy and self._digest is None and self._size > self._chunk_size:
            self.state = State.HASHING

    @property
    def want(self) -> int:
        """How many bytes to read at `position`."""
        if self.state is State.GROWING:
            return self._chunk_size
        most = HASH_BYTES if self.state is State.HASHING else self._chunk_size
        return min(most, self._size - self.position)

    @property
    def reason(self) -> str:
        """Why it was given up; empty otherwise."""
        return self._reason

    def settled(self, size: int, mtime_ns: int) -> Abort | None:
        """A growing file is settled: it is read once more from its start, for its digest and
        for what was written again in places that were sent."""
        if size < self.position:
            return self.give_up("it became shorter while it was sent")
        self._size, self._mtime_ns = size, mtime_ns
        self._hasher = new_hasher(self._algorithm)
        self.position = 0
        self.state = State.READING
        return None

    def read(self, data: bytes, unchanged: bool) -> Item | None:
        """The next `want` bytes were read; `unchanged` tells whether the file is still the one
        that was opened, or settled. Returns what to produce; None when there is nothing."""
        if self.state is State.GROWING:
            if len(data) < self.want:
                return self.give_up("it became shorter while it was sent")
            return self._grown(data)
        if not unchanged and self._growing:
            self.state = State.GROWING
            self.position = len(self._sent_slots) * self._chunk_size
            return None
        if not unchanged:
            return self.give_up("it changed while it was read")
        if len(data) != self.want:
            return self.give_up(f"it ended after {self.position + len(data)} of {self._size} bytes")
        if self.state is State.HASHING:
            self._hash(data)
            return None
        return self._next_slot(data)

    def _hash(self, data: bytes) -> None:
        self._hasher.update(data)
        self.position += len(data)
        if self.position == self._size:
            self._know(digest_of(self._hasher, self._algorithm))
            self._hasher = new_hasher(self._algorithm)
            self.position = 0
            self.state = State.READING

    def _know(self, digest: Digest) -> None:
        self._digest = digest
        if self._legacy:
            self.version = legacy_version(self.path, digest)

    def _grown(self, data: bytes) -> Piece:
        self._sent_slots.append(_slot_digest(data))
        self.position += len(data)
        return self._chunk(self.position - len(data), data, None)

    def _next_slot(self, data: bytes) -> Item | None:
        start = self.position
        slot = start // self._chunk_size
        self._hasher.update(data)
        self.position += len(data)
        acknowledged = slot < self._resumed.index
        there = self._in_topic(slot, data) if self._growing else acknowledged
        if self.position == self._size:
            digest = digest_of(self._hasher, self._algorithm)
            if self._digest not in (None, digest):
                return self.give_up("its content changed while it was read")
            self._know(digest)
            self.state = State.DRAINING
            if self._growing and there:
                start, data = self._size, b""
            return self._close(start, data)
        if acknowledged:
            self._next_index += 1
        return None if there else self._chunk(start, data, None)

    def _in_topic(self, slot: int, data: bytes) -> bool:
        digest = _slot_digest(data)
        if slot == len(self._sent_slots):
            self._sent_slots.append(digest)
            return False
        same = self._sent_slots[slot] == digest
        self._sent_slots[slot] = digest
        return same

    def _close(self, start: int, data: bytes) -> Piece:
        assert self._digest is not None
        mtime_ns = self._mtime_ns if self._growing else None
        closing = Closing(self._size, self._next_index + 1, self._digest, mtime_ns)
        return self._chunk(start, data, closing)

    def _chunk(self, start: int, data: bytes, closing: Closing | None) -> Piece:
        index = self._next_index
        self._next_index += 1
        self._pending[index] = start
        if self._legacy:
            assert self._digest is not None
            count = max(-(-self._size // self._chunk_size), 1)
            return LegacyChunk(self.path, self._digest, index, count, start, data, self._mtime_ns)
        opening = self._opening if index == 0 else None
        return Chunk(self.path, self.version, index, start, data, opening, closing)

    def give_up(self, reason: str) -> Abort | None:
        """Stop here. Returns the abort to produce, if any record may be in the topic, none was
        produced yet, and the format has such records."""
        if self._stopping:
            return None
        self._reason = reason
        if self._legacy or (self._next_index == 0 and self._resumed.index == 0):
            self.state = State.ABORTING if self._pending else State.ABORTED
            return None
        self.state = State.ABORTING
        self._pending[ABORT_INDEX] = self.position
        return Abort(self.path, self.version, reason)

    def acknowledged(self, index: int, partition: int, offset: int) -> Abort | None:
        """The record with this index is in the topic. Returns an abort when the topic's
        partitions changed on the way: a version of the native format must lie in one."""
        # Records keep their order in a partition: an earlier one that is missing will never come.
        self._torn = self._torn or (not self._legacy and next(iter(self._pending)) != index)
        del self._pending[index]
        if self._first_offset < 0:
            self._partition, self._first_offset = partition, offset
        self._last_offset = max(self._last_offset, offset)
        elsewhere = partition != self._partition
        self._spread = self._spread or (self._legacy and elsewhere)
        if elsewhere and not self._legacy and not self._stopping:
            return self.give_up("the topic's number of partitions changed")
        self._finish()
        return None

    def failed(self, index: int, reason: str) -> Abort | None:
        """The record with this index will never be in the topic. Returns the abort to produce."""
        del self._pending[index]
        if not self._stopping:
            return self.give_up(reason)
        self._finish()
        return None

    @property
    def _place(self) -> tuple[int, int, int]:
        """Partition, first and last offset; SEVERAL each when the records lie in several."""
        if self._spread:
            return SEVERAL, SEVERAL, SEVERAL
        return self._partition, self._first_offset, self._last_offset

    @property
    def _stopping(self) -> bool:
        return self.state in (State.ABORTING, State.ABORTED)

    def _finish(self) -> None:
        if not self._pending and self.state is State.DRAINING:
            self.state = State.SENT
        elif not self._pending and self.state is State.ABORTING:
            self.state = State.ABORTED

    def progress(self) -> Progress | None:
        """What a restart may rely on; None when it can only start over: the file was sent while
        it grew, and nothing can tell afterwards which of its contents is in the topic, or a
        record got lost before one that arrived, and no receiver takes the version any more."""
        if self._growing or self._torn:
            return None
        start = min(self._next_index * self._chunk_size, self._size)
        index, start = next(iter(self._pending.items()), (self._next_index, start))
        if index < self._resumed.index:
            return self._resumed
        partition, first_offset, _ = self._place
        told = self._digest if self._legacy else None
        return Progress(self.version, self._chunk_size, index, start, partition, first_offset, told)

    def manifest(self, topic: str) -> Manifest:
        """What was sent; only of a version that is SENT."""
        assert self.state is State.SENT
        assert self._digest is not None
        partition, first_offset, last_offset = self._place
        return Manifest(
            path=self.path,
            version=self.version,
            size=self._size,
            mtime_ns=self._mtime_ns,
            chunks=self._next_index,
            digest=self._digest,
            topic=topic,
            partition=partition,
            first_offset=first_offset,
            last_offset=last_offset,
            source=self._opening.source,
            attributes=self._opening.attributes,
        )


def _slot_digest(data: bytes) -> bytes:
    return blake3(data).digest(length=16)
