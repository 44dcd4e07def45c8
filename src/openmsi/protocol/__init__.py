"""Records <-> values. Pure: no IO, no clock, no threads, no logging."""

from openmsi.protocol.codec import decode
from openmsi.protocol.commit import SafePoint, decode_safe_point, encode_metadata
from openmsi.protocol.digests import (
    DEFAULT_ALGORITHM,
    Digest,
    Hasher,
    algorithm_of,
    digest_of,
    new_hasher,
)
from openmsi.protocol.legacy import LEGACY_ALGORITHM, LegacyChunk, encode_legacy
from openmsi.protocol.native import encode
from openmsi.protocol.paths import SPOOL_NAME, Path, check_path, to_path
from openmsi.protocol.spans import Spans
from openmsi.protocol.values import (
    DEFAULT_CHUNK_SIZE,
    KAFKA_DEFAULT_MAX_MESSAGE_BYTES,
    SEVERAL,
    Abort,
    Chunk,
    Closing,
    Manifest,
    Opening,
    Record,
    VersionId,
    only_place,
)

__all__ = [
    "DEFAULT_ALGORITHM",
    "DEFAULT_CHUNK_SIZE",
    "KAFKA_DEFAULT_MAX_MESSAGE_BYTES",
    "LEGACY_ALGORITHM",
    "SEVERAL",
    "SPOOL_NAME",
    "Abort",
    "Chunk",
    "Closing",
    "Digest",
    "Hasher",
    "LegacyChunk",
    "Manifest",
    "Opening",
    "Path",
    "Record",
    "SafePoint",
    "Spans",
    "VersionId",
    "algorithm_of",
    "check_path",
    "decode",
    "decode_safe_point",
    "digest_of",
    "encode",
    "encode_legacy",
    "encode_metadata",
    "new_hasher",
    "only_place",
    "to_path",
]
