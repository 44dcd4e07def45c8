"""docs/protocol.md says what the code does: examples, names, reasons, limits, partitions."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

import pytest
from protocol_golden import GOLDEN

from openmsi.protocol import (
    DEFAULT_CHUNK_SIZE,
    KAFKA_DEFAULT_MAX_MESSAGE_BYTES,
    Record,
    SafePoint,
    VersionId,
    commit,
    decode_safe_point,
    digests,
    encode_metadata,
    native,
    paths,
    values,
)

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
GOLDEN_BLOCKS = dict(re.findall(r"^```golden (\S+)\n(.*?)^```$", DOCUMENT, re.M | re.S))


def section(title: str) -> str:
    return DOCUMENT.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def parse_record(block: str) -> Record:
    fields = []
    for line in block.splitlines():
        name, _, text = line.partition(" ")
        fields.append((name, codecs.decode(text.strip(), "unicode_escape").encode("latin-1")))
    (_, key), (_, value), *headers = fields
    return Record(key, value, headers)


def test_the_document_shows_every_golden_record_and_no_other() -> None:
    assert list(GOLDEN_BLOCKS) == list(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_record_is_shown_as_it_is(name: str) -> None:
    assert parse_record(GOLDEN_BLOCKS[name]) == GOLDEN[name][1]


def test_every_header_is_in_a_table_of_the_document_and_no_other_is() -> None:
    tables = {cells[0] for cells in rows(section("The record")) if cells[0].startswith("`openmsi.")}
    constants = {name: value for name, value in vars(native).items() if name.isupper()}
    names = {text for text in constants.values() if str(text).startswith("openmsi.")}
    names = {name + "NAME" if name.endswith(".") else name for name in names}
    assert tables == {f"`{name}`" for name in names}


def test_every_reason_of_a_rejection_is_in_the_document() -> None:
    reasons = set()
    for file in (ROOT / "src/openmsi/protocol").glob("*.py"):
        reasons |= set(re.findall(r'RecordRejected\(\s*"([^"]+)"', file.read_text("utf-8")))
    documented = {cells[0] for cells in rows(section("Receiving")) if "record" in cells[1]}
    assert documented == {f"`{reason}`" for reason in reasons}


def test_every_limit_has_the_number_of_the_code() -> None:
    limits = {label: int(number) for label, number in rows(section("Limits"))}
    assert limits == {
        "path, bytes": paths.MAX_PATH_BYTES,
        "name between two `/`, bytes": paths.MAX_NAME_BYTES,
        "headers with `openmsi.` in a record": native.MAX_HEADERS,
        "attributes": native.MAX_ATTRIBUTES,
        "text, bytes": native.MAX_TEXT_BYTES,
        "digits of a number": 19,
        "size and end of a chunk, bytes": values.MAX_SIZE,
        "chunks": values.MAX_CHUNKS,
        "magnitude of `openmsi.mtime-ns`": native.MAX_MTIME_NS,
        "commit metadata, bytes": commit.MAX_METADATA_BYTES,
    }
    assert f"The default chunk, {DEFAULT_CHUNK_SIZE} bytes" in DOCUMENT
    assert f"`max.message.bytes`, {KAFKA_DEFAULT_MAX_MESSAGE_BYTES}" in DOCUMENT
    assert (values.MAX_SIZE, values.MAX_CHUNKS) == (2**60, 2**40)
    assert f"at most {native.MAX_TEXT_BYTES} bytes" in DOCUMENT
    assert f"1 to {paths.MAX_PATH_BYTES} bytes" in DOCUMENT
    assert f"more than {paths.MAX_NAME_BYTES} bytes" in DOCUMENT


def test_every_digest_algorithm_is_in_the_document() -> None:
    (form,) = (cells[3] for cells in rows(section("The record")) if cells[0] == "`openmsi.digest`")
    assert re.findall(r"`(\w+):`", form) == list(digests._ALGORITHMS)


def test_the_commit_metadata_is_that_of_the_code() -> None:
    (text,) = re.findall(r"```json\n(.*)\n```", section("Committing"))
    a, b = (VersionId(each) for each in re.findall(r'"([0-9a-f]{32})"', text))
    point = SafePoint(20, 25, frozenset({a, b}))
    assert encode_metadata(point) == text
    assert decode_safe_point(20, text) == point


def test_the_partitions_are_those_of_kafkas_java_client() -> None:
    # The expected numbers of Kafka's own test of its murmur2.
    assert murmur2(b"21") == -973932308 & 0xFFFFFFFF
    assert murmur2(b"foobar") == -790332482 & 0xFFFFFFFF
    assert murmur2(b"abc") == 479470107
    table = rows(section("Key and partition"))
    assert len(table) == 4
    for key, number, partition in table:
        expected = murmur2(key.strip("`").encode())
        assert int(number.strip("`"), 16) == expected
        assert int(partition) == (expected & 0x7FFFFFFF) % 6


def murmur2(data: bytes) -> int:
    """As org.apache.kafka.common.utils.Utils.murmur2, without sign."""
    factor, mask = 0x5BD1E995, 0xFFFFFFFF
    state = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(data[at : at + 4], "little") * factor & mask
        word = (word ^ word >> 24) * factor & mask
        state = (state * factor & mask) ^ word
    if data[whole:]:
        state = (state ^ int.from_bytes(data[whole:], "little")) * factor & mask
    state = (state ^ state >> 13) * factor & mask
    return state ^ state >> 15
