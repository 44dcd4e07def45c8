"""What hypothesis makes of the protocol: valid values, records gone wrong, hostile paths."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import cast

from hypothesis import strategies as st

from openmsi.errors import RecordRejected
from openmsi.protocol import Abort, Chunk, Closing, Digest, Opening, Path, Record, VersionId
from openmsi.protocol import encode as encode_record
from openmsi.protocol.paths import check_path
from openmsi.protocol.values import MAX_CHUNKS, MAX_SIZE

Header = tuple[str, bytes]

# Names that files of laboratories have, or could have: each must be allowed.
ODD_NAMES = [
    "12:30:05.csv",
    "2024-01-31T12:30:05+01:00.log",
    "a name with  spaces .txt",
    "tab\tnewline\nreturn\r.txt",
    "\x1b[31mred",
    "-rf",
    "--help",
    "~",
    "~user",
    "$HOME",
    "%TEMP%",
    "a*b?c|d<e>f\"g'h`",
    "back\\slash",
    "dots...inside",
    "dot at the end.",
    "..two dots first",
    "...three",
    ".hidden",
    "Scan.TIF",
    "scan.tif",
    "conference.txt",
    "console",
    "auxiliary.csv",
    "com10",
    "null",
    "x" * 255,
    "µ" * 127,
    "日本語.dat",
    "😀",
    "Zoë",
    "K-Ω-\u017f",
]

# Where a hostile path would lead, and why it must not be taken.
HOSTILE_PATHS = [
    ("", "empty"),
    ("a\0b", "NUL"),
    ("\ud800", "valid Unicode"),
    ("x" * 4097, "more than 4096"),
    ("é" * 2049, "more than 4096"),
    ("x" * 256, "more than 255"),
    ("a/" + "é" * 128 + "/b", "more than 255"),
    ("Zoe\u0308", "NFC"),
    ("\u212a", "NFC"),
    ("/etc/passwd", "absolute"),
    ("//server/share/x", "absolute"),
    ("\\Windows\\x", "absolute"),
    ("\\\\server\\share\\x", "absolute"),
    ("\\\\?\\C:\\x", "absolute"),
    ("\\??\\C:\\x", "absolute"),
    ("C:/x", "drive"),
    ("C:\\x", "drive"),
    ("c:x", "drive"),
    ("1:x", "drive"),
    ("é:x", "drive"),
    ("a/C:/x", "drive letter"),
    ("a\\C:\\x", "drive letter"),
    ("a/c:x", "drive letter"),
    ("../../etc/x", "dots and spaces"),
    ("a/../../x", "dots and spaces"),
    ("a/..", "dots and spaces"),
    ("..", "dots and spaces"),
    (".", "dots and spaces"),
    ("./a", "dots and spaces"),
    ("a/./b", "dots and spaces"),
    ("..\\..\\x", "dots and spaces"),
    ("a\\..\\..\\x", "dots and spaces"),
    ("a/b\\..\\..\\..\\x", "dots and spaces"),
    ("a\\..", "dots and spaces"),
    ("a/.. /b", "dots and spaces"),
    ("...", "dots and spaces"),
    ("a/. .", "dots and spaces"),
    ("a/ ", "dots and spaces"),
    ("a/..:x", "dots and spaces"),
    ("a/:x", "dots and spaces"),
    ("a//b", "empty part"),
    ("a/", "empty part"),
    ("a\\\\b", "empty part"),
    ("a\\", "empty part"),
    ("a/\\b", "empty part"),
    ("CON", "reserved"),
    ("nul", "reserved"),
    ("a/NUL.tar.gz", "reserved"),
    ("a\\nul.txt", "reserved"),
    ("Aux .csv", "reserved"),
    ("prn:x", "reserved"),
    ("COM1", "reserved"),
    ("lpt9.log/x", "reserved"),
    ("com¹", "reserved"),
    ("conin$", "reserved"),
    ("CONOUT$.x", "reserved"),
    ("nul.\n", "reserved"),
    (".openmsi/x", "unfinished"),
    (".openmsi", "unfinished"),
    (".OpenMSI/x", "unfinished"),
    (".openm\u017fi/x", "unfinished"),
    (".open\u200cmsi/x", "unfinished"),
    (".openmsi. ./x", "unfinished"),
    (".openmsi\\x", "unfinished"),
    (".openmsi:x", "unfinished"),
    ("OPENMS~1/x", "unfinished"),
    ("OP1A2B~1/x", "unfinished"),
]

HOSTILE_VALUES: list[bytes | None] = [
    None,
    b"",
    b"0",
    b"1",
    b"2",
    b"-1",
    b"-0",
    b"+1",
    b"01",
    b" 1",
    b"1\n",
    b"1_0",
    b"1e3",
    b"0x1",
    b"1.0",
    b"NaN",
    "٣".encode(),
    "\uff11".encode(),
    b"1\xb9",
    b"9" * 18,
    b"9" * 19,
    b"9" * 20,
    b"9" * 5000,
    b"-" + b"9" * 19,
    b"\xff\xfe",
    b"\0",
    b"x" * 1025,
    b"0" * 32,
    b"F" * 32,
    b"blake3:",
    b"blake3:" + b"0" * 64,
    b"md5:" + b"0" * 32,
    b"sha512:" + b"0" * 64,
]


def _is_allowed(text: str) -> bool:
    try:
        check_path(text)
    except RecordRejected:
        return False
    return True


_name = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
_names = st.lists(_name | st.sampled_from(ODD_NAMES), min_size=1, max_size=4)
paths = (
    _names.map("/".join)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(_is_allowed)
    .map(Path)
)
versions = st.binary(min_size=16, max_size=16).map(lambda raw: VersionId(raw.hex()))
digests = st.sampled_from([("blake3", 32), ("sha256", 32), ("sha512", 64)]).flatmap(
    lambda kind: st.binary(min_size=kind[1], max_size=kind[1]).map(
        lambda raw: Digest(f"{kind[0]}:{raw.hex()}")
    )
)
mtimes = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
# Four bytes at most for a character, 1024 for a text.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=256)
attributes = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), texts, max_size=4
)


@st.composite
def chunks(draw: st.DrawFn) -> Chunk:
    """Any valid chunk."""
    is_first, is_last = draw(st.booleans()), draw(st.booleans())
    data = draw(st.binary(min_size=0 if is_last else 1, max_size=64))
    index = 0 if is_first else draw(st.integers(1, MAX_CHUNKS - 1))
    start = 0 if is_first else draw(st.integers(0, MAX_SIZE - len(data)))
    end = start + len(data)
    size = end if is_first and is_last else draw(st.integers(end, MAX_SIZE))
    opening = closing = None
    if is_first:
        opening = Opening(
            draw(st.sampled_from([None, size])), draw(mtimes), draw(texts), draw(attributes)
        )
    if is_last:
        closing = Closing(size, index + 1, draw(digests), None if is_first else draw(mtimes))
    return Chunk(draw(paths), draw(versions), index, start, data, opening, closing)


aborts = st.builds(Abort, paths, versions, texts)
items = chunks() | aborts

hostile_paths = (
    st.sampled_from([text for text, _ in HOSTILE_PATHS])
    | st.lists(
        st.sampled_from(["..", ".", "/", "\\", ":", "C:", "nul", "\0", " ", "a", ".openmsi", "~1"]),
        max_size=8,
    ).map("".join)
    | st.text(max_size=20)
).map(lambda text: text.encode(errors="surrogatepass"))

_Change = Callable[[list[Header], st.DrawFn], None]


def _at(headers: list[Header], draw: st.DrawFn) -> int:
    return draw(st.integers(0, len(headers) - 1))


def _drop(headers: list[Header], draw: st.DrawFn) -> None:
    del headers[_at(headers, draw)]


def _repeat(headers: list[Header], draw: st.DrawFn) -> None:
    headers.insert(_at(headers, draw), headers[_at(headers, draw)])


def _replace(headers: list[Header], draw: st.DrawFn) -> None:
    at = _at(headers, draw)
    value = draw(st.sampled_from(HOSTILE_VALUES) | st.binary(max_size=80) | hostile_paths)
    headers[at] = (headers[at][0], cast(bytes, value))


def _garble(headers: list[Header], draw: st.DrawFn) -> None:
    at = _at(headers, draw)
    name, value = headers[at]
    if value:
        where = draw(st.integers(0, len(value) - 1))
        byte = draw(st.binary(min_size=1, max_size=1))
        headers[at] = (name, value[:where] + byte + value[where + 1 :])


def _rename(headers: list[Header], draw: st.DrawFn) -> None:
    at = _at(headers, draw)
    headers[at] = (draw(_header_names), headers[at][1])


def _swap(headers: list[Header], draw: st.DrawFn) -> None:
    one, other = _at(headers, draw), _at(headers, draw)
    headers[one], headers[other] = (
        (headers[one][0], headers[other][1]),
        (headers[other][0], headers[one][1]),
    )


def _crowd(headers: list[Header], draw: st.DrawFn) -> None:
    prefix = draw(st.sampled_from(["openmsi.", "openmsi.attr.", "x-"]))
    headers += [(f"{prefix}{n}", b"") for n in range(draw(st.integers(30, 70)))]


_header_names = st.sampled_from(
    [
        "openmsi.format",
        "openmsi.version",
        "openmsi.index",
        "openmsi.start",
        "openmsi.path",
        "openmsi.size",
        "openmsi.mtime-ns",
        "openmsi.source",
        "openmsi.attr.x",
        "openmsi.attr.",
        "openmsi.attr.é",
        "openmsi.total-size",
        "openmsi.chunks",
        "openmsi.digest",
        "openmsi.abort",
        "openmsi.",
        "openmsi.unheard-of",
        "OPENMSI.FORMAT",
        "",
    ]
) | st.text(max_size=10).map("openmsi.".__add__)
_changes: list[_Change] = [_drop, _repeat, _replace, _garble, _rename, _swap, _crowd]


@st.composite
def broken_records(draw: st.DrawFn) -> Record:
    """A valid record after a few changes that nobody would make by accident."""
    record = encode_record(draw(items))
    key, value, headers = record.key, record.value, list(record.headers)
    if draw(st.booleans()):
        key = draw(st.none() | hostile_paths | st.binary(max_size=20))
        if draw(st.booleans()) and key is not None:  # consistent: the path header says the same
            headers = [(n, key if n == "openmsi.path" else v) for n, v in headers]
    if draw(st.integers(0, 3)) == 0:
        value = draw(st.none() | st.binary(max_size=100))
    for change in draw(st.lists(st.sampled_from(_changes), max_size=4)):
        if headers:
            change(headers, draw)
    return Record(key, value, headers)


@st.composite
def random_records(draw: st.DrawFn) -> Record:
    """Anything that Kafka can carry, sometimes under our names."""
    names = _header_names | st.text(max_size=10)
    values = st.none() | st.binary(max_size=40) | st.sampled_from(HOSTILE_VALUES)
    headers = draw(st.lists(st.tuples(names, values), max_size=12))
    if draw(st.booleans()):
        headers.insert(0, ("openmsi.format", b"1"))
    key = draw(st.none() | st.binary(max_size=40) | hostile_paths)
    return Record(key, draw(st.none() | st.binary(max_size=40)), cast(list[Header], headers))


hostile_records = broken_records() | random_records()
