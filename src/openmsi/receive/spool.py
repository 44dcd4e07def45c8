"""The files of incomplete versions, never under their final name."""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from openmsi.protocol import Digest, Hasher, VersionId, digest_of, new_hasher
from openmsi.receive.syncing import FileSystem
from openmsi.state import make_directory

MAX_OPEN_FILES = 256  # Windows allows a program 512
SYNC_THREADS = 16
MANY = 32  # files, from which on the whole file system is made durable
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Spool:
    """Files in one directory, named after their version.

    Raises:
        LocalDiskError: the directory cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        make_directory(directory)
        self._handles: OrderedDict[VersionId, int] = OrderedDict()
        self._unsynced: set[VersionId] = set()
        self._digests: dict[VersionId, tuple[Hasher, int]] = {}  # as far as they are read
        self._prefix = os.path.join(directory, "")
        # A disk that is asked for several files at once writes them together.
        self._syncing = ThreadPoolExecutor(SYNC_THREADS, "spool-sync")
        self._whole = FileSystem.of(directory)

    def path(self, version: VersionId) -> str:
        return self._prefix + version

    def write(self, version: VersionId, start: int, data: bytes) -> None:
        """Write `data` at byte `start`.

        Raises:
            OSError: as the system says; a part may be written, and it may be tried again.
        """
        handle = self._open(version)
        view = memoryview(data)
        while view:
            count = _write_at(handle, view, start)
            view, start = view[count:], start + count
        self._unsynced.add(version)
        self._digests.pop(version, None)

    def sync(self, versions: Iterable[VersionId]) -> None:
        """Make what was written of these durable.

        Raises:
            OSError: what is not durable is tried again by the next call.
        """
        waiting = [each for each in versions if each in self._unsynced]
        if self._whole is not None and len(waiting) >= MANY:
            self._whole.sync()
            self._unsynced.clear()
            return
        for some in batched(waiting, MAX_OPEN_FILES):
            # All results are looked at: the first failure must not hide that others failed.
            list(self._syncing.map(os.fsync, [self._open(each) for each in some]))
            self._unsynced.difference_update(some)

    def sync_all(self) -> None:
        self.sync(list(self._unsynced))

    def size(self, version: VersionId) -> int:
        """Bytes in the version's file; 0 when there is none."""
        try:
            return os.stat(self.path(version)).st_size
        except FileNotFoundError:
            return 0

    def digest(self, version: VersionId, algorithm: str, most: int) -> Digest | None:
        """Read on in the file for its digest, `most` bytes at a time; None when there is more."""
        hasher, position = self._digests.get(version) or (new_hasher(algorithm), 0)
        with open(self.path(version), "rb") as file:
            file.seek(position)
            until = position + most
            while position < until and (data := file.read(min(2**20, until - position))):
                hasher.update(data)
                position += len(data)
        if position == until:
            self._digests[version] = (hasher, position)
            return None
        self._digests.pop(version, None)
        return digest_of(hasher, algorithm)

    def release(self, version: VersionId) -> str:
        """Close the version's file, which has its full content, and return where it is."""
        self._close(version)
        self._unsynced.discard(version)
        return self.path(version)

    def discard(self, version: VersionId) -> None:
        self._digests.pop(version, None)
        path = self.release(version)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)

    def close(self) -> None:
        """Close everything; take the directory away when nothing is left in it."""
        self._syncing.shutdown()
        if self._whole is not None:
            self._whole.close()
        for version in list(self._handles):
            self._close(version)
        for directory in (self._directory, self._directory.parent):
            try:
                directory.rmdir()
            except OSError:
                return

    def _open(self, version: VersionId) -> int:
        handle = self._handles.get(version)
        if handle is not None:
            self._handles.move_to_end(version)
            return handle
        if len(self._handles) >= MAX_OPEN_FILES:
            self._close(next(iter(self._handles)))
        handle = os.open(self.path(version), _FLAGS, 0o666)
        self._handles[version] = handle
        return handle

    def _close(self, version: VersionId) -> None:
        handle = self._handles.pop(version, None)
        if handle is not None:
            os.close(handle)


if hasattr(os, "pwrite"):

    def _write_at(handle: int, data: memoryview, start: int) -> int:
        return os.pwrite(handle, data, start)

else:

    def _write_at(handle: int, data: memoryview, start: int) -> int:
        os.lseek(handle, start, os.SEEK_SET)
        return os.write(handle, data)


def batched(items: Sequence[VersionId], size: int) -> Iterator[Sequence[VersionId]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
