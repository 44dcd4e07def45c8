"""Makes all that was written to a file system durable with one call, where this can be trusted."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

# Where syncfs(2) waits until all is on the disk: ext2 to ext4, XFS, Btrfs, F2FS. A file system in
# user space (FUSE) is not told to, and what a network file system does is its own affair.
_LOCAL = {0xEF53, 0x58465342, 0x9123683E, 0xF2F52010}
_TELLS_ERRORS = (5, 8)  # the first Linux whose syncfs does


class FileSystem:
    """The one that `directory` lies in; see `of`.

    A file system writes its own tables, or its journal, once more for each fsync. Many small files
    are durable in half the time with one syncfs; docs/performance.md has what was measured.
    """

    def __init__(self, library: ctypes.CDLL, handle: int) -> None:
        self._library = library
        # Open all the time, so that no failure to write, since the start, can be missed.
        self._handle = handle

    @classmethod
    def of(cls, directory: Path) -> FileSystem | None:
        """None where fsync of each file is the only way."""
        if sys.platform != "linux" or _kernel() < _TELLS_ERRORS:
            return None
        library = ctypes.CDLL(None, use_errno=True)
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        answer = ctypes.create_string_buffer(512)  # a struct statfs is smaller; the type is first
        if hasattr(library, "syncfs") and library.fstatfs(handle, answer) == 0:
            kind = ctypes.c_long.from_buffer(answer).value & 0xFFFF_FFFF
            if kind in _LOCAL:
                return cls(library, handle)
        os.close(handle)
        return None

    def sync(self) -> None:
        """Return when all that any program wrote is durable.

        Raises:
            OSError: some of it may not be.
        """
        if self._library.syncfs(self._handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        os.close(self._handle)


def _kernel() -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
