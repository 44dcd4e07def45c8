"""The records of the OpenMSI programs: golden bytes of every layout, siblings of each gone wrong,
round trips, and whatever else may come."""

from __future__ import annotations

import hashlib
import math
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from legacy_golden import EMPTY, FOREIGN, GOLDEN, HELLO, WHOLE, WORLD, sha512, value_of
from protocol_strategies import HOSTILE_PATHS, ODD_NAMES, paths
from test_paths import assert_stays_inside

from openmsi.errors import RecordRejected
from openmsi.protocol import Digest, Path
from openmsi.protocol.legacy import (
    LegacyChunk,
    decode_legacy,
    encode_legacy,
    is_legacy,
    legacy_version,
)
from openmsi.protocol.values import MAX_CHUNKS, MAX_SIZE

REASONS = {"foreign", "bad-path", "bad-size", "bad-mtime", "bad-digest"}

each_golden = pytest.mark.parametrize("name", GOLDEN)


def rejection(value: bytes) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        decode_legacy(value)
    assert caught.value.reason in REASONS
    assert caught.value.detail
    return caught.value


# -- golden bytes and their siblings -----------------------------------------------------------


@each_golden
def test_a_golden_record_decodes_to_its_chunk(name: str) -> None:
    assert decode_legacy(GOLDEN[name].value) == GOLDEN[name].chunk


@each_golden
def test_a_golden_record_is_known_for_what_it_is(name: str) -> None:
    assert is_legacy(GOLDEN[name].value)


@each_golden
def test_a_wrong_chunk_hash_is_rejected(name: str) -> None:
    value, chunk, *_ = GOLDEN[name]
    right = hashlib.sha512(chunk.data).digest()
    at = value.rindex(right)  # the second of the two, where they are the same
    assert rejection(value[:at] + bytes([right[0] ^ 1]) + value[at + 1 :]).reason == "bad-digest"


@each_golden
def test_a_truncated_record_is_rejected(name: str) -> None:
    value = GOLDEN[name].value
    for length in range(len(value)):
        assert rejection(value[:length]).reason == "foreign"


@each_golden
def test_a_hostile_path_is_rejected(name: str) -> None:
    value, _, named, hostile = GOLDEN[name]
    assert value.count(named) == 1
    assert len(named) == len(hostile)
    assert rejection(value.replace(named, hostile)).reason == "bad-path"


@each_golden
def test_bytes_after_the_record_are_rejected(name: str) -> None:
    assert rejection(GOLDEN[name].value + b"\x00").reason == "foreign"


def test_nine_fields_are_written_as_todays_programs_write_them() -> None:
    record = encode_legacy(LegacyChunk(Path("a/b/scan.dat"), sha512(WHOLE), 1, 2, 6, b"world\n"))
    assert record.key == b"a_b_scan.dat_chunk_2_of_2"
    assert record.headers == []
    assert record.value == (
        b"\x99"
        + (b"\xa8scan.dat")
        + (b"\xc4\x40" + WHOLE)
        + (b"\xc4\x40" + WORLD)
        + (b"\x06\x02\x02")
        + (b"\xa3a/b")
        + b"\xa0"
        + (b"\xc4\x06world\n")
    )


def test_ten_fields_end_with_the_time() -> None:
    chunk = GOLDEN["1.8.6.1: with a time"].chunk
    record = encode_legacy(chunk, fields=10)
    assert record.key == b"_scan.dat_chunk_1_of_1"  # a file that is in no directory
    assert record.value == GOLDEN["1.8.6.1: with a time"].value


def test_no_time_is_written_as_zero() -> None:
    golden = GOLDEN["1.8.6.1: without a time"]
    assert encode_legacy(golden.chunk, fields=10).value == golden.value


# -- versions ----------------------------------------------------------------------------------


def test_a_version_is_made_of_path_and_content() -> None:
    one = GOLDEN["2021-05-28: without it"].chunk
    assert one.version == legacy_version(one.path, one.digest)
    assert len(one.version) == 32
    assert int(one.version, 16)
    assert one.version == GOLDEN["2021-05: the producer's own path"].chunk.version
    assert one.version != GOLDEN["1.8.6.1: with a time"].chunk.version
    assert one.version != legacy_version(Path("scan2.dat"), one.digest)


# -- names -------------------------------------------------------------------------------------


# What the program of today makes of them.
APPENDED = {
    "a.b.txt": "a.b_x.txt",
    "abc": "abc_x",
    ".abc": ".abc_x",
    "abc.": "abc._x",
    "a.tar.gz": "a.tar_x.gz",
    ".a.b": ".a_x.b",
    "..x": "._x.x",
    "a..b": "a._x.b",
    "a..": "a.._x",
}


@pytest.mark.parametrize("name", APPENDED)
def test_what_is_appended_goes_before_the_suffix(name: str) -> None:
    assert decode_legacy(value_of(filename=name, append="_x")).path == APPENDED[name]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_are_taken(name: str) -> None:
    assert decode_legacy(value_of(filename=name, subdir="a")).path == f"a/{name}"


def test_a_dot_for_a_directory_means_none() -> None:
    assert decode_legacy(value_of(subdir=".")).path == "scan.dat"


def test_a_name_with_a_directory_is_taken_apart_before_something_is_appended() -> None:
    assert decode_legacy(value_of(filename="a.b/c", append="_x")).path == "a.b/c_x"


def test_a_name_from_a_mac_is_normalised() -> None:
    assert decode_legacy(value_of(filename="Zoe\u0308.txt")).path == "Zo\u00eb.txt"


@pytest.mark.parametrize("hostile", [path for path, why in HOSTILE_PATHS if "NFC" not in why])
def test_hostile_names_are_rejected(hostile: str) -> None:
    try:
        hostile.encode()
    except UnicodeEncodeError:
        raw = hostile.encode(errors="surrogatepass")
        value = value_of().replace(b"\xa8scan.dat", bytes([0xA0 + len(raw)]) + raw)
        assert rejection(value).reason == "foreign"
        return
    assert rejection(value_of(filename=hostile)).reason == "bad-path"


@pytest.mark.parametrize("append", ["/../../../x", "/../..", "\0", "x" * 300])
def test_what_is_appended_cannot_lead_outside(append: str) -> None:
    assert rejection(value_of(append=append)).reason == "bad-path"


def test_a_huge_name_is_rejected_before_any_work_on_it() -> None:
    assert rejection(value_of(filename="a" + "\u0323\u0307" * 300_000)).reason == "bad-path"


# -- numbers and hashes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {"chunk_i": 0},
        {"chunk_i": -1},
        {"chunk_i": 2},
        {"n_total": 0},
        {"n_total": -1},
        {"n_total": MAX_CHUNKS + 1},
        {"n_total": 2**64 - 1},
        {"start": -1, "n_total": 2},
        {"start": 1},
        {"start": MAX_SIZE, "n_total": 2},
        {"start": 2**64 - 1, "n_total": 2},
        {"data": b"", "chunk_hash": EMPTY, "n_total": 2},
    ],
)
def test_sizes_and_counts_that_cannot_be_are_rejected(given: dict[str, Any]) -> None:
    assert rejection(value_of(**given)).reason == "bad-size"


def test_the_largest_file_of_most_chunks_is_taken() -> None:
    chunk = decode_legacy(value_of(start=MAX_SIZE - 6, chunk_i=MAX_CHUNKS, n_total=MAX_CHUNKS))
    assert chunk.index == MAX_CHUNKS - 1
    assert chunk.start + len(chunk.data) == MAX_SIZE


@pytest.mark.parametrize("name", ["file_hash", "chunk_hash"])
@pytest.mark.parametrize("wrong", [b"", HELLO[:63], HELLO + b"\0"])
def test_a_hash_of_another_length_is_rejected(name: str, wrong: bytes) -> None:
    assert rejection(value_of(**{name: wrong})).reason == "bad-digest"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, 1e10, -1e300, 2**63])
def test_a_time_that_is_none_is_rejected(wrong: float) -> None:
    assert rejection(value_of(mtime=wrong)).reason == "bad-mtime"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, None),
        (-0.0, None),
        (1, 10**9),
        (-5.5, -5_500_000_000),
        (1700000000.1234567, 1700000000_123456717),
        (9223372036, 9223372036 * 10**9),
    ],
)
def test_times_are_as_exact_as_the_record(seconds: float, expected: int | None) -> None:
    assert decode_legacy(value_of(mtime=seconds)).mtime_ns == expected


# -- what is not such a record -----------------------------------------------------------------


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_such_record_is_foreign(name: str) -> None:
    assert rejection(FOREIGN[name]).reason == "foreign"


def test_a_null_value_is_no_such_record() -> None:
    assert not is_legacy(None)


def test_text_and_numbers_are_not_taken_for_such_records() -> None:
    assert not any(is_legacy(FOREIGN[name]) for name in ("text", "JSON", "a map", "numbers"))


def test_a_name_of_any_width_is_seen() -> None:
    for head in (b"\xa0", b"\xbf", b"\xd9", b"\xda", b"\xdb"):
        assert is_legacy(b"\x97" + head)


# -- encoding refuses what would stop a reader -------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"path": Path("../x")}, "bad-path"),
        ({"path": Path("Zoe\u0308")}, "bad-path"),
        ({"digest": Digest("blake3:" + "0" * 64)}, "bad-digest"),
        ({"digest": Digest("sha512:00")}, "bad-digest"),
        ({"index": 1}, "bad-size"),
        ({"index": -1}, "bad-size"),
        ({"chunks": 0}, "bad-size"),
        ({"start": 1}, "bad-size"),
        ({"start": -1, "chunks": 2}, "bad-size"),
        ({"start": MAX_SIZE, "chunks": 2}, "bad-size"),
        ({"data": b"", "chunks": 2}, "bad-size"),
        ({"mtime_ns": 2**63}, "bad-mtime"),
    ],
)
def test_a_chunk_that_readers_would_reject_is_not_encoded(
    wrong: dict[str, Any], reason: str
) -> None:
    chunk = LegacyChunk(Path("a/b"), sha512(HELLO), 0, 1, 0, b"hello\n")
    with pytest.raises(RecordRejected) as caught:
        encode_legacy(msgspec.structs.replace(chunk, **wrong), fields=10)
    assert caught.value.reason == reason


# -- any chunk, any bytes ----------------------------------------------------------------------


@st.composite
def chunks(draw: st.DrawFn) -> LegacyChunk:
    count = draw(st.integers(1, 3) | st.integers(1, MAX_CHUNKS))
    data = draw(st.binary(min_size=1 if count > 1 else 0, max_size=64))
    return LegacyChunk(
        path=draw(paths),
        digest=sha512(draw(st.binary(min_size=64, max_size=64))),
        index=draw(st.integers(0, count - 1)),
        chunks=count,
        start=draw(st.integers(0, MAX_SIZE - len(data))) if count > 1 else 0,
        data=data,
        # Whole milliseconds come back exactly, from 1970 to 2255.
        mtime_ns=draw(st.none() | st.integers(1, 9 * 10**12).map(lambda ms: ms * 10**6)),
    )


@settings(max_examples=300)
@given(chunks(), st.sampled_from([9, 10]))
def test_what_is_encoded_decodes_to_the_same(chunk: LegacyChunk, fields: Literal[9, 10]) -> None:
    value = encode_legacy(chunk, fields).value
    assert value is not None
    back = decode_legacy(value)
    assert back.version == chunk.version
    time = back.mtime_ns
    assert msgspec.structs.replace(back, mtime_ns=None) == msgspec.structs.replace(
        chunk, mtime_ns=None
    )
    if fields == 10 and chunk.mtime_ns is not None:
        assert time is not None
        assert abs(time - chunk.mtime_ns) < 1000  # a float holds microseconds until 2255
    else:
        assert time is None


_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=70)
    | st.sampled_from([HELLO, "", "a/b", "..", b"hello\n"])
)
_fields = _leaves | st.lists(_leaves, max_size=3) | st.dictionaries(st.text(), _leaves, max_size=2)


@settings(max_examples=300)
@given(
    st.binary(max_size=200) | st.lists(_fields, min_size=6, max_size=11).map(msgspec.msgpack.encode)
)
def test_any_bytes_are_a_chunk_or_named_rejection(value: bytes) -> None:
    assert_harmless(value)


@settings(max_examples=500)
@given(
    st.sampled_from(sorted(GOLDEN)),
    st.integers(0, 300),
    st.binary(max_size=9),
    st.integers(0, 9),
)
def test_a_damaged_record_is_a_chunk_or_a_named_rejection(
    name: str, at: int, patch: bytes, removed: int
) -> None:
    value = GOLDEN[name].value
    assert_harmless(value[:at] + patch + value[at + removed :])


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "filename": st.text(max_size=20) | st.sampled_from([path for path, _ in HOSTILE_PATHS]),
            "subdir": st.text(max_size=20) | st.sampled_from([path for path, _ in HOSTILE_PATHS]),
            "append": st.text(max_size=9) | st.sampled_from(["/..", "\\..\\", ":", ". ."]),
            "start": st.integers(-(2**63), 2**64 - 1),
            "chunk_i": st.integers(-(2**63), 2**64 - 1),
            "n_total": st.integers(-(2**63), 2**64 - 1),
            "mtime": st.floats() | st.integers(-(2**63), 2**64 - 1),
        },
    )
)
def test_any_names_and_numbers_are_a_chunk_or_a_named_rejection(given: dict[str, Any]) -> None:
    try:
        value = value_of(**given)
    except UnicodeEncodeError:
        return  # half a surrogate pair cannot be written as msgpack text
    assert_harmless(value)


def assert_harmless(value: bytes) -> None:
    """`value` decodes to a chunk that can be encoded again, or is rejected by name."""
    try:
        chunk = decode_legacy(value)
    except RecordRejected as rejected:
        assert rejected.reason in REASONS
        return
    assert_stays_inside(chunk.path)
    again = encode_legacy(chunk, fields=10).value
    assert again is not None
    assert decode_legacy(again).version == chunk.version
