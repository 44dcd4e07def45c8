"""Paths: what may be one, what must never be, and that none leads out of a destination."""

from __future__ import annotations

import ntpath
import posixpath
import unicodedata
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_strategies import HOSTILE_PATHS, ODD_NAMES, hostile_paths, paths

from openmsi.errors import RecordRejected
from openmsi.protocol import Path, check_path, to_path
from openmsi.protocol.paths import decode_path


def assert_stays_inside(path: Path) -> None:
    """Joined to a destination, `path` names something below it, on any system."""
    flavours: list[tuple[ModuleType, str]] = [(posixpath, "/data/out"), (ntpath, "D:\\data\\out")]
    for flavour, destination in flavours:
        joined = flavour.normpath(flavour.join(destination, path))
        assert joined.startswith(destination + flavour.sep), (flavour.__name__, path, joined)
        assert len(joined) > len(destination) + 1, (flavour.__name__, path)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_an_odd_name_is_a_path_alone_and_in_a_directory(name: str) -> None:
    assert check_path(name) == name
    assert check_path(f"run/{name}/x") == f"run/{name}/x"
    assert decode_path(name.encode()) == name
    assert_stays_inside(check_path(name))


def test_names_that_differ_in_case_only_are_two_paths() -> None:
    assert check_path("Scan.tif") != check_path("scan.tif")


def test_one_digit_hours_are_allowed_below_the_first_part() -> None:
    assert check_path("2024-01-31/9:30.csv") == "2024-01-31/9:30.csv"


def test_the_longest_path_is_allowed_and_one_byte_more_is_not() -> None:
    longest = "yy/" + "/".join(["x" * 255] * 15 + ["x" * 253])
    assert len(longest) == 4096
    assert check_path(longest) == longest
    with pytest.raises(RecordRejected, match="4097 bytes, more than 4096"):
        check_path("y" + longest)


@pytest.mark.parametrize(
    ("text", "why"), HOSTILE_PATHS, ids=[repr(t)[:40] for t, _ in HOSTILE_PATHS]
)
def test_a_hostile_path_is_rejected_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        check_path(text)
    assert caught.value.reason == "bad-path"
    assert why in caught.value.detail
    assert len(caught.value.detail) < 2000
    caught.value.detail.encode()  # a dead letter can be written down


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (b"\xff", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),  # a surrogate
        (b"\xc0\xae\xc0\xae/x", "not UTF-8"),  # an overlong form of ..
        (b"x" * 4097, "more than 4096"),
        (b"../x", "dots and spaces"),
    ],
)
def test_a_key_that_holds_no_path_is_rejected(key: bytes, why: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        decode_path(key)
    assert caught.value.reason == "bad-path"
    assert why in caught.value.detail


def test_a_name_from_a_disk_is_brought_to_nfc() -> None:
    assert to_path("Zoe\u0308/a") == "Zo\u00eb/a"


def test_a_name_from_a_disk_that_is_not_unicode_is_rejected() -> None:
    name = b"caf\xe9".decode(errors="surrogateescape")
    with pytest.raises(RecordRejected, match="not valid Unicode"):
        to_path(name)


@given(paths)
def test_a_path_stays_itself(path: Path) -> None:
    assert to_path(path) == check_path(path) == decode_path(path.encode()) == path
    assert unicodedata.is_normalized("NFC", path)
    assert_stays_inside(path)


@settings(max_examples=500)
@given(hostile_paths | st.binary(max_size=30))
def test_any_key_is_a_path_that_stays_inside_or_a_rejection(key: bytes) -> None:
    try:
        path = decode_path(key)
    except RecordRejected as rejected:
        assert rejected.reason == "bad-path"
        rejected.detail.encode()
    else:
        assert_stays_inside(path)
