"""The records of the OpenMSI programs (openmsipython, OpenMSIStream): one msgpack array a chunk.

A hash is a raw SHA-512, chunk_i counts from 1, start is a position in the rebuilt file, mtime is in
seconds since 1970-01-01 UTC with 0.0 for none. No record has the size of its file: the last chunk
ends there. The chunks of one file may lie in any partition and come in any order, also those of
two contents under one name: file_hash tells them apart.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any, Literal

import msgspec
from blake3 import blake3

from openmsi.errors import RecordRejected
from openmsi.protocol.digests import Digest, algorithm_of, check_digest
from openmsi.protocol.native import MAX_MTIME_NS
from openmsi.protocol.paths import MAX_PATH_BYTES, Path, check_path, to_path
from openmsi.protocol.values import MAX_CHUNKS, MAX_SIZE, Record, VersionId

_HASHES = ("file_hash", "chunk_hash")
_PLACE = ("start", "chunk_i", "n_total")
_LAYOUTS: tuple[tuple[str, ...], ...] = (
    # since 2021-05, 2021-05-28, 2021-06-16, 2021-07-22, and 1.8.6.1 of today's program
    ("filepath", "filename", *_HASHES, *_PLACE, "data"),
    ("filename", *_HASHES, *_PLACE, "data"),
    ("filename", *_HASHES, *_PLACE, "subdir_str", "data"),
    ("filename", *_HASHES, *_PLACE, "subdir_str", "filename_append", "data"),
    ("filename", *_HASHES, *_PLACE, "subdir_str", "filename_append", "data", "mtime"),
)
LEGACY_ALGORITHM = "sha512"
_FIXARRAY = 0x90
_SHA512_BYTES = 64


class LegacyChunk(msgspec.Struct, frozen=True):
    """Contiguous bytes of one content of one path, out of one of `chunks` records.

    `index` counts from 0, `digest` is the `sha512:hex` of the whole content, and `mtime_ns` is
    nanoseconds since 1970-01-01 UTC, as exact as the record's number.
    """

    path: Path
    digest: Digest
    index: int
    chunks: int
    start: int
    data: bytes
    mtime_ns: int | None = None

    @property
    def version(self) -> VersionId:
        """The same for every record with this path and this whole content, whoever sent it."""
        return legacy_version(self.path, self.digest)


class _Fields(msgspec.Struct, frozen=True):
    filename: str
    file_hash: bytes
    chunk_hash: bytes
    start: int
    chunk_i: int
    n_total: int
    data: bytes
    subdir_str: str = ""
    filename_append: str = ""
    mtime: float = 0.0
    filepath: str = ""  # the producer's own name for the file; only its last part counts


def _decoder(layout: tuple[str, ...]) -> msgspec.msgpack.Decoder[Any]:
    types = {each.name: each.type for each in msgspec.structs.fields(_Fields)}
    # Only known fields: what msgspec skips it reads recursively, as deep as hostile arrays nest.
    shape = msgspec.defstruct(
        "Layout",
        [(name, types[name]) for name in layout],
        array_like=True,
        forbid_unknown_fields=True,
    )
    return msgspec.msgpack.Decoder(shape)


# The two layouts of eight fields differ in the type at position 1, so that only one can fit.
_DECODERS = {
    count: [_decoder(layout) for layout in _LAYOUTS if len(layout) == count]
    for count in {len(layout) for layout in _LAYOUTS}
}


@lru_cache(maxsize=256)
def legacy_version(path: Path, digest: Digest) -> VersionId:
    """32 hex digits of the BLAKE3 of both: this format has no ids of its own."""
    return VersionId(blake3(f"{path}\0{digest}".encode()).hexdigest(length=16))


def is_legacy(value: bytes | None) -> bool:
    """May this be a record of the OpenMSI programs? Looks at two bytes: an array of 7 to 10
    fields whose first is a text."""
    if value is None or len(value) < 2 or value[0] - _FIXARRAY not in _DECODERS:
        return False
    return 0xA0 <= value[1] <= 0xBF or 0xD9 <= value[1] <= 0xDB


def decode_legacy(value: bytes) -> LegacyChunk:
    """Return what the record with this value says. Its key and headers have no meaning.

    The bytes agree with the chunk's own hash; whether the whole agrees with `digest` shows when
    all chunks are there.

    Raises:
        RecordRejected: `foreign` for anything but these layouts, `bad-path`, `bad-size`,
            `bad-mtime`, `bad-digest`; no other exception.
    """
    fields = _fields(value)
    path = _path(fields.subdir_str, fields.filename, fields.filename_append)
    if len(fields.file_hash) != _SHA512_BYTES:
        raise RecordRejected("bad-digest", f"the file's hash has {len(fields.file_hash)} bytes")
    chunk = LegacyChunk(
        path,
        Digest(f"{LEGACY_ALGORITHM}:{fields.file_hash.hex()}"),
        fields.chunk_i - 1,
        fields.n_total,
        fields.start,
        fields.data,
        _mtime_ns(fields.mtime),
    )
    _check_sizes(chunk)
    if hashlib.sha512(fields.data).digest() != fields.chunk_hash:
        raise RecordRejected("bad-digest", "the chunk's bytes do not have the chunk's hash")
    return chunk


def encode_legacy(chunk: LegacyChunk, fields: Literal[9, 10] = 9) -> Record:
    """Return the record that carries `chunk` in today's layout of so many fields.

    Nine are read by every program since 2021-07, ten only since 1.8.6.1; nine have no mtime.
    The name and the directory go separately, and nothing is appended to the name.

    Raises:
        RecordRejected: as `decode_legacy`: such a record would stop a program that reads it.
    """
    path = check_path(chunk.path)
    if algorithm_of(check_digest(chunk.digest)) != LEGACY_ALGORITHM:
        raise RecordRejected("bad-digest", f"{chunk.digest[:20]!r}...: this format has SHA-512")
    _check_sizes(chunk)
    subdir, _, name = path.rpartition("/")
    number = chunk.index + 1
    values = [
        name,
        bytes.fromhex(chunk.digest.removeprefix(f"{LEGACY_ALGORITHM}:")),
        hashlib.sha512(chunk.data).digest(),
        chunk.start,
        number,
        chunk.chunks,
        subdir,
        "",
        chunk.data,
    ]
    if fields == 10:
        if abs(chunk.mtime_ns or 0) > MAX_MTIME_NS:
            raise RecordRejected("bad-mtime", f"{chunk.mtime_ns} is not a time in nanoseconds")
        values.append((chunk.mtime_ns or 0) / 10**9)
    key = f"{subdir.replace('/', '_')}_{name}_chunk_{number}_of_{chunk.chunks}"
    return Record(key.encode(), msgspec.msgpack.encode(values), [])


def _fields(value: bytes) -> _Fields:
    if not is_legacy(value):
        raise RecordRejected("foreign", "it is no msgpack array of 7 to 10 fields")
    why = ""
    for decoder in _DECODERS[value[0] - _FIXARRAY]:
        try:
            return _Fields(**msgspec.structs.asdict(decoder.decode(value)))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            why = str(error)
    raise RecordRejected("foreign", f"its msgpack is not a chunk of a file: {why[:200]}")


# Names come once per chunk, and a large file has thousands of them.
@lru_cache(maxsize=256)
def _path(subdir: str, filename: str, append: str) -> Path:
    if len(subdir) + len(filename) + len(append) > MAX_PATH_BYTES:  # before work that is not linear
        raise RecordRejected("bad-path", f"its names have more than {MAX_PATH_BYTES} characters")
    whole = filename if subdir in ("", ".") else f"{subdir}/{filename}"
    directory, slash, name = whole.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem or not suffix:  # "data", ".data" and "data." have no suffix
        stem, dot, suffix = name, "", ""
    return to_path(f"{directory}{slash}{stem}{append}{dot}{suffix}")


def _mtime_ns(seconds: float) -> int | None:
    if seconds == 0.0:
        return None
    if not math.isfinite(seconds) or abs(seconds) > MAX_MTIME_NS // 10**9:
        raise RecordRejected("bad-mtime", f"{seconds} is not a time in seconds")
    whole = math.floor(seconds)
    return whole * 10**9 + round((seconds - whole) * 1e9)


def _check_sizes(chunk: LegacyChunk) -> None:
    number, end = chunk.index + 1, chunk.start + len(chunk.data)
    if not 1 <= chunk.chunks <= MAX_CHUNKS:
        raise RecordRejected("bad-size", f"{chunk.chunks} chunks are not 1 to {MAX_CHUNKS}")
    if not 1 <= number <= chunk.chunks:
        raise RecordRejected("bad-size", f"it is chunk {number} of {chunk.chunks}")
    if chunk.start < 0:
        raise RecordRejected("bad-size", f"it starts at {chunk.start}")
    if end > MAX_SIZE:
        raise RecordRejected("bad-size", f"it ends at {end}, after the limit {MAX_SIZE}")
    if chunk.chunks == 1 and chunk.start != 0:
        raise RecordRejected("bad-size", f"the only chunk starts at {chunk.start}, not at 0")
    if chunk.chunks > 1 and not chunk.data:
        raise RecordRejected("bad-size", "only the one chunk of an empty file is without bytes")
