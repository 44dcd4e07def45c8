"""The forms of record that a sender can write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from openmsi.protocol import Abort, Chunk, LegacyChunk, Record, encode, encode_legacy

Format = Literal["native", "openmsi-9", "openmsi-10"]
NATIVE: Final = "native"
# What the OpenMSI programs take for a chunk themselves: bytes of a file in one record.
LEGACY_CHUNK_SIZE = 524_288

Piece = Chunk | LegacyChunk
Item = Piece | Abort
Encode = Callable[[Item], Record]


def encoder(form: Format) -> Encode:
    """What makes a record in this format of a transfer's items."""

    def encoded(item: Item) -> Record:
        if isinstance(item, LegacyChunk):
            return encode_legacy(item, 10 if form == "openmsi-10" else 9)
        # Any other record would stop the programs that read the older format.
        assert form == NATIVE
        return encode(item)

    return encoded
