"""Records of the OpenMSI programs in every layout, byte by byte, written by hand; and what is none.

Of msgpack, 97 to 9a begin an array of 7 to 10 fields, a0 to bf a short text, c4 bytes with their
length, cb a float of 8 bytes, and 00 to 7f stand for themselves. The hashes are of sha512sum.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from openmsi.protocol import Digest, Path
from openmsi.protocol.legacy import LegacyChunk

# Of b"hello\n", of b"world\n", of both together, and of nothing.
HELLO = bytes.fromhex(
    "e7c22b994c59d9cf2b48e549b1e24666636045930d3da7c1acb299d1c3b7f931"
    "f94aae41edda2c2b207a36e10f8bcb8d45223e54878f5b316e7ce3b6bc019629"
)
WORLD = bytes.fromhex(
    "e0494295cc1dfdd443d09f81913881a112745174778cc0c224ccc7137024fe41"
    "ddc73d909a7ea0f590f253a6a3c470cb9872b9e1ba06e61fbb7a5e9455eba6bb"
)
WHOLE = bytes.fromhex(
    "595beeb13e543b7107c182bb23ac7766bd62ab3122e250e90573eb540f895201"
    "22150e5f69bb99140bc47ab526c9b7b2a3b2402b09b44b7391501a149876765c"
)
EMPTY = bytes.fromhex(
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce"
    "47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
)


def sha512(raw: bytes) -> Digest:
    return Digest(f"sha512:{raw.hex()}")


class Golden(NamedTuple):
    """`hostile` takes the place of `name` in the sibling whose path leads elsewhere."""

    value: bytes
    chunk: LegacyChunk
    name: bytes
    hostile: bytes


GOLDEN = {
    "2021-05: the producer's own path": Golden(
        b"\x98"
        + (b"\xb5D:\\data\\ebsd\\scan.dat")
        + (b"\xa8scan.dat")
        + (b"\xc4\x40" + WHOLE)
        + (b"\xc4\x40" + HELLO)
        + (b"\x00\x01\x02")
        + (b"\xc4\x06hello\n"),
        LegacyChunk(Path("scan.dat"), sha512(WHOLE), 0, 2, 0, b"hello\n"),
        b"\xa8scan.dat",
        b"\xa8../s.dat",
    ),
    "2021-05-28: without it": Golden(
        b"\x97"
        + (b"\xa8scan.dat")
        + (b"\xc4\x40" + WHOLE)
        + (b"\xc4\x40" + WORLD)
        + (b"\x06\x02\x02")
        + (b"\xc4\x06world\n"),
        LegacyChunk(Path("scan.dat"), sha512(WHOLE), 1, 2, 6, b"world\n"),
        b"\xa8scan.dat",
        b"\xa8/etc/abc",
    ),
    "2021-06-16: with a directory": Golden(
        b"\x98"
        + (b"\xa8scan.dat")
        + (b"\xc4\x40" + HELLO)
        + (b"\xc4\x40" + HELLO)
        + (b"\x00\x01\x01")
        + (b"\xa8run 1/\xc3\xa9")
        + (b"\xc4\x06hello\n"),
        LegacyChunk(Path("run 1/\u00e9/scan.dat"), sha512(HELLO), 0, 1, 0, b"hello\n"),
        b"\xa8run 1/\xc3\xa9",
        b"\xa8../../ab",
    ),
    "2021-07-22: with something to append": Golden(
        b"\x99"
        + (b"\xa8scan.dat")
        + (b"\xc4\x40" + HELLO)
        + (b"\xc4\x40" + HELLO)
        + (b"\x00\x01\x01")
        + (b"\xa3a/b")
        + (b"\xa2_2")
        + (b"\xc4\x06hello\n"),
        LegacyChunk(Path("a/b/scan_2.dat"), sha512(HELLO), 0, 1, 0, b"hello\n"),
        b"\xa3a/b",
        b"\xa3../",
    ),
    "1.8.6.1: with a time": Golden(
        b"\x9a"
        + (b"\xa8scan.dat")
        + (b"\xc4\x40" + HELLO)
        + (b"\xc4\x40" + HELLO)
        + (b"\x00\x01\x01")
        + b"\xa0"
        + b"\xa0"
        + (b"\xc4\x06hello\n")
        + (b"\xcb\x41\xd9\x54\xfc\x40\x10\x00\x00"),
        LegacyChunk(
            Path("scan.dat"), sha512(HELLO), 0, 1, 0, b"hello\n", mtime_ns=1700000000_250000000
        ),
        b"\xa8scan.dat",
        b"\xa8C:\\a.dat",
    ),
    "1.8.6.1: without a time": Golden(
        b"\x9a"
        + (b"\xa5e.txt")
        + (b"\xc4\x40" + EMPTY)
        + (b"\xc4\x40" + EMPTY)
        + (b"\x00\x01\x01")
        + b"\xa0"
        + b"\xa0"
        + b"\xc4\x00"
        + (b"\xcb\x00\x00\x00\x00\x00\x00\x00\x00"),
        LegacyChunk(Path("e.txt"), sha512(EMPTY), 0, 1, 0, b""),
        b"\xa5e.txt",
        b"\xa5a/nul",
    ),
}


def value_of(**given: Any) -> bytes:
    """A record of ten fields with what is `given` instead of what would be right."""
    fields = {
        "filename": "scan.dat",
        "file_hash": HELLO,
        "chunk_hash": HELLO,
        "start": 0,
        "chunk_i": 1,
        "n_total": 1,
        "subdir": "",
        "append": "",
        "data": b"hello\n",
        "mtime": 0.0,
    }
    return msgspec.msgpack.encode([*(fields | given).values()])


DEEP = b"\x91" * 200_000
FOREIGN = {
    "nothing": b"",
    "one byte": b"\x99",
    "text": b"hello\n",
    "JSON": b'{"a": 1}',
    "a map": b"\x81\xa1a\x01",
    "six fields": b"\x96\xa1a" + b"\x00" * 5,
    "eleven fields": b"\x9b\xa1a" + b"\x00" * 10,
    "numbers": b"\x97" + b"\x01" * 7,
    "an array of another width": b"\xdc\x00\x07" + value_of()[1:],
    "no name first": b"\x99\xc4\x01a",
    "a name that is not UTF-8": value_of().replace(b"\xa8scan.dat", b"\xa8scan.da\xff"),
    "a name without end": b"\x99\xdb\xff\xff\xff\xffabc",
    "deep nesting in a field": b"\x99\xa1a" + DEEP,
    "deep nesting as the data": value_of().replace(b"\xc4\x06hello\n", DEEP),
    "maps without end": b"\x97\xa1a" + b"\xdf\xff\xff\xff\xff" * 1000,
    "bytes without end": b"\x97\xa1a\xc6\xff\xff\xff\xff",
    "a timestamp as the time": value_of()[:-9] + b"\xd6\xff\x65\x53\xf1\x00",
    "an extension as the data": value_of().replace(b"\xc4\x06hello\n", b"\xd4\x05\x00"),
    "text as the data": value_of(data="hello\n"),
    "text as a hash": value_of(file_hash="a"),
    "yes as a number": value_of(start=False),
    "a float as a number": value_of(chunk_i=1.0),
    "null as a directory": value_of(subdir=None),
    "a time as text": value_of(mtime="now"),
    "eight fields of neither layout": msgspec.msgpack.encode(["a", 1, 2, 3, 4, 5, 6, 7]),
}
