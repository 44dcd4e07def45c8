"""Complete files into a directory tree, each under its path, by an atomic rename."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from pathlib import Path

from openmsi.errors import LocalDiskError
from openmsi.protocol import SPOOL_NAME, Manifest
from openmsi.receive.sink import Refused
from openmsi.state import disk_error, make_directory

# Characters that Windows does not allow in names; `:` would name an alternate stream.
_NOT_ON_WINDOWS = set('<>:"|?*\\') | {chr(code) for code in range(32)}


class DirectorySink:
    """Publishes below `root`, which is made if it is not there.

    Raises:
        LocalDiskError: `root` is a file, or cannot be written.
    """

    def __init__(self, root: Path) -> None:
        make_directory(root)
        self.root = Path(os.path.realpath(root))
        self.spool_directory = self.root / SPOOL_NAME / "spool"
        # Known to be real directories inside the root; forgotten at each sync.
        self._checked: set[str] = set()
        self._to_sync: set[str] = set()
        probe = self.root / SPOOL_NAME
        try:
            probe.mkdir(exist_ok=True)
        except OSError as error:
            raise disk_error(root, error) from error
        if not os.access(probe, os.W_OK):
            raise LocalDiskError(str(root), "it cannot be written", "Name another directory.")

    def publish(self, manifest: Manifest, spooled: str) -> None:
        names = manifest.path.split("/")
        if sys.platform == "win32":
            _check_windows_names(names)
        try:
            self._place(manifest, names, spooled)
        except FileNotFoundError:
            self._checked.clear()  # somebody took a directory away that was there a moment ago
            self._place(manifest, names, spooled)

    def _place(self, manifest: Manifest, names: list[str], spooled: str) -> None:
        parent = self._parent(names[:-1])
        target = os.path.join(parent, names[-1])
        if manifest.mtime_ns is not None:
            # A time that this file system cannot hold is no reason to lose the file.
            with contextlib.suppress(OSError, OverflowError):
                os.utime(spooled, ns=(manifest.mtime_ns, manifest.mtime_ns))
        try:
            os.replace(spooled, target)
        except OSError as error:
            if os.path.isdir(target) and not os.path.islink(target):
                detail = f"a directory has the name {manifest.path!r}"
                raise Refused("in-the-way", detail) from error
            if error.errno in _NAME_TOO_LONG:
                raise Refused("bad-name", f"{manifest.path!r}: {error.strerror}") from error
            raise
        self._to_sync.add(parent)

    def _parent(self, names: list[str]) -> str:
        """The directory of these names, made if needed, none of it a symbolic link."""
        directory = os.fspath(self.root)
        for depth, name in enumerate(names, 1):
            parent, directory = directory, os.path.join(directory, name)
            if directory in self._checked:
                continue
            try:
                mode = os.lstat(directory).st_mode
            except FileNotFoundError:
                os.mkdir(directory)
                self._to_sync.add(parent)
            except OSError as error:
                raise Refused("bad-name", f"{'/'.join(names)!r}: {error.strerror}") from error
            else:
                if not stat.S_ISDIR(mode):
                    kind = "symbolic link" if stat.S_ISLNK(mode) else "file"
                    shown = "/".join(names[:depth])
                    raise Refused("in-the-way", f"a {kind} has the name of the directory {shown!r}")
            self._checked.add(directory)
        return directory

    def sync(self) -> None:
        for directory in self._to_sync:
            _sync_directory(directory)
        self._to_sync.clear()
        self._checked.clear()


_NAME_TOO_LONG = {36, 63}  # ENAMETOOLONG on Linux and on macOS


def _check_windows_names(names: list[str]) -> None:
    for name in names:
        if name[-1] in ". " or _NOT_ON_WINDOWS.intersection(name):
            raise Refused("bad-name", f"{name!r} is not a possible name on Windows")


def _sync_directory(directory: str) -> None:
    if sys.platform == "win32":
        return  # directories cannot be synced there; NTFS journals its names
    with contextlib.suppress(FileNotFoundError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
