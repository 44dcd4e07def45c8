"""Digests: `algorithm:hex`, three algorithms, nothing else."""

from __future__ import annotations

import pytest

from openmsi.errors import RecordRejected
from openmsi.protocol import DEFAULT_ALGORITHM, Digest, algorithm_of, digest_of, new_hasher
from openmsi.protocol.digests import check_digest

# Of the three bytes "abc": FIPS 180-4 for the SHA-2 family, the reference program for BLAKE3.
ABC = [
    "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
]


@pytest.mark.parametrize("expected", ABC)
def test_a_digest_is_that_of_the_bytes_fed_in_order(expected: str) -> None:
    algorithm = algorithm_of(Digest(expected))
    hasher = new_hasher(algorithm)
    hasher.update(b"a")
    hasher.update(b"bc")
    assert digest_of(hasher, algorithm) == expected
    assert check_digest(expected) == expected


def test_the_default_is_blake3() -> None:
    assert DEFAULT_ALGORITHM == "blake3"
    hasher = new_hasher()
    hasher.update(b"abc")
    assert digest_of(hasher) == ABC[0]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "not ALGORITHM:HEX"),
        ("blake3", "not ALGORITHM:HEX"),
        ("blake3:", "not ALGORITHM:HEX"),
        ("blake3:" + "g" * 64, "not ALGORITHM:HEX"),
        ("blake3:" + "A" * 64, "not ALGORITHM:HEX"),
        ("BLAKE3:" + "0" * 64, "not ALGORITHM:HEX"),
        ("blake3:" + "٣" * 64, "not ALGORITHM:HEX"),
        ("blake3:" + "0" * 64 + "\n", "not ALGORITHM:HEX"),
        ("md5:" + "0" * 32, "not ALGORITHM:HEX"),
        ("blake3:" + "0" * 63, "wrong length"),
        ("sha256:" + "0" * 128, "wrong length"),
        ("sha512:" + "0" * 64, "wrong length"),
    ],
)
def test_another_text_is_rejected(text: str, why: str) -> None:
    with pytest.raises(RecordRejected) as caught:
        check_digest(text)
    assert caught.value.reason == "bad-digest"
    assert why in caught.value.detail
