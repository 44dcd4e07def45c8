"""Checksums of whole contents, written `algorithm:hex`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import NewType, Protocol

from blake3 import blake3

from openmsi.errors import RecordRejected

Digest = NewType("Digest", str)


class Hasher(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def hexdigest(self) -> str: ...


_ALGORITHMS: dict[str, tuple[Callable[[], Hasher], int]] = {
    # name: (constructor, digest length in bytes)
    "blake3": (blake3, 32),
    "sha256": (hashlib.sha256, 32),
    "sha512": (hashlib.sha512, 64),
}
DEFAULT_ALGORITHM = "blake3"
_FORM = re.compile(r"([a-z0-9]{1,16}):([0-9a-f]{2,256})")


def new_hasher(algorithm: str = DEFAULT_ALGORITHM) -> Hasher:
    """A hasher to be fed with a content's bytes in order."""
    return _ALGORITHMS[algorithm][0]()


def digest_of(hasher: Hasher, algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    return Digest(f"{algorithm}:{hasher.hexdigest()}")


def check_digest(text: str) -> Digest:
    """Return `text` as a Digest.

    Raises:
        RecordRejected: reason `bad-digest` for another form, length or algorithm.
    """
    match = _FORM.fullmatch(text)
    if not match or match[1] not in _ALGORITHMS:
        known = ", ".join(_ALGORITHMS)
        raise RecordRejected(
            "bad-digest", f"{text[:80]!r} is not ALGORITHM:HEX with one of {known}"
        )
    if len(match[2]) != 2 * _ALGORITHMS[match[1]][1]:
        raise RecordRejected("bad-digest", f"{text[:80]!r} has the wrong length")
    return Digest(text)


def algorithm_of(digest: Digest) -> str:
    return digest.partition(":")[0]
