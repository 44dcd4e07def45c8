"""Any record of a topic -> what it says, whichever format it has."""

from __future__ import annotations

from openmsi.protocol.legacy import LegacyChunk, decode_legacy, is_legacy
from openmsi.protocol.native import decode_native, is_native
from openmsi.protocol.values import Abort, Chunk, Record


def decode(record: Record) -> Chunk | LegacyChunk | Abort:
    """Return what `record` says. Topics may have records of all formats, mixed.

    Raises:
        RecordRejected: it is in no format, or breaks a rule of its own; no other exception.
    """
    if is_legacy(record.value) and not is_native(record):
        assert record.value is not None
        return decode_legacy(record.value)
    return decode_native(record)
