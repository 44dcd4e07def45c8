"""The native record format, version 1: chunk bytes in the value, all else in headers.

docs/protocol.md is its specification; golden bytes in tests/unit/golden.py hold it still.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from openmsi.errors import RecordRejected
from openmsi.protocol.digests import Digest, check_digest
from openmsi.protocol.paths import Path, check_path, decode_path
from openmsi.protocol.values import (
    MAX_CHUNKS,
    MAX_SIZE,
    Abort,
    Chunk,
    Closing,
    Opening,
    Record,
    VersionId,
)

FORMAT = "openmsi.format"
VERSION = "openmsi.version"
INDEX = "openmsi.index"
START = "openmsi.start"
PATH = "openmsi.path"
SIZE = "openmsi.size"
MTIME = "openmsi.mtime-ns"
SOURCE = "openmsi.source"
ATTRIBUTE = "openmsi.attr."
TOTAL_SIZE = "openmsi.total-size"
CHUNKS = "openmsi.chunks"
DIGEST = "openmsi.digest"
ABORT = "openmsi.abort"

FORMAT_1 = b"1"
MAX_HEADERS = 64
MAX_ATTRIBUTES = 32
MAX_TEXT_BYTES = 1024
MAX_MTIME_NS = 2**63 - 1

_LAST = frozenset((TOTAL_SIZE, CHUNKS, DIGEST))
_VERSION = re.compile(r"[0-9a-f]{32}")
_INTEGER = re.compile(rb"0|[1-9][0-9]{0,18}")
_SIGNED = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def encode(item: Chunk | Abort) -> Record:
    """Return the record that carries `item`. The inverse of `decode_native`.

    Texts that people read (source, reason of an abort) are cut to their limit.

    Raises:
        RecordRejected: a receiver would reject the record: `item` breaks a rule of the format.
    """
    _check(item)
    headers = [(FORMAT, FORMAT_1), (VERSION, item.version.encode())]
    if isinstance(item, Abort):
        headers.append((ABORT, _cut(item.reason)))
        return Record(item.path.encode(), b"", headers)
    headers += _chunk_headers(item)
    return Record(item.path.encode(), item.data, headers)


def _chunk_headers(chunk: Chunk) -> list[tuple[str, bytes]]:
    headers = [(INDEX, b"%d" % chunk.index), (START, b"%d" % chunk.start)]
    mtime_ns = None
    if chunk.opening is not None:
        mtime_ns = chunk.opening.mtime_ns
        headers += _opening_headers(chunk.path, chunk.opening)
    if chunk.closing is not None:
        if mtime_ns is None:
            mtime_ns = chunk.closing.mtime_ns
        headers.append((TOTAL_SIZE, b"%d" % chunk.closing.size))
        headers.append((CHUNKS, b"%d" % chunk.closing.chunks))
        headers.append((DIGEST, chunk.closing.digest.encode()))
    if mtime_ns is not None:
        headers.append((MTIME, b"%d" % mtime_ns))
    return headers


def _opening_headers(path: Path, opening: Opening) -> list[tuple[str, bytes]]:
    headers = [(PATH, path.encode())]
    if opening.size is not None:
        headers.append((SIZE, b"%d" % opening.size))
    if opening.source:
        headers.append((SOURCE, _cut(opening.source)))
    headers += [(ATTRIBUTE + name, _utf8(text)) for name, text in opening.attributes.items()]
    return headers


def _utf8(text: str) -> bytes:
    # A text may quote a file name that is not valid Unicode.
    return text.encode(errors="backslashreplace")


def _cut(text: str) -> bytes:
    return _utf8(text)[:MAX_TEXT_BYTES].decode(errors="ignore").encode()


def is_native(record: Record) -> bool:
    """Does the record claim to be in this format, of any version?"""
    return any(name == FORMAT for name, _ in record.headers)


def decode_native(record: Record) -> Chunk | Abort:
    """Return what `record` says.

    Raises:
        RecordRejected: for anything that docs/protocol.md does not allow; no other exception.
    """
    headers = _own_headers(record.headers)
    if record.key is None:
        raise RecordRejected("bad-path", "the record has no key")
    path = decode_path(record.key)
    version = VersionId(_required(headers, VERSION).decode("latin-1"))
    item: Chunk | Abort
    if ABORT in headers:
        item = Abort(path, version, _text(headers, ABORT))
    else:
        index = _integer(headers, INDEX)
        opening = _opening(path, headers) if index == 0 else None
        closing = None if _LAST.isdisjoint(headers) else _closing(headers, opening)
        if opening is None and PATH in headers:
            raise RecordRejected("bad-header", f"{PATH} belongs to index 0, this is index {index}")
        start = _integer(headers, START)
        item = Chunk(path, version, index, start, record.value or b"", opening, closing)
    _check(item)
    return item


def _check(item: Chunk | Abort) -> None:
    """The rules for values, the same for those that are sent and those that come."""
    check_path(item.path)
    if not _VERSION.fullmatch(item.version):
        raise RecordRejected(
            "bad-header", f"{VERSION} {item.version[:40]!r} is not 32 lower-case hex digits"
        )
    if isinstance(item, Abort):
        return
    _check_number(INDEX, item.index, MAX_CHUNKS - 1)
    _check_number(START, item.start, MAX_SIZE)
    if (item.opening is None) == (item.index == 0):
        raise RecordRejected("bad-header", f"{PATH} and what goes with it belongs to index 0")
    if item.opening is not None:
        _check_opening(item.opening)
    if item.closing is not None:
        check_digest(item.closing.digest)
        _check_number(TOTAL_SIZE, item.closing.size, MAX_SIZE)
        _check_number(CHUNKS, item.closing.chunks, MAX_CHUNKS)
        _check_mtime(item.closing.mtime_ns)
    _check_sizes(item)


def _check_opening(opening: Opening) -> None:
    if opening.size is not None:
        _check_number(SIZE, opening.size, MAX_SIZE)
    _check_mtime(opening.mtime_ns)
    if len(opening.attributes) > MAX_ATTRIBUTES:
        detail = f"{len(opening.attributes)} attributes are too many; the limit is {MAX_ATTRIBUTES}"
        raise RecordRejected("bad-header", detail)
    for name, text in opening.attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise RecordRejected("bad-header", f"attribute {name[:80]!r}: bad name")
        _check_length(ATTRIBUTE + name, _utf8(text))


def _check_number(name: str, number: int, most: int) -> None:
    if not 0 <= number <= most:
        limit = f"over the limit {most}" if number > 0 else "negative"
        raise RecordRejected("bad-size", f"{name} {number} is {limit}")


def _check_mtime(mtime_ns: int | None) -> None:
    if mtime_ns is not None and abs(mtime_ns) > MAX_MTIME_NS:
        raise RecordRejected("bad-header", f"{MTIME} {mtime_ns} is not a time in nanoseconds")


def _check_length(name: str, raw: bytes) -> None:
    if len(raw) > MAX_TEXT_BYTES:
        raise RecordRejected("bad-header", f"{name[:80]} has more than {MAX_TEXT_BYTES} bytes")


def _check_sizes(chunk: Chunk) -> None:
    end = chunk.start + len(chunk.data)
    opening, closing = chunk.opening, chunk.closing
    if opening is not None:
        if chunk.start != 0:
            raise RecordRejected("bad-size", f"index 0 starts at {chunk.start}, not at 0")
        if opening.size is not None and end > opening.size:
            raise RecordRejected("bad-size", f"ends at {end}, after the size {opening.size}")
    if closing is None:
        if not chunk.data:
            raise RecordRejected("bad-size", "only the last record may be without bytes")
        if end > MAX_SIZE:
            raise RecordRejected("bad-size", f"ends at {end}, after the limit {MAX_SIZE}")
        return
    if closing.chunks != chunk.index + 1:
        raise RecordRejected(
            "bad-size", f"{closing.chunks} chunks, yet index {chunk.index} is last"
        )
    if end > closing.size:
        raise RecordRejected("bad-size", f"ends at {end}, after the total size {closing.size}")
    if opening is not None and end != closing.size:
        raise RecordRejected("bad-size", f"the only record ends at {end}, not at {closing.size}")
    if opening is not None and opening.size not in (None, closing.size):
        raise RecordRejected("bad-size", f"size {opening.size}, yet total size {closing.size}")


def _own_headers(pairs: Iterable[tuple[str, bytes | None]]) -> dict[str, bytes]:
    own: dict[str, bytes] = {}
    wrong = ""
    for name, value in pairs:
        if not name.startswith("openmsi."):
            continue  # tracing and other tools may add headers of their own
        if name in own:
            wrong = f"{name[:80]!r} comes twice"
        elif value is None:  # Kafka has null headers
            wrong = f"{name[:80]!r} is null"
        else:
            own[name] = value
    # What a later format allows is not ours to judge: the format comes first.
    if FORMAT not in own:
        raise RecordRejected("foreign", f"it has no {FORMAT} header")
    if own[FORMAT] != FORMAT_1:
        raise RecordRejected("unknown-format", f"{FORMAT} is {own[FORMAT][:20]!r}, this reads b'1'")
    if wrong:
        raise RecordRejected("bad-header", wrong)
    if len(own) > MAX_HEADERS:
        raise RecordRejected("bad-header", f"more than {MAX_HEADERS} openmsi headers")
    return own


def _required(headers: dict[str, bytes], name: str) -> bytes:
    raw = headers.get(name)
    if raw is None:
        raise RecordRejected("bad-header", f"{name} is missing")
    return raw


def _integer(headers: dict[str, bytes], name: str) -> int:
    raw = _required(headers, name)
    if not _INTEGER.fullmatch(raw):
        raise RecordRejected(
            "bad-header", f"{name} {raw[:40]!r} is not a decimal number of at most 19 digits"
        )
    return int(raw)


def _mtime(headers: dict[str, bytes]) -> int | None:
    raw = headers.get(MTIME)
    if raw is None:
        return None
    if not _SIGNED.fullmatch(raw):
        raise RecordRejected("bad-header", f"{MTIME} {raw[:40]!r} is not a time in nanoseconds")
    return int(raw)


def _text(headers: dict[str, bytes], name: str) -> str:
    raw = headers.get(name, b"")
    _check_length(name, raw)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise RecordRejected("bad-header", f"{name[:80]} is not UTF-8") from None


def _opening(path: Path, headers: dict[str, bytes]) -> Opening:
    if _required(headers, PATH) != path.encode():
        raise RecordRejected("bad-path", f"{PATH} differs from the key")
    size = _integer(headers, SIZE) if SIZE in headers else None
    attributes = {
        name[len(ATTRIBUTE) :]: _text(headers, name)
        for name in headers
        if name.startswith(ATTRIBUTE)
    }
    return Opening(size, _mtime(headers), _text(headers, SOURCE), attributes)


def _closing(headers: dict[str, bytes], opening: Opening | None) -> Closing:
    _required(headers, DIGEST)
    digest = Digest(_text(headers, DIGEST))
    size, chunks = _integer(headers, TOTAL_SIZE), _integer(headers, CHUNKS)
    return Closing(size, chunks, digest, _mtime(headers) if opening is None else None)
