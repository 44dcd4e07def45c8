"""What a receiver writes beside a committed offset, so that a successor repeats no work.

The committed offset is the partition's safe offset: the first record of the oldest version
that is still open. Records after it may already be handled. The metadata tells which:
everything before `position` is, except the records of the versions in `open`.
Kafka keeps at most 4096 bytes of it (the broker's `offset.metadata.max.bytes`).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from openmsi.protocol.values import VersionId

MAX_METADATA_BYTES = 4096


class SafePoint(msgspec.Struct, frozen=True):
    """What one partition may commit: `offset` is its safe offset, `position` the next to read."""

    offset: int
    position: int
    open: frozenset[VersionId] = frozenset()


# Without unknown fields: what msgspec skips it reads recursively, as deep as hostile text nests.
class _Metadata(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    form: Literal["openmsi1"]
    position: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    open: list[str]


_decoder = msgspec.json.Decoder(_Metadata)


def encode_metadata(point: SafePoint) -> str:
    """The text to commit with `point.offset`; empty when it would not fit."""
    text = msgspec.json.encode(_Metadata("openmsi1", point.position, sorted(point.open)))
    return text.decode() if len(text) <= MAX_METADATA_BYTES else ""


def decode_safe_point(offset: int, metadata: str | None) -> SafePoint:
    """The inverse of `encode_metadata`. Text that is not ours means: nothing after `offset` is
    known to be handled."""
    try:
        found = _decoder.decode(metadata or "")
    except (msgspec.MsgspecError, UnicodeError):
        return SafePoint(offset, offset)
    if found.position < offset:
        return SafePoint(offset, offset)
    return SafePoint(offset, found.position, frozenset(VersionId(each) for each in found.open))
