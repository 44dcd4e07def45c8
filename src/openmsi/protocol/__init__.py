"""Records <-> values. Pure: no IO, no clock, no threads, no logging."""

from openmsi.protocol.commit import SafePoint, decode_safe_point, encode_metadata
from openmsi.protocol.digests import (
    DEFAULT_ALGORITHM,
    Digest,
    Hasher,
    algorithm_of,
    digest_of,
    new_hasher,
)
from openmsi.protocol.native import decode, encode
from openmsi.protocol.paths import SPOOL_NAME, Path, check_path, to_path
from openmsi.protocol.values import (
    DEFAULT_CHUNK_SIZE,
    KAFKA_DEFAULT_MAX_MESSAGE_BYTES,
    Abort,
    Chunk,
    Closing,
    Manifest,
    Opening,
    Record,
    VersionId,
)

__all__ = [
    "DEFAULT_ALGORITHM",
    "DEFAULT_CHUNK_SIZE",
    "KAFKA_DEFAULT_MAX_MESSAGE_BYTES",
    "SPOOL_NAME",
    "Abort",
    "Chunk",
    "Closing",
    "Digest",
    "Hasher",
    "Manifest",
    "Opening",
    "Path",
    "Record",
    "SafePoint",
    "VersionId",
    "algorithm_of",
    "check_path",
    "decode",
    "decode_safe_point",
    "digest_of",
    "encode",
    "encode_metadata",
    "new_hasher",
    "to_path",
]
