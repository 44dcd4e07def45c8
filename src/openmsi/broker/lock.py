"""One openmsi command at a time works on a directory."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from openmsi.errors import LocalBrokerError

LOCK_NAME = "lock"


@contextmanager
def locked(directory: Path, timeout: float) -> Iterator[None]:
    """Hold the lock of an existing directory; wait for another holder at most `timeout` seconds.

    The operating system frees the lock when its holder dies, so there is no stale lock.

    Raises:
        LocalBrokerError: another program holds it for longer.
    """
    path = directory / LOCK_NAME
    deadline = time.monotonic() + timeout
    while (fd := _try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise LocalBrokerError(
                str(directory),
                f"another openmsi command has been working on it for over {timeout:.0f} s",
                "wait for it to finish, or stop it, and try again",
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(fd)


def remove_locked_directory(directory: Path) -> None:
    """Remove a directory that we hold the lock of, when nothing but the lock is left in it.

    Windows does not remove a file that is open: there the directory goes with `remove_leftovers`,
    after the lock is free. Elsewhere the lock file must go while we hold it, so that whoever waits
    for it notices (see `_try_lock`).
    """
    if os.name != "nt":
        (directory / LOCK_NAME).unlink(missing_ok=True)
        with suppress(OSError):
            directory.rmdir()


def remove_leftovers(directory: Path) -> None:
    """Remove what `remove_locked_directory` could not, unless somebody uses it again."""
    if os.name == "nt":
        with suppress(OSError):
            (directory / LOCK_NAME).unlink(missing_ok=True)
            directory.rmdir()


def _try_lock(path: Path) -> int | None:
    """An open, locked file descriptor; None if another holds the lock."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise LocalBrokerError(
            str(path.parent),
            f"it cannot be used ({error.strerror})",
            "try again, or give a directory that you may write to with --data-dir",
        ) from error
    try:
        if _lock_file(fd) and os.path.samestat(os.fstat(fd), os.stat(path)):
            return fd
    except FileNotFoundError:
        pass  # what we locked was removed by its last holder
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None


if sys.platform == "win32":
    import msvcrt

    def _lock_file(fd: int) -> bool:
        try:
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _lock_file(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
