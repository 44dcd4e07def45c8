"""Files as the sender sees them: opened without disturbing the program that writes them."""

from __future__ import annotations

import os
import stat as stat_module
import sys
from typing import NamedTuple

if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes


class Identity(NamedTuple):
    """What tells one content of a file from another without reading it.

    `touched_ns` is the latest time, in ns since 1970, at which the system saw the file change;
    it notices what a restored mtime hides, but a mere rename or chmod sets it too.
    """

    size: int
    mtime_ns: int
    inode: int
    touched_ns: int

    def kept(self) -> tuple[int, int, int]:
        """The part that is kept in the ledger: it stays the same as long as the content does."""
        return self.size, self.mtime_ns, self.inode


def identity_of(stat: os.stat_result) -> Identity:
    # SQLite holds signed 64-bit integers; file systems may give inodes beyond.
    inode = stat.st_ino & 0x7FFF_FFFF_FFFF_FFFF
    touched = max(stat.st_mtime_ns, stat.st_ctime_ns)
    return Identity(stat.st_size, stat.st_mtime_ns, inode, touched)


def skip_reason(mode: int) -> str:
    """Why a directory entry with this mode is not sent; empty for a regular file."""
    if stat_module.S_ISREG(mode):
        return ""
    if stat_module.S_ISLNK(mode):
        return "it is a symbolic link; links are not followed"
    return "it is not a regular file"


def open_to_read(path: str | os.PathLike[str]) -> int:
    """A file descriptor to read `path` from its start; the writer may still rename or delete it.

    Raises:
        OSError: as `os.open`; on Windows also while a writer keeps others out.
    """
    if sys.platform == "win32":
        return _open_windows(path)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


if sys.platform == "win32":
    _GENERIC_READ = 0x8000_0000
    _SHARE_READ, _SHARE_WRITE, _SHARE_DELETE = 1, 2, 4
    _OPEN_EXISTING = 3
    _FLAG_SEQUENTIAL_SCAN = 0x0800_0000

    _create_file = ctypes.WinDLL("kernel32", use_last_error=True).CreateFileW
    _create_file.restype = wintypes.HANDLE
    _create_file.argtypes = (
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.LPVOID,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.HANDLE,
    )

    def _open_windows(path: str | os.PathLike[str]) -> int:
        # Python's own open() does not share deletion: the writer's rename would fail.
        share = _SHARE_READ | _SHARE_WRITE | _SHARE_DELETE
        handle = _create_file(
            os.fspath(path), _GENERIC_READ, share, None, _OPEN_EXISTING, _FLAG_SEQUENTIAL_SCAN, None
        )
        if handle == wintypes.HANDLE(-1).value:
            raise ctypes.WinError(ctypes.get_last_error())
        return msvcrt.open_osfhandle(handle, os.O_RDONLY)
