"""Files to send, and what has arrived."""

from __future__ import annotations

import os
import time
from pathlib import Path

from helpers import digest_of, random_file

from interop.peer import OWN_DIRECTORY, PeerProgram

CHUNK_SIZES = (16384, 524288)
NOT_FILES = {OWN_DIRECTORY, ".openmsi"}


def make_files(root: Path, sizes: dict[str, int]) -> dict[str, str]:
    """Make files of these sizes in bytes. Returns the digest of each by its name."""
    return {
        name: digest_of(random_file(root / name, size, seed))
        for seed, (name, size) in enumerate(sizes.items())
    }


def arrived(root: Path) -> dict[str, str]:
    """The digest of each file below `root` by its name."""
    found = {}
    for directory, names, files in os.walk(root):
        names[:] = [each for each in names if each not in NOT_FILES]
        for name in files:
            path = Path(directory, name)
            found[path.relative_to(root).as_posix()] = digest_of(path)
    return found


def wait_for(program: PeerProgram, root: Path, expected: dict[str, str], seconds: float) -> None:
    """Wait until the peer has rebuilt exactly these. It writes them in place, bit by bit."""
    found: dict[str, str] = {}
    deadline = time.monotonic() + seconds
    while found != expected:
        names = sorted(found.items() ^ expected.items())
        assert time.monotonic() < deadline, f"differ after {seconds} s: {names}\n{program.printed}"
        assert program.running()
        time.sleep(0.2)
        found = arrived(root)
