"""The text beside a committed offset: read back as written; nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocol_strategies import versions

from openmsi.protocol import SafePoint, VersionId, decode_safe_point, encode_metadata
from openmsi.protocol.commit import MAX_METADATA_BYTES

A, B = VersionId("a" * 32), VersionId("b" * 32)


def test_the_text_is_json_with_the_position_and_the_open_versions() -> None:
    point = SafePoint(offset=10, position=25, open=frozenset({B, A}))
    assert encode_metadata(point) == f'["openmsi1",25,["{A}","{B}"]]'
    assert decode_safe_point(10, f'["openmsi1",25,["{A}","{B}"]]') == point


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**32), st.frozensets(versions, max_size=20))
def test_a_safe_point_is_read_back_as_written(
    offset: int, ahead: int, open_versions: frozenset[VersionId]
) -> None:
    point = SafePoint(offset, min(offset + ahead, 2**63 - 1), open_versions)
    assert decode_safe_point(offset, encode_metadata(point)) == point


def test_a_text_too_long_for_kafka_is_left_out_and_then_nothing_is_known() -> None:
    fits = SafePoint(0, 9, frozenset(VersionId(f"{n:032x}") for n in range(116)))
    over = SafePoint(0, 9, fits.open | {A})
    assert MAX_METADATA_BYTES - 35 < len(encode_metadata(fits)) <= MAX_METADATA_BYTES
    assert encode_metadata(over) == ""
    assert decode_safe_point(0, encode_metadata(over)) == SafePoint(0, 0)


def test_the_length_is_counted_in_bytes() -> None:
    wide = frozenset(VersionId("é" * 30 + str(n)) for n in range(100, 200))
    assert encode_metadata(SafePoint(0, 9, wide)) == ""


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "saved by another program",
        "{}",
        "[]",
        '["openmsi2",9,[]]',
        '["openmsi1"]',
        '["openmsi1",9]',
        '["openmsi1","9",[]]',
        '["openmsi1",9.5,[]]',
        '["openmsi1",-1,[]]',
        '["openmsi1",6,[]]',  # before the offset itself
        '["openmsi1",9223372036854775808,[]]',
        '["openmsi1",9,[1]]',
        '["openmsi1",9,["\\ud800"]]',
        '["openmsi1",9,[],' + "[" * 4000,
        "[" * 4000,
        '["openmsi1",9,[]] trailing',
        "\ud800",
    ],
)
def test_a_text_that_is_not_ours_means_that_nothing_is_known(text: str | None) -> None:
    assert decode_safe_point(7, text) == SafePoint(7, 7)


@given(st.integers(0, 2**63 - 1), st.text())
def test_any_text_gives_a_safe_point_that_skips_nothing_unknown(offset: int, text: str) -> None:
    assert decode_safe_point(offset, text) == SafePoint(offset, offset)
