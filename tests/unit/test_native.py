"""The native format: golden bytes, the round trip, every rejection, and whatever else may come.

The last test takes minutes; it runs with `pytest tests/unit/test_native.py -m slow`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocol_golden import CONTENTS, GOLDEN
from protocol_strategies import hostile_records, items
from test_paths import assert_stays_inside

from openmsi.errors import RecordRejected
from openmsi.protocol import (
    DEFAULT_CHUNK_SIZE,
    KAFKA_DEFAULT_MAX_MESSAGE_BYTES,
    Abort,
    Chunk,
    Closing,
    Digest,
    Opening,
    Path,
    Record,
    VersionId,
    algorithm_of,
    digest_of,
    encode,
    new_hasher,
)
from openmsi.protocol.native import decode_native as decode
from openmsi.protocol.native import is_native
from openmsi.protocol.values import MAX_CHUNKS, MAX_SIZE

V = VersionId("00112233445566778899aabbccddeeff")
P = Path("a/b.dat")
DIGEST = Digest("blake3:" + "0" * 64)
REASONS = {"foreign", "unknown-format", "bad-header", "bad-path", "bad-size", "bad-digest"}


# -- golden bytes ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_record_decodes_to_its_value(name: str) -> None:
    value, record = GOLDEN[name]
    assert decode(record) == value


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_value_encodes_to_its_bytes(name: str) -> None:
    value, record = GOLDEN[name]
    assert encode(value) == record


@pytest.mark.parametrize("version", CONTENTS)
def test_the_golden_chunks_written_in_order_give_content_and_digest(version: VersionId) -> None:
    content, closing = bytearray(), None
    for value, _ in GOLDEN.values():
        if isinstance(value, Chunk) and value.version == version:
            content[value.start : value.start + len(value.data)] = value.data
            closing = value.closing
    assert content == CONTENTS[version]
    assert closing is not None
    assert closing.size == len(content)
    hasher = new_hasher(algorithm_of(closing.digest))
    hasher.update(CONTENTS[version])
    assert closing.digest == digest_of(hasher, algorithm_of(closing.digest))


# -- round trip ------------------------------------------------------------------------------


@settings(max_examples=500)
@given(items)
def test_a_valid_value_comes_back_from_its_record(item: Chunk | Abort) -> None:
    record = encode(item)
    assert decode(record) == item
    assert is_native(record)


@given(items, st.randoms())
def test_the_order_of_headers_and_headers_of_others_do_not_matter(
    item: Chunk | Abort, random: Any
) -> None:
    record = encode(item)
    others = [("traceparent", b"x"), ("traceparent", b"y"), ("null", cast(bytes, None))]
    headers = [*record.headers, *others, ("openmsi.unheard-of", b"\xff")]
    random.shuffle(headers)
    assert decode(Record(record.key, record.value, headers)) == item


def test_a_null_value_counts_as_an_empty_one() -> None:
    value, record = GOLDEN["empty"]
    assert decode(Record(record.key, None, record.headers)) == value


def test_the_mtime_of_a_one_record_file_may_be_known_at_its_end_only() -> None:
    closing = Closing(1, 1, DIGEST, mtime_ns=7)
    decoded = decode(encode(Chunk(P, V, 0, 0, b"x", Opening(), closing)))
    assert isinstance(decoded, Chunk)
    assert decoded.opening == Opening(mtime_ns=7)


def test_the_default_chunk_fits_kafkas_default_limit_even_with_the_largest_headers() -> None:
    path = Path("/".join(["x" * 255] * 16))
    chunk = Chunk(
        path,
        V,
        0,
        0,
        b"x" * DEFAULT_CHUNK_SIZE,
        Opening(
            DEFAULT_CHUNK_SIZE,
            -(2**63) + 1,
            "s" * 1024,
            {f"{n:064}": "t" * 1024 for n in range(32)},
        ),
        Closing(DEFAULT_CHUNK_SIZE, 1, Digest("sha512:" + "0" * 128)),
    )
    record = encode(chunk)
    assert record.key is not None
    assert record.value is not None
    # A batch adds 61 bytes, a record at most 5 for each length and 21 for itself (KIP-98).
    size = 61 + 21 + 5 + len(record.key) + 5 + len(record.value) + 5
    size += sum(5 + len(name.encode()) + 5 + len(value) for name, value in record.headers)
    assert size <= KAFKA_DEFAULT_MAX_MESSAGE_BYTES


def test_a_source_and_a_reason_are_cut_to_their_limit_between_characters() -> None:
    opened = decode(encode(Chunk(P, V, 0, 0, b"x", Opening(source="é" * 512 + "é"))))
    assert isinstance(opened, Chunk)
    assert opened.opening == Opening(source="é" * 512)
    aborted = decode(encode(Abort(P, V, "x" + "é" * 600)))
    assert isinstance(aborted, Abort)
    assert aborted.reason == "x" + "é" * 511


def test_a_reason_may_quote_a_name_that_is_not_unicode() -> None:
    aborted = decode(encode(Abort(P, V, "cannot read caf\udce9")))
    assert isinstance(aborted, Abort)
    assert aborted.reason == "cannot read caf\\udce9"


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (Chunk(Path("../x"), V, 1, 0, b"x"), "bad-path"),
        (Chunk(P, VersionId("7"), 1, 0, b"x"), "bad-header"),
        (Chunk(P, V, -1, 0, b"x"), "bad-size"),
        (Chunk(P, V, 1, 0, b""), "bad-size"),
        (Chunk(P, V, 1, 0, b"x", None, Closing(1, 1, DIGEST)), "bad-size"),
        (Chunk(P, V, 1, 0, b"x", None, Closing(1, 2, Digest("md5:00"))), "bad-digest"),
        (Chunk(P, V, 1, 0, b"x", Opening()), "bad-header"),
        (Chunk(P, V, 0, 0, b"x", Opening(attributes={"a b": ""})), "bad-header"),
        (Chunk(P, V, 0, 0, b"x", Opening(attributes={"a": "x" * 1025})), "bad-header"),
        (Abort(P, VersionId(""), "x"), "bad-header"),
    ],
)
def test_a_value_that_receivers_would_reject_is_not_encoded(
    item: Chunk | Abort, reason: str
) -> None:
    with pytest.raises(RecordRejected) as caught:
        encode(item)
    assert caught.value.reason == reason


# -- every rejection -------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], None]


def put(**headers: bytes | None) -> Change:
    def change(fields: dict[str, Any]) -> None:
        fields["headers"].update({_name(name): value for name, value in headers.items()})

    return change


def drop(*names: str) -> Change:
    def change(fields: dict[str, Any]) -> None:
        for name in names:
            del fields["headers"][_name(name)]

    return change


def carry(value: bytes) -> Change:
    return lambda fields: fields.update(value=value)


def keyed(key: bytes | None) -> Change:
    return lambda fields: fields.update(key=key)


def _name(short: str) -> str:
    return "openmsi." + short.replace("_", "-")


def changed(name: str, changes: Iterable[Change]) -> Record:
    _, record = GOLDEN[name]
    fields: dict[str, Any] = msgspec.structs.asdict(record)
    fields["headers"] = dict(record.headers)
    for change in changes:
        change(fields)
    return Record(fields["key"], fields["value"], list(fields["headers"].items()))


many = {f"x{n}": b"" for n in range(61)}
attributes = {f"attr.{n}": b"" for n in range(33)}
too_much = b"%d" % (MAX_SIZE + 1)

REJECTED: list[tuple[str, str, str, list[Change]]] = [
    # reason, words of the detail, golden record, what is changed
    ("foreign", "no openmsi.format", "three-middle", [drop("format")]),
    ("foreign", "no openmsi.format", "three-middle", [put(format=None)]),
    ("unknown-format", "is b'2'", "three-middle", [put(format=b"2")]),
    ("unknown-format", "is b''", "three-middle", [put(format=b"")]),
    ("unknown-format", "is b'2'", "three-middle", [put(format=b"2", start=None)]),
    ("bad-header", "is null", "three-middle", [put(index=None)]),
    ("bad-header", "more than 64", "three-middle", [put(**many)]),
    ("bad-path", "no key", "three-middle", [keyed(None)]),
    ("bad-path", "empty", "three-middle", [keyed(b"")]),
    ("bad-path", "UTF-8", "three-middle", [keyed(b"\xff")]),
    ("bad-path", "dots and spaces", "three-middle", [keyed(b"../../etc/x")]),
    ("bad-path", "differs from the key", "three-first", [put(path=b"another")]),
    ("bad-header", "openmsi.path is missing", "three-first", [drop("path")]),
    ("bad-header", "belongs to index 0", "three-middle", [put(path=b"ebsd/Ni-\xc3\x96.raw")]),
    ("bad-header", "openmsi.version is missing", "three-middle", [drop("version")]),
    ("bad-header", "not 32", "three-middle", [put(version=b"0" * 31)]),
    ("bad-header", "not 32", "three-middle", [put(version=b"A" * 32)]),
    ("bad-header", "not 32", "three-middle", [put(version=b"0" * 32 + b"\n")]),
    ("bad-header", "not 32", "abort", [put(version=b"")]),
    ("bad-header", "openmsi.index is missing", "three-middle", [drop("index")]),
    ("bad-header", "openmsi.start is missing", "three-middle", [drop("start")]),
    ("bad-header", "not a decimal", "three-middle", [put(index=b"")]),
    ("bad-header", "not a decimal", "three-middle", [put(index=b"-1")]),
    ("bad-header", "not a decimal", "three-middle", [put(index=b"01")]),
    ("bad-header", "not a decimal", "three-middle", [put(index=b"1\n")]),
    ("bad-header", "not a decimal", "three-middle", [put(start="٣".encode())]),
    ("bad-header", "at most 19 digits", "three-middle", [put(start=b"1" * 20)]),
    ("bad-size", "over the limit", "three-middle", [put(index=b"%d" % MAX_CHUNKS)]),
    ("bad-size", "over the limit", "three-middle", [put(start=too_much)]),
    ("bad-size", "over the limit", "three-first", [put(size=too_much)]),
    ("bad-size", "over the limit", "three-last", [put(total_size=too_much)]),
    ("bad-size", "over the limit", "three-last", [put(chunks=b"%d" % (MAX_CHUNKS + 1))]),
    ("bad-size", "after the limit", "three-middle", [put(start=b"%d" % (MAX_SIZE - 3))]),
    ("bad-size", "not at 0", "three-first", [put(start=b"1")]),
    ("bad-size", "after the size 3", "three-first", [put(size=b"3")]),
    ("bad-size", "without bytes", "three-first", [carry(b"")]),
    ("bad-size", "without bytes", "three-middle", [carry(b"")]),
    ("bad-size", "yet index 2 is last", "three-last", [put(chunks=b"4")]),
    ("bad-size", "after the total size 9", "three-last", [put(total_size=b"9")]),
    ("bad-size", "only record ends at 6", "one-record", [drop("size"), put(total_size=b"7")]),
    ("bad-size", "size 7, yet total size 6", "one-record", [put(size=b"7")]),
    ("bad-header", "openmsi.digest is missing", "three-last", [drop("digest")]),
    ("bad-header", "openmsi.chunks is missing", "three-last", [drop("chunks")]),
    ("bad-header", "openmsi.total-size is missing", "three-last", [drop("total_size")]),
    ("bad-header", "missing", "three-last", [drop("digest", "chunks")]),
    ("bad-digest", "ALGORITHM:HEX", "three-last", [put(digest=b"md5:" + b"0" * 32)]),
    ("bad-digest", "wrong length", "three-last", [put(digest=b"blake3:00")]),
    ("bad-header", "not UTF-8", "three-last", [put(digest=b"\xff")]),
    ("bad-header", "nanoseconds", "three-first", [put(mtime_ns=b"now")]),
    ("bad-header", "nanoseconds", "three-first", [put(mtime_ns=b"-0")]),
    ("bad-header", "nanoseconds", "three-first", [put(mtime_ns=b"%d" % 2**63)]),
    ("bad-header", "nanoseconds", "growing-last", [put(mtime_ns=b"-%d" % 2**63)]),
    ("bad-header", "more than 1024", "three-first", [put(source=b"x" * 1025)]),
    ("bad-header", "not UTF-8", "three-first", [put(source=b"\xff")]),
    ("bad-header", "more than 1024", "abort", [put(abort=b"x" * 1025)]),
    ("bad-header", "not UTF-8", "abort", [put(abort=b"\xff")]),
    ("bad-header", "bad name", "three-first", [put(**{"attr.": b""})]),
    ("bad-header", "bad name", "three-first", [put(**{"attr.é": b""})]),
    ("bad-header", "bad name", "three-first", [put(**{"attr." + "x" * 65: b""})]),
    ("bad-header", "too many", "three-first", [put(**attributes)]),
    ("bad-header", "more than 1024", "three-first", [put(**{"attr.x": b"x" * 1025})]),
]


@pytest.mark.parametrize(("reason", "words", "name", "changes"), REJECTED)
def test_a_record_that_breaks_a_rule_is_rejected_by_name(
    reason: str, words: str, name: str, changes: list[Change]
) -> None:
    with pytest.raises(RecordRejected) as caught:
        decode(changed(name, changes))
    assert caught.value.reason == reason
    assert words in caught.value.detail


def test_a_header_of_ours_that_comes_twice_is_rejected() -> None:
    _, record = GOLDEN["three-middle"]
    with pytest.raises(RecordRejected, match=r"'openmsi\.index' comes twice"):
        decode(Record(record.key, record.value, [*record.headers, ("openmsi.index", b"1")]))


def test_a_record_of_another_program_is_foreign() -> None:
    record = Record(b"key", b"value", [("content-type", b"text/plain")])
    assert not is_native(record)
    with pytest.raises(RecordRejected) as caught:
        decode(record)
    assert caught.value.reason == "foreign"


def test_the_largest_numbers_are_allowed() -> None:
    closing = Closing(MAX_SIZE, MAX_CHUNKS, DIGEST, 2**63 - 1)
    chunk = Chunk(P, V, MAX_CHUNKS - 1, MAX_SIZE, b"", None, closing)
    assert decode(encode(chunk)) == chunk
    chunk = Chunk(P, V, 1, MAX_SIZE - 1, b"x")
    assert decode(encode(chunk)) == chunk
    value, _ = GOLDEN["three-middle"]
    assert decode(changed("three-middle", [put(**{f"x{n}": b"" for n in range(60)})])) == value


# -- whatever may come -----------------------------------------------------------------------


def assert_a_value_or_a_named_rejection(record: Record) -> None:
    try:
        value = decode(record)
    except RecordRejected as rejected:
        assert rejected.reason in REASONS
        assert 0 < len(rejected.detail) < 2000
        rejected.detail.encode()
        return
    assert_stays_inside(value.path)
    assert decode(encode(value)) == value


@settings(max_examples=1000)
@given(hostile_records)
def test_a_hostile_record_gives_a_value_or_a_named_rejection(record: Record) -> None:
    assert_a_value_or_a_named_rejection(record)


@pytest.mark.slow
@settings(max_examples=100_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile_records)
def test_100_000_hostile_records_give_a_value_or_a_named_rejection(record: Record) -> None:
    assert_a_value_or_a_named_rejection(record)
