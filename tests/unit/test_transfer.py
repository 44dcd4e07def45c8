"""One version on its way into the topic: every event, every state, without a file or a broker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi.protocol import (
    Abort,
    Chunk,
    Closing,
    Digest,
    LegacyChunk,
    Opening,
    Path,
    VersionId,
    decode,
    digest_of,
    encode,
    new_hasher,
)
from openmsi.send.transfer import ABORT_INDEX, Progress, State, Transfer

PATH = Path("run 1/scan.dat")
VERSION = VersionId("0" * 32)
PARTITION = 3


def digest(content: bytes) -> Digest:
    hasher = new_hasher()
    hasher.update(content)
    return digest_of(hasher)


def transfer_of(content: bytes, chunk_size: int, progress: Progress | None = None) -> Transfer:
    """A transfer of a settled file with this content."""
    opening = Opening(len(content), mtime_ns=7, source="lab", attributes={"run": "1"})
    return Transfer(PATH, opening, progress or Progress(VERSION, chunk_size))


def growing_transfer(chunk_size: int) -> Transfer:
    return Transfer(PATH, Opening(source="lab"), Progress(VERSION, chunk_size))


def read_on(transfer: Transfer, content: bytes, unchanged: bool = True) -> Chunk | Abort | None:
    """Let it read the next bytes of a file that now has this content."""
    data = content[transfer.position : transfer.position + transfer.want]
    item = transfer.read(data, unchanged)
    assert not isinstance(item, LegacyChunk)
    return item


def read_all(transfer: Transfer, content: bytes) -> list[Chunk]:
    """Let it read to the end; what it produces on the way."""
    produced = []
    while transfer.state is State.READING:
        item = read_on(transfer, content)
        if item is not None:
            assert isinstance(item, Chunk)
            produced.append(item)
    return produced


def acknowledge(transfer: Transfer, *chunks: Chunk) -> None:
    """The records of these chunks are in the topic, at the offsets 100 + index."""
    for each in chunks:
        assert transfer.acknowledged(each.index, PARTITION, 100 + each.index) is None


def state_of(transfer: Transfer) -> State:
    """Its state now; a type checker would take the attribute's last known value for good."""
    return transfer.state


def replayed(chunks: list[Chunk]) -> bytes:
    """The content that docs/protocol.md gives to these chunks."""
    content = bytearray()
    for index, each in enumerate(chunks):
        assert each.index == index
        assert each.start <= len(content)
        content[each.start : each.start + len(each.data)] = each.data
    return bytes(content)


# -- a settled file ------------------------------------------------------------------------


def test_a_file_of_one_chunk_is_one_record() -> None:
    transfer = transfer_of(b"abc", 4)
    [chunk] = read_all(transfer, b"abc")
    opening = Opening(3, 7, "lab", {"run": "1"})
    closing = Closing(3, 1, digest(b"abc"))
    assert chunk == Chunk(PATH, VERSION, 0, 0, b"abc", opening, closing)
    assert decode(encode(chunk)) == chunk


def test_an_empty_file_is_one_record() -> None:
    [chunk] = read_all(transfer_of(b"", 4), b"")
    assert (chunk.data, chunk.closing) == (b"", Closing(0, 1, digest(b"")))


def test_only_the_first_record_opens_and_only_the_last_one_closes() -> None:
    chunks = read_all(transfer_of(b"abcdefgh", 3), b"abcdefgh")
    assert [(each.index, each.start, each.data) for each in chunks] == [
        (0, 0, b"abc"),
        (1, 3, b"def"),
        (2, 6, b"gh"),
    ]
    assert [each.opening is not None for each in chunks] == [True, False, False]
    assert [each.closing for each in chunks] == [None, None, Closing(8, 3, digest(b"abcdefgh"))]


def test_it_asks_for_a_chunk_and_at_the_end_for_the_rest() -> None:
    transfer = transfer_of(b"abcde", 3)
    assert (transfer.position, transfer.want) == (0, 3)
    read_on(transfer, b"abcde")
    assert (transfer.position, transfer.want) == (3, 2)


def test_it_is_sent_when_every_record_is_acknowledged_and_not_before() -> None:
    transfer = transfer_of(b"abcdef", 3)
    first, last = read_all(transfer, b"abcdef")
    assert state_of(transfer) is State.DRAINING
    acknowledge(transfer, first)
    assert state_of(transfer) is State.DRAINING
    acknowledge(transfer, last)
    assert state_of(transfer) is State.SENT


def test_the_manifest_tells_what_was_sent_and_where_it_lies() -> None:
    transfer = transfer_of(b"abcdef", 3)
    acknowledge(transfer, *read_all(transfer, b"abcdef"))
    manifest = transfer.manifest("scans")
    assert (manifest.path, manifest.version) == (PATH, VERSION)
    assert (manifest.size, manifest.mtime_ns, manifest.chunks) == (6, 7, 2)
    assert manifest.digest == digest(b"abcdef")
    assert (manifest.topic, manifest.partition) == ("scans", PARTITION)
    assert (manifest.first_offset, manifest.last_offset) == (100, 101)
    assert (manifest.source, manifest.attributes) == ("lab", {"run": "1"})


def test_a_file_that_changes_while_it_is_read_is_aborted() -> None:
    transfer = transfer_of(b"abcdef", 3)
    read_on(transfer, b"abcdef")
    abort = read_on(transfer, b"abcXef", unchanged=False)
    assert abort == Abort(PATH, VERSION, "it changed while it was read")
    assert state_of(transfer) is State.ABORTING


def test_a_file_that_ends_too_early_is_aborted() -> None:
    transfer = transfer_of(b"abcdef", 3)
    read_on(transfer, b"abcdef")
    abort = read_on(transfer, b"abcd")
    assert abort == Abort(PATH, VERSION, "it ended after 4 of 6 bytes")


def test_a_file_that_changes_before_anything_was_produced_needs_no_abort() -> None:
    transfer = transfer_of(b"abc", 3)
    assert read_on(transfer, b"abX", unchanged=False) is None
    assert state_of(transfer) is State.ABORTED
    assert transfer.reason == "it changed while it was read"


def test_a_record_that_can_never_be_sent_aborts_the_version() -> None:
    transfer = transfer_of(b"abcdef", 3)
    first, last = read_all(transfer, b"abcdef")
    acknowledge(transfer, first)
    assert transfer.failed(last.index, "too large") == Abort(PATH, VERSION, "too large")
    assert transfer.reason == "too large"


def test_it_is_aborted_when_nothing_is_on_its_way_any_more() -> None:
    transfer = transfer_of(b"abcdefghi", 3)
    first, second, third = read_all(transfer, b"abcdefghi")
    assert transfer.failed(first.index, "too large") is not None
    assert transfer.failed(second.index, "too large") is None
    acknowledge(transfer, third)
    assert state_of(transfer) is State.ABORTING
    assert transfer.acknowledged(ABORT_INDEX, PARTITION, 200) is None
    assert state_of(transfer) is State.ABORTED


def test_an_abort_that_cannot_be_sent_ends_the_version_all_the_same() -> None:
    transfer = transfer_of(b"abc", 3)
    [chunk] = read_all(transfer, b"abc")
    assert transfer.failed(chunk.index, "too large") is not None
    assert transfer.failed(ABORT_INDEX, "too large as well") is None
    assert state_of(transfer) is State.ABORTED
    assert transfer.reason == "too large"


def test_a_record_in_another_partition_aborts_the_version_once() -> None:
    transfer = transfer_of(b"abcdefghi", 3)
    first, second, third = read_all(transfer, b"abcdefghi")
    acknowledge(transfer, first)
    abort = transfer.acknowledged(second.index, PARTITION + 1, 0)
    assert abort == Abort(PATH, VERSION, "the topic's number of partitions changed")
    assert transfer.acknowledged(third.index, PARTITION + 1, 1) is None


# -- a restart -----------------------------------------------------------------------------


def test_progress_is_the_first_record_that_is_not_acknowledged() -> None:
    transfer = transfer_of(b"abcdefgh", 3)
    assert transfer.progress() == Progress(VERSION, 3)
    first, second, last = read_all(transfer, b"abcdefgh")
    assert transfer.progress() == Progress(VERSION, 3)
    acknowledge(transfer, first)
    assert transfer.progress() == Progress(VERSION, 3, 1, 3, PARTITION, 100)
    acknowledge(transfer, second)
    assert transfer.progress() == Progress(VERSION, 3, 2, 6, PARTITION, 100)
    acknowledge(transfer, last)
    assert transfer.progress() == Progress(VERSION, 3, 3, 8, PARTITION, 100)


def test_progress_of_what_is_read_and_acknowledged_so_far_is_the_next_chunk() -> None:
    transfer = transfer_of(b"abcdefgh", 3)
    chunk = read_on(transfer, b"abcdefgh")
    assert isinstance(chunk, Chunk)
    acknowledge(transfer, chunk)
    assert transfer.progress() == Progress(VERSION, 3, 1, 3, PARTITION, 100)


def test_a_resumed_version_goes_on_at_the_first_record_not_acknowledged() -> None:
    resumed = Progress(VERSION, 3, 1, 3, PARTITION, 50)
    transfer = transfer_of(b"abcdefgh", 3, resumed)
    chunks = read_all(transfer, b"abcdefgh")
    assert [(each.index, each.start, each.opening) for each in chunks] == [
        (1, 3, None),
        (2, 6, None),
    ]
    assert chunks[-1].closing == Closing(8, 3, digest(b"abcdefgh"))
    acknowledge(transfer, *chunks)
    assert transfer.manifest("scans").first_offset == 50


def test_a_resumed_version_never_falls_behind_where_it_was() -> None:
    resumed = Progress(VERSION, 3, 2, 6, PARTITION, 50)
    transfer = transfer_of(b"abcdefgh", 3, resumed)
    assert transfer.progress() == resumed
    assert read_on(transfer, b"abcdefgh") is None
    assert transfer.progress() == resumed


def test_a_resumed_version_whose_file_changed_is_aborted_also_before_anything_is_produced() -> None:
    transfer = transfer_of(b"abcdefgh", 3, Progress(VERSION, 3, 2, 6, PARTITION, 50))
    abort = read_on(transfer, b"abcdefgX", unchanged=False)
    assert abort == Abort(PATH, VERSION, "it changed while it was read")


def test_a_version_with_a_lost_record_before_one_that_arrived_can_only_start_over() -> None:
    transfer = transfer_of(b"abcdefgh", 3)
    first, _, last = read_all(transfer, b"abcdefgh")
    acknowledge(transfer, first)
    acknowledge(transfer, last)  # a receiver now sees a gap, and rejects the version for good
    assert transfer.progress() is None


# -- a file that is sent while it is written -----------------------------------------------


def test_a_growing_file_is_sent_in_whole_chunks_without_its_size() -> None:
    transfer = growing_transfer(3)
    assert (state_of(transfer), transfer.want) == (State.GROWING, 3)
    first = read_on(transfer, b"abcde")
    assert first == Chunk(PATH, VERSION, 0, 0, b"abc", Opening(source="lab"))
    assert (state_of(transfer), transfer.position) == (State.GROWING, 3)
    assert read_on(transfer, b"abcdef") == Chunk(PATH, VERSION, 1, 3, b"def")


def test_a_growing_file_that_is_settled_is_read_again_and_only_the_rest_is_sent() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"abcde")
    assert transfer.settled(5, mtime_ns=9) is None
    assert (state_of(transfer), transfer.position) == (State.READING, 0)
    [last] = read_all(transfer, b"abcde")
    closing = Closing(5, 2, digest(b"abcde"), mtime_ns=9)
    assert last == Chunk(PATH, VERSION, 1, 3, b"de", None, closing)


def test_the_last_record_is_empty_when_nothing_was_left_to_send() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"abc")
    transfer.settled(3, 9)
    [last] = read_all(transfer, b"abc")
    assert last == Chunk(PATH, VERSION, 1, 3, b"", None, Closing(3, 2, digest(b"abc"), 9))


def test_a_header_that_was_completed_in_the_end_is_sent_again_at_its_start() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"---def")
    read_on(transfer, b"---def")
    transfer.settled(7, 9)
    chunks = read_all(transfer, b"abcdefg")
    assert [(each.index, each.start, each.data) for each in chunks] == [
        (2, 0, b"abc"),
        (3, 6, b"g"),
    ]


def test_a_last_chunk_that_was_written_again_is_sent_with_the_last_record() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"ab-")
    transfer.settled(3, 9)
    [last] = read_all(transfer, b"abc")
    assert (last.index, last.start, last.data) == (1, 0, b"abc")


def test_a_file_that_is_settled_before_anything_was_sent_of_it_is_an_ordinary_version() -> None:
    transfer = growing_transfer(4)
    transfer.settled(3, 9)
    [chunk] = read_all(transfer, b"abc")
    assert chunk.closing == Closing(3, 1, digest(b"abc"), 9)
    assert decode(encode(chunk)) == Chunk(
        PATH, VERSION, 0, 0, b"abc", Opening(None, 9, "lab"), Closing(3, 1, digest(b"abc"))
    )


def test_a_settled_file_that_is_written_again_grows_on() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"abcd")
    transfer.settled(4, 9)
    assert read_on(transfer, b"abcdef", unchanged=False) is None
    assert (state_of(transfer), transfer.position) == (State.GROWING, 3)
    assert read_on(transfer, b"abcdef") == Chunk(PATH, VERSION, 1, 3, b"def")
    transfer.settled(6, 10)
    [last] = read_all(transfer, b"abcdef")
    assert last.closing == Closing(6, 3, digest(b"abcdef"), 10)


def test_a_size_that_was_not_final_is_never_told() -> None:
    # Given a growing file that seems settled before its first chunk is sent,
    transfer = growing_transfer(2)
    transfer.settled(4, 9)
    first = read_on(transfer, b"abcd")
    # when it grows after all,
    read_on(transfer, b"abcdef", unchanged=False)
    transfer.settled(6, 10)
    rest = read_all(transfer, b"abcdef")
    # then its first record does not contradict its last one.
    assert isinstance(first, Chunk)
    assert first.opening == Opening(source="lab")
    assert rest[-1].closing == Closing(6, 3, digest(b"abcdef"), 10)


def test_a_growing_file_that_became_shorter_is_aborted() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"abc")
    abort = read_on(transfer, b"ab")
    assert abort == Abort(PATH, VERSION, "it became shorter while it was sent")


def test_a_growing_file_that_is_settled_shorter_than_what_was_sent_is_aborted() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"abc")
    assert transfer.settled(2, 9) == Abort(PATH, VERSION, "it became shorter while it was sent")
    assert state_of(transfer) is State.ABORTING


def test_a_growing_file_can_only_start_over() -> None:
    transfer = growing_transfer(3)
    read_on(transfer, b"abc")
    assert transfer.progress() is None


# -- properties ----------------------------------------------------------------------------

contents = st.binary(max_size=24)
chunk_sizes = st.integers(1, 9)


@given(contents, chunk_sizes)
def test_the_records_of_any_file_replay_to_its_content(content: bytes, chunk_size: int) -> None:
    chunks = read_all(transfer_of(content, chunk_size), content)
    assert replayed(chunks) == content
    assert chunks[-1].closing == Closing(len(content), len(chunks), digest(content))
    assert [decode(encode(each)) for each in chunks] == chunks


@given(contents, chunk_sizes, st.lists(st.integers(0, 4), max_size=6))
def test_however_often_it_is_interrupted_each_index_always_means_the_same(
    content: bytes, chunk_size: int, arrivals: list[int]
) -> None:
    whole = read_all(transfer_of(content, chunk_size), content)
    progress = Progress(VERSION, chunk_size)
    for arrived in [*arrivals, len(whole)]:
        transfer = transfer_of(content, chunk_size, progress)
        chunks = read_all(transfer, content)
        assert chunks == whole[progress.index :]
        acknowledge(transfer, *chunks[:arrived])
        if arrived >= len(chunks):
            break
        found = transfer.progress()
        assert found is not None
        assert found.index == progress.index + arrived
        progress = found
    assert state_of(transfer) is State.SENT
    assert transfer.manifest("t").chunks == len(whole)
    assert transfer.manifest("t").digest == digest(content)


@given(chunk_sizes, st.data())
def test_the_records_of_any_growing_file_replay_to_its_last_content(
    chunk_size: int, data: st.DataObject
) -> None:
    transfer = growing_transfer(chunk_size)
    content = bytearray()
    produced: list[Chunk] = []
    settled_as: bytes | None = None
    for step in data.draw(st.lists(st.sampled_from("arfsr"), max_size=20), "steps"):
        if step == "a":
            content += data.draw(st.binary(min_size=1, max_size=9), "appended")
        elif step == "f" and content:
            at = data.draw(st.integers(0, len(content) - 1), "rewritten")
            content[at] ^= 0xFF
        elif step == "s" and transfer.state is State.GROWING and len(content) >= transfer.position:
            settled_as = bytes(content)
            assert transfer.settled(len(content), mtime_ns=1) is None
        elif step == "r":
            grown = len(content) >= transfer.position + chunk_size
            if transfer.state is State.READING or (transfer.state is State.GROWING and grown):
                item = read_on(transfer, bytes(content), bytes(content) == settled_as)
                produced += [item] if isinstance(item, Chunk) else []
    if transfer.state is State.READING:  # the writer may have gone on once more
        settled_as = settled_as if settled_as == bytes(content) else None
        while transfer.state is State.READING:
            item = read_on(transfer, bytes(content), settled_as is not None)
            produced += [item] if isinstance(item, Chunk) else []
    if transfer.state is State.GROWING:
        settled_as = bytes(content)
        transfer.settled(len(content), mtime_ns=2)
        produced += read_all(transfer, settled_as)
    assert state_of(transfer) is State.DRAINING
    assert settled_as is not None
    assert replayed(produced) == settled_as
    assert [decode(encode(each)) for each in produced[1:]] == produced[1:]
    closing = produced[-1].closing
    assert closing is not None
    assert (closing.size, closing.digest) == (len(settled_as), digest(settled_as))
    acknowledge(transfer, *produced)
    assert state_of(transfer) is State.SENT


@pytest.mark.parametrize("stop", range(4))
def test_every_way_out_of_reading_is_sent_or_aborted(stop: int) -> None:
    transfer = transfer_of(b"abcdef", 2)
    chunks = read_all(transfer, b"abcdef")
    acknowledge(transfer, *chunks[:stop])
    for each in chunks[stop:]:
        transfer.failed(each.index, "gone")
    if stop < 3:
        transfer.failed(ABORT_INDEX, "gone")
    assert state_of(transfer) is (State.SENT if stop == 3 else State.ABORTED)


def test_a_version_is_given_up_once() -> None:
    # Given a version that is being called off,
    transfer = transfer_of(b"abcdef", 3)
    read_on(transfer, b"abcdef")
    assert isinstance(transfer.give_up("it cannot be read"), Abort)
    # when another reason comes, then nothing more is produced, and the first reason stays.
    assert transfer.give_up("it is gone") is None
    assert transfer.reason == "it cannot be read"
