"""Walks a directory tree and finds what the ledger does not know: the truth about what to send.

Memory is bounded by the largest single directory, whatever the size of the tree.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from openmsi.send.files import Identity, identity_of, skip_reason
from openmsi.send.filters import Filter
from openmsi.send.ledger import Entry


class Found(NamedTuple):
    """A file that is new or differs from what was sent; `native` is relative and POSIX."""

    native: str
    identity: Identity


class Skipped(NamedTuple):
    """Something that is not sent, or a directory that cannot be read, and why."""

    native: str
    reason: str


class Unchanged(NamedTuple):
    """A file that is as it was when it was sent."""

    entry: Entry


Step = Found | Skipped | Unchanged | None


def scan(
    root: Path, start: str, keep: Filter, known: Callable[[str], Mapping[str, Entry]]
) -> Iterator[Step]:
    """Walk `root`/`start`, depth first. Yields one step for each entry, None for one that is
    not to be sent, so that the caller can stop for a while after any number of entries.

    Args:
        known: the ledger's entries of one directory, by name.
    """
    pending = [start]
    while pending:
        directory = pending.pop()
        try:
            entries = _list(root, directory)
        except FileNotFoundError:
            continue  # deleted meanwhile
        except OSError as error:
            yield Skipped(directory or ".", f"it cannot be listed: {error.strerror}")
            continue
        sent = known(directory)
        for entry in entries:
            native = f"{directory}/{entry.name}" if directory else entry.name
            if entry.is_dir(follow_symlinks=False):
                if keep.enters(native):
                    pending.append(native)
                yield None
            elif keep.takes(native):
                yield _look(entry, native, sent.get(entry.name))
            else:
                yield None


def _list(root: Path, directory: str) -> list[os.DirEntry[str]]:
    with os.scandir(os.path.join(root, directory)) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _look(entry: os.DirEntry[str], native: str, known: Entry | None) -> Step:
    try:
        stat = entry.stat(follow_symlinks=False)
        if os.name == "nt":
            # A directory listing has no inode there, and its size may lag behind.
            stat = os.lstat(entry.path)
    except FileNotFoundError:
        return None
    except OSError as error:
        return Skipped(native, f"it cannot be looked at: {error.strerror}")
    reason = skip_reason(stat.st_mode)
    if reason:
        return Skipped(native, reason)
    identity = identity_of(stat)
    if known is not None and known.state in ("sent", "baseline") and known.describes(identity):
        return Unchanged(known)
    return Found(native, identity)
