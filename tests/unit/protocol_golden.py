"""Records of format 1, byte by byte, written by hand. docs/protocol.md shows the same ones."""

from __future__ import annotations

from openmsi.protocol import Abort, Chunk, Closing, Digest, Opening, Path, Record, VersionId

ONE = VersionId("00112233445566778899aabbccddeeff")
EMPTY = VersionId("e000000000000000000000000000000e")
THREE = VersionId("3333333333333333aaaaaaaaaaaaaaaa")
GROWING = VersionId("90000000000000000000000000000009")

GOLDEN: dict[str, tuple[Chunk | Abort, Record]] = {
    "one-record": (
        Chunk(
            path=Path("run 1/scan.csv"),
            version=ONE,
            index=0,
            start=0,
            data=b"hello\n",
            opening=Opening(
                size=6,
                mtime_ns=1700000000123456789,
                source="openmsi@sem-pc",
                attributes={"operator": "Zoë"},
            ),
            closing=Closing(
                size=6,
                chunks=1,
                digest=Digest(
                    "blake3:8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99"
                ),
            ),
        ),
        Record(
            key=b"run 1/scan.csv",
            value=b"hello\n",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"00112233445566778899aabbccddeeff"),
                ("openmsi.index", b"0"),
                ("openmsi.start", b"0"),
                ("openmsi.path", b"run 1/scan.csv"),
                ("openmsi.size", b"6"),
                ("openmsi.source", b"openmsi@sem-pc"),
                ("openmsi.attr.operator", b"Zo\xc3\xab"),
                ("openmsi.total-size", b"6"),
                ("openmsi.chunks", b"1"),
                (
                    "openmsi.digest",
                    b"blake3:8e4c7c1b99dbfd50e7a95185fead5ee1448fa904a2fdd778eaf5f2dbfd629a99",
                ),
                ("openmsi.mtime-ns", b"1700000000123456789"),
            ],
        ),
    ),
    "empty": (
        Chunk(
            path=Path("empty.dat"),
            version=EMPTY,
            index=0,
            start=0,
            data=b"",
            opening=Opening(size=0, mtime_ns=-1),
            closing=Closing(
                size=0,
                chunks=1,
                digest=Digest(
                    "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
                ),
            ),
        ),
        Record(
            key=b"empty.dat",
            value=b"",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"e000000000000000000000000000000e"),
                ("openmsi.index", b"0"),
                ("openmsi.start", b"0"),
                ("openmsi.path", b"empty.dat"),
                ("openmsi.size", b"0"),
                ("openmsi.total-size", b"0"),
                ("openmsi.chunks", b"1"),
                (
                    "openmsi.digest",
                    b"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
                ),
                ("openmsi.mtime-ns", b"-1"),
            ],
        ),
    ),
    "three-first": (
        Chunk(
            path=Path("ebsd/Ni-Ö.raw"),
            version=THREE,
            index=0,
            start=0,
            data=b"aaaa",
            opening=Opening(size=10, mtime_ns=1700000000000000000),
        ),
        Record(
            key=b"ebsd/Ni-\xc3\x96.raw",
            value=b"aaaa",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"3333333333333333aaaaaaaaaaaaaaaa"),
                ("openmsi.index", b"0"),
                ("openmsi.start", b"0"),
                ("openmsi.path", b"ebsd/Ni-\xc3\x96.raw"),
                ("openmsi.size", b"10"),
                ("openmsi.mtime-ns", b"1700000000000000000"),
            ],
        ),
    ),
    "three-middle": (
        Chunk(path=Path("ebsd/Ni-Ö.raw"), version=THREE, index=1, start=4, data=b"bbbb"),
        Record(
            key=b"ebsd/Ni-\xc3\x96.raw",
            value=b"bbbb",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"3333333333333333aaaaaaaaaaaaaaaa"),
                ("openmsi.index", b"1"),
                ("openmsi.start", b"4"),
            ],
        ),
    ),
    "three-last": (
        Chunk(
            path=Path("ebsd/Ni-Ö.raw"),
            version=THREE,
            index=2,
            start=8,
            data=b"cc",
            closing=Closing(
                size=10,
                chunks=3,
                digest=Digest(
                    "blake3:a42f8ebed61f608ac7d39e006d14968d7f1d83d82150c9a7a45b190204431bf3"
                ),
            ),
        ),
        Record(
            key=b"ebsd/Ni-\xc3\x96.raw",
            value=b"cc",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"3333333333333333aaaaaaaaaaaaaaaa"),
                ("openmsi.index", b"2"),
                ("openmsi.start", b"8"),
                ("openmsi.total-size", b"10"),
                ("openmsi.chunks", b"3"),
                (
                    "openmsi.digest",
                    b"blake3:a42f8ebed61f608ac7d39e006d14968d7f1d83d82150c9a7a45b190204431bf3",
                ),
            ],
        ),
    ),
    "abort": (
        Abort(
            path=Path("ebsd/Ni-Ö.raw"),
            version=THREE,
            reason="it changed while it was read",
        ),
        Record(
            key=b"ebsd/Ni-\xc3\x96.raw",
            value=b"",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"3333333333333333aaaaaaaaaaaaaaaa"),
                ("openmsi.abort", b"it changed while it was read"),
            ],
        ),
    ),
    "growing-first": (
        Chunk(
            path=Path("grow.dat"),
            version=GROWING,
            index=0,
            start=0,
            data=b"HEAD?...",
            opening=Opening(),
        ),
        Record(
            key=b"grow.dat",
            value=b"HEAD?...",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"90000000000000000000000000000009"),
                ("openmsi.index", b"0"),
                ("openmsi.start", b"0"),
                ("openmsi.path", b"grow.dat"),
            ],
        ),
    ),
    "growing-more": (
        Chunk(path=Path("grow.dat"), version=GROWING, index=1, start=8, data=b"0123456789"),
        Record(
            key=b"grow.dat",
            value=b"0123456789",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"90000000000000000000000000000009"),
                ("openmsi.index", b"1"),
                ("openmsi.start", b"8"),
            ],
        ),
    ),
    "growing-last": (
        Chunk(
            path=Path("grow.dat"),
            version=GROWING,
            index=2,
            start=4,
            data=b"5",
            closing=Closing(
                size=18,
                chunks=3,
                digest=Digest(
                    "blake3:613a8e2c802c0c48a4b6d493e45f12696a8555c024efebd043eaec1e5bbdb7dc"
                ),
                mtime_ns=1700000000000000000,
            ),
        ),
        Record(
            key=b"grow.dat",
            value=b"5",
            headers=[
                ("openmsi.format", b"1"),
                ("openmsi.version", b"90000000000000000000000000000009"),
                ("openmsi.index", b"2"),
                ("openmsi.start", b"4"),
                ("openmsi.total-size", b"18"),
                ("openmsi.chunks", b"3"),
                (
                    "openmsi.digest",
                    b"blake3:613a8e2c802c0c48a4b6d493e45f12696a8555c024efebd043eaec1e5bbdb7dc",
                ),
                ("openmsi.mtime-ns", b"1700000000000000000"),
            ],
        ),
    ),
}

# The whole content of each version above: the chunks in order, each written at its start.
CONTENTS = {
    ONE: b"hello\n",
    EMPTY: b"",
    THREE: b"aaaabbbbcc",
    GROWING: b"HEAD5...0123456789",
}
