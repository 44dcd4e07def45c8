"""One open file that is being read into the topic."""

from __future__ import annotations

import os
import time

import msgspec

from openmsi.protocol import Abort, Digest, Hasher, algorithm_of, digest_of, new_hasher
from openmsi.send.files import Identity, identity_of
from openmsi.send.formats import Item
from openmsi.send.ledger import Entry
from openmsi.send.transfer import State, Transfer


class Reading:
    """Performs a transfer's reads.

    When the file has the size of what was sent before under its name, it is first read for its
    digest only: a file that was merely touched is not sent again.

    Args:
        native: the file's name relative to the watched directory.
        descriptor: the open file, at its start; closed by `close`.
        identity: what the file was when it was opened.
    """

    def __init__(
        self, native: str, descriptor: int, identity: Identity, attempt: int, transfer: Transfer
    ) -> None:
        self.native = native
        self.identity = identity
        self.attempt = attempt
        self.transfer = transfer
        self.began = time.monotonic()
        self.changed = False
        self.is_gone = False
        self.done = 0  # bytes read, for a progress display
        self.unchanged_entry: Entry | None = None  # set when the content turns out to be sent
        self._descriptor = descriptor
        self._at = 0
        self._compared: tuple[Entry, Hasher] | None = None

    @property
    def comparing(self) -> bool:
        """Is it not known yet whether anything is to be sent?"""
        return self._compared is not None

    def compare_with(self, sent: Entry) -> None:
        """First find out whether the content is still the one of this entry."""
        self._compared = (sent, new_hasher(algorithm_of(Digest(sent.digest))))

    def step(self) -> Item | None:
        """Read the next chunk. Returns what is to be produced, if anything.

        Raises:
            OSError: the file cannot be read.
        """
        if self._compared is not None:
            self._compare(*self._compared)
            return None
        if self.transfer.position != self._at:
            self._at = os.lseek(self._descriptor, self.transfer.position, os.SEEK_SET)
        data = self._read(self.transfer.want)
        self._at += len(data)
        self.done = self._at
        unchanged = self.now() == self.identity
        expected = self.transfer.state is State.GROWING or unchanged
        short = len(data) != self.transfer.want
        item = self.transfer.read(data, unchanged)
        # What was read is all that a transfer sees: it gives up by itself when that changed.
        self.changed = not expected or short or bool(self.transfer.reason)
        return item

    def now(self) -> Identity:
        """What the open file is now."""
        return identity_of(os.fstat(self._descriptor))

    def grown(self) -> bool:
        """Is there a chunk's worth more of a growing file?"""
        return self.now().size >= self.transfer.position + self.transfer.want

    def gone(self) -> Abort | None:
        """The growing file was deleted or renamed."""
        self.changed = self.is_gone = True
        return self.transfer.give_up("it was deleted or renamed while it was sent")

    def settled(self, identity: Identity) -> Abort | None:
        """The growing file is settled as `identity`."""
        if identity.inode != self.identity.inode:
            self.changed = True
            return self.transfer.give_up("another file took its name while it was sent")
        self.identity = identity
        return self.transfer.settled(identity.size, identity.mtime_ns)

    def _compare(self, sent: Entry, hasher: Hasher) -> None:
        data = self._read(2**20)
        hasher.update(data)
        if data:
            return
        self._compared = None
        if digest_of(hasher, algorithm_of(Digest(sent.digest))) == sent.digest:
            size, mtime_ns, inode = self.identity.kept()
            self.unchanged_entry = msgspec.structs.replace(
                sent, size=size, mtime_ns=mtime_ns, inode=inode
            )
        else:
            self._at = os.lseek(self._descriptor, 0, os.SEEK_SET)

    def _read(self, size: int) -> bytes:
        data = os.read(self._descriptor, size)
        if len(data) == size or not data:
            return data
        parts = [data]
        while data and sum(map(len, parts)) < size:
            data = os.read(self._descriptor, size - sum(map(len, parts)))
            parts.append(data)
        return b"".join(parts)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
