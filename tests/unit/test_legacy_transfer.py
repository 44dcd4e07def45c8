"""One version on its way into the topic in the older format: without a file or a broker."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi.protocol import (
    SEVERAL,
    Digest,
    LegacyChunk,
    Opening,
    Path,
    VersionId,
    decode,
    encode_legacy,
)
from openmsi.protocol.legacy import legacy_version
from openmsi.send.transfer import HASH_BYTES, Progress, State, Transfer

PATH = Path("run 1/scan.dat")
NO_VERSION = VersionId("0" * 32)
MTIME_NS = 1_600_000_000_000_000_000


def digest(content: bytes) -> Digest:
    return Digest(f"sha512:{hashlib.sha512(content).hexdigest()}")


def transfer_of(content: bytes, chunk_size: int, progress: Progress | None = None) -> Transfer:
    opening = Opening(len(content), MTIME_NS, "lab")
    return Transfer(PATH, opening, progress or Progress(NO_VERSION, chunk_size), legacy=True)


def read_on(transfer: Transfer, content: bytes, unchanged: bool = True) -> LegacyChunk | None:
    data = content[transfer.position : transfer.position + transfer.want]
    item = transfer.read(data, unchanged)
    assert item is None or isinstance(item, LegacyChunk)  # never an abort
    return item


def hash_all(transfer: Transfer, content: bytes) -> None:
    """Let it read the content for its digest."""
    while transfer.state is State.HASHING:
        assert read_on(transfer, content) is None


def read_all(transfer: Transfer, content: bytes) -> list[LegacyChunk]:
    """Let it read to the end; what it produces on the way."""
    hash_all(transfer, content)
    produced = []
    while state_of(transfer) is State.READING:
        item = read_on(transfer, content)
        produced += [] if item is None else [item]
    return produced


def state_of(transfer: Transfer) -> State:
    """Its state now; a type checker would take the attribute's last known value for good."""
    return transfer.state


def rebuilt(chunks: list[LegacyChunk]) -> bytes:
    """What a reader makes of these: each at its start, in any order."""
    content = bytearray(max((each.start + len(each.data) for each in chunks), default=0))
    for each in chunks:
        content[each.start : each.start + len(each.data)] = each.data
    return bytes(content)


# -- what is produced ----------------------------------------------------------------------


def test_each_record_tells_the_digest_of_the_whole_and_the_number_of_all() -> None:
    content = b"abcdefgh"
    chunks = read_all(transfer_of(content, 3), content)
    assert chunks == [
        LegacyChunk(PATH, digest(content), 0, 3, 0, b"abc", MTIME_NS),
        LegacyChunk(PATH, digest(content), 1, 3, 3, b"def", MTIME_NS),
        LegacyChunk(PATH, digest(content), 2, 3, 6, b"gh", MTIME_NS),
    ]


def test_a_file_of_one_chunk_is_read_once() -> None:
    transfer = transfer_of(b"abc", 3)
    assert state_of(transfer) is State.READING
    assert read_on(transfer, b"abc") == LegacyChunk(PATH, digest(b"abc"), 0, 1, 0, b"abc", MTIME_NS)


def test_an_empty_file_is_one_record_without_bytes() -> None:
    assert read_all(transfer_of(b"", 3), b"") == [
        LegacyChunk(PATH, digest(b""), 0, 1, 0, b"", MTIME_NS)
    ]


def test_nothing_is_produced_before_the_whole_digest_is_known() -> None:
    content = bytes(HASH_BYTES + 5)
    transfer = transfer_of(content, 1024)
    assert (state_of(transfer), transfer.want) == (State.HASHING, HASH_BYTES)
    assert read_on(transfer, content) is None
    assert (state_of(transfer), transfer.want) == (State.HASHING, 5)
    assert read_on(transfer, content) is None
    assert (state_of(transfer), transfer.position, transfer.want) == (State.READING, 0, 1024)


def test_the_version_is_that_of_path_and_content() -> None:
    transfer = transfer_of(b"abcdef", 3)
    read_all(transfer, b"abcdef")
    assert transfer.version == legacy_version(PATH, digest(b"abcdef"))


@given(st.binary(max_size=40), st.integers(1, 9), st.sampled_from([9, 10]))
def test_the_records_of_any_file_rebuild_its_content(
    content: bytes, chunk_size: int, fields: int
) -> None:
    chunks = read_all(transfer_of(content, chunk_size), content)
    assert rebuilt(chunks) == content
    assert [each.index for each in chunks] == list(range(chunks[0].chunks))
    for each in chunks:
        found = decode(encode_legacy(each, 10 if fields == 10 else 9))
        assert isinstance(found, LegacyChunk)
        assert (found.path, found.version, found.start) == (PATH, each.version, each.start)


# -- a file that changes -------------------------------------------------------------------


def test_a_file_that_changes_before_its_digest_is_known_was_never_begun() -> None:
    transfer = transfer_of(b"abcdef", 3)
    assert read_on(transfer, b"abcXef", unchanged=False) is None
    assert state_of(transfer) is State.ABORTED
    assert transfer.reason == "it changed while it was read"


def test_the_last_chunk_is_held_back_when_the_content_is_not_the_one_that_was_told() -> None:
    # Given a file that was read for its digest,
    transfer = transfer_of(b"abcdef", 3)
    hash_all(transfer, b"abcdef")
    first = read_on(transfer, b"abcdef")
    assert first is not None
    # when other bytes are there afterwards, with the same times and the same size,
    assert read_on(transfer, b"abcdeX") is None
    # then its last record is never sent, and nothing calls it off.
    assert (state_of(transfer), transfer.reason) == (
        State.ABORTING,
        "its content changed while it was read",
    )
    assert transfer.acknowledged(first.index, 0, 0) is None
    assert state_of(transfer) is State.ABORTED


def test_a_file_that_changes_after_all_was_acknowledged_just_ends() -> None:
    transfer = transfer_of(b"abcdef", 3)
    hash_all(transfer, b"abcdef")
    first = read_on(transfer, b"abcdef")
    assert first is not None
    transfer.acknowledged(first.index, 0, 0)
    assert read_on(transfer, b"abc", unchanged=False) is None
    assert state_of(transfer) is State.ABORTED


@given(st.binary(min_size=2, max_size=30), st.integers(1, 9), st.data())
def test_no_content_that_nobody_had_is_ever_complete(
    content: bytes, chunk_size: int, data: st.DataObject
) -> None:
    # Given a file that is written to at any moment without a trace in its times,
    transfer = transfer_of(content, chunk_size)
    now = bytearray(content)
    produced = []
    had = {bytes(now)}
    while state_of(transfer) in (State.HASHING, State.READING):
        if data.draw(st.booleans(), "written"):
            now[data.draw(st.integers(0, len(now) - 1), "at")] ^= 0xFF
            had.add(bytes(now))
        item = read_on(transfer, bytes(now))
        produced += [] if item is None else [item]
    # then its records are those of a whole content with their digest, or some are missing.
    if state_of(transfer) is State.DRAINING:
        assert digest(rebuilt(produced)) == produced[0].digest
    else:
        assert produced == [] or len(produced) < produced[0].chunks


# -- acknowledgements ----------------------------------------------------------------------


def test_it_is_sent_when_every_record_is_acknowledged_in_any_order_from_any_partition() -> None:
    transfer = transfer_of(b"abcdefgh", 3)
    first, second, last = read_all(transfer, b"abcdefgh")
    for place, each in enumerate((last, first, second)):
        assert state_of(transfer) is State.DRAINING
        assert transfer.acknowledged(each.index, place, 70) is None
    assert state_of(transfer) is State.SENT


@pytest.mark.parametrize(
    ("partitions", "place"),
    [((4, 4, 4), (4, 10, 12)), ((4, 4, 5), (SEVERAL, SEVERAL, SEVERAL))],
    ids=["one partition", "several"],
)
def test_the_manifest_has_a_place_only_if_all_records_lie_in_one_partition(
    partitions: tuple[int, ...], place: tuple[int, int, int]
) -> None:
    content = b"abcdefgh"
    transfer = transfer_of(content, 3)
    for each, partition in zip(read_all(transfer, content), partitions, strict=True):
        transfer.acknowledged(each.index, partition, 10 + each.index)
    manifest = transfer.manifest("scans")
    assert (manifest.partition, manifest.first_offset, manifest.last_offset) == place
    assert (manifest.size, manifest.chunks, manifest.digest) == (8, 3, digest(content))
    assert (manifest.version, manifest.mtime_ns) == (transfer.version, MTIME_NS)


def test_a_record_that_can_never_be_sent_ends_it_without_an_abort() -> None:
    transfer = transfer_of(b"abcdef", 3)
    first, last = read_all(transfer, b"abcdef")
    assert transfer.failed(last.index, "too large") is None
    assert state_of(transfer) is State.ABORTING
    assert transfer.acknowledged(first.index, 1, 0) is None
    assert state_of(transfer) is State.ABORTED
    assert transfer.reason == "too large"


# -- a restart -----------------------------------------------------------------------------


def test_progress_is_the_first_record_that_is_not_acknowledged_and_the_digest() -> None:
    content = b"abcdefgh"
    transfer = transfer_of(content, 3)
    first, _, last = read_all(transfer, content)
    version = legacy_version(PATH, digest(content))
    # What comes before what is missing makes no hole here: a receiver waits for all.
    transfer.acknowledged(last.index, 2, 5)
    assert transfer.progress() == Progress(version, 3, 0, 0, 2, 5, digest(content))
    transfer.acknowledged(first.index, 2, 6)
    assert transfer.progress() == Progress(version, 3, 1, 3, 2, 5, digest(content))


def test_a_resumed_version_is_not_hashed_first_and_goes_on() -> None:
    content = b"abcdefgh"
    version = legacy_version(PATH, digest(content))
    resumed = Progress(version, 3, 1, 3, SEVERAL, SEVERAL, digest(content))
    transfer = transfer_of(content, 3, resumed)
    assert state_of(transfer) is State.READING
    chunks = read_all(transfer, content)
    assert [each.index for each in chunks] == [1, 2]
    for each in chunks:
        transfer.acknowledged(each.index, 3, each.index)
    # It had records in several partitions before, and still has.
    assert transfer.manifest("scans").partition == SEVERAL


def test_a_resumed_version_whose_content_is_another_never_ends() -> None:
    content = b"abcdefgh"
    version = legacy_version(PATH, digest(content))
    transfer = transfer_of(content, 3, Progress(version, 3, 2, 6, 0, 0, digest(content)))
    assert read_all(transfer, b"Xbcdefgh") == []
    assert state_of(transfer) is State.ABORTED


@given(st.binary(max_size=24), st.integers(1, 9), st.lists(st.integers(0, 4), max_size=6))
def test_however_often_it_is_interrupted_the_records_are_the_same(
    content: bytes, chunk_size: int, arrivals: list[int]
) -> None:
    whole = read_all(transfer_of(content, chunk_size), content)
    progress = Progress(NO_VERSION, chunk_size)
    for arrived in [*arrivals, len(whole)]:
        transfer = transfer_of(content, chunk_size, progress)
        chunks = read_all(transfer, content)
        assert chunks == whole[progress.index :]
        for each in chunks[:arrived]:
            transfer.acknowledged(each.index, each.index % 2, each.index)
        if arrived >= len(chunks):
            break
        found = transfer.progress()
        assert found is not None
        progress = found
    assert state_of(transfer) is State.SENT
    assert transfer.manifest("t").digest == digest(content)
