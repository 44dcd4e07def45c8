"""Versions being rebuilt: every event, every effect, every reason, without a disk or a broker.

The properties feed the assembler with what a transfer produced, as a sender would after any
interruption, and perform its effects on bytes in memory: the same content comes out, once, or a
named rejection, whatever happened to the records on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import pytest
from destination import START, TOPIC, Destination, digest
from hypothesis import assume, given
from hypothesis import strategies as st

from openmsi.errors import RecordRejected
from openmsi.events import DeadLetter, VersionAborted, VersionStale
from openmsi.protocol import (
    Abort,
    Chunk,
    Closing,
    Manifest,
    Opening,
    Path,
    SafePoint,
    VersionId,
    encode,
)
from openmsi.protocol.native import decode_native
from openmsi.receive import assembly
from openmsi.receive.assembly import (
    Discard,
    Effect,
    Publish,
    Saved,
    Tell,
    Verify,
    Write,
)
from openmsi.receive.progress import SavedInOrder
from openmsi.send.transfer import Progress, State, Transfer

PATH = Path("run 1/scan.dat")
OTHER = Path("run 1/other.dat")
V1, V2, V3 = (VersionId(each * 32) for each in "123")


def version_of(
    content: bytes,
    size: int = 3,
    version: VersionId = V1,
    path: Path = PATH,
    algorithm: str = "blake3",
) -> list[Chunk]:
    """The records of one version of this content, in chunks of `size` bytes."""
    count = max(1, -(-len(content) // size))
    opening = Opening(len(content), 7, "lab", {"run": "1"})
    closing = Closing(len(content), count, digest(content, algorithm))
    return [
        Chunk(
            path,
            version,
            index,
            index * size,
            content[index * size : (index + 1) * size],
            opening if index == 0 else None,
            closing if index == count - 1 else None,
        )
        for index in range(count)
    ]


@pytest.fixture
def there() -> Destination:
    return Destination()


# -- whole versions ------------------------------------------------------------------------


def test_each_chunk_is_written_at_its_start_and_the_last_one_publishes(there: Destination) -> None:
    first, second, last = version_of(b"abcdefgh")
    assert there.take(first) == [Write(V1, 0, b"abc")]
    assert there.take(second) == [Write(V1, 3, b"def")]
    write, publish = there.take(last)
    assert write == Write(V1, 6, b"gh")
    assert publish == Publish(
        Manifest(PATH, V1, 8, 7, 3, digest(b"abcdefgh"), TOPIC, 0, 0, 2, "lab", {"run": "1"})
    )


def test_an_empty_file_is_published(there: Destination) -> None:
    there.take_all(version_of(b""))
    there.perform()
    assert [each.content for each in there.published] == [b""]


def test_an_mtime_that_comes_with_the_last_record_counts_if_the_first_had_none(
    there: Destination,
) -> None:
    there.take(Chunk(PATH, V1, 0, 0, b"ab", Opening()))
    there.take(Chunk(PATH, V1, 1, 2, b"c", None, Closing(3, 2, digest(b"abc"), mtime_ns=9)))
    there.perform()
    assert there.published[0].manifest.mtime_ns == 9


def test_a_rewritten_beginning_wins_and_the_content_is_read_again(there: Destination) -> None:
    there.take(Chunk(PATH, V1, 0, 0, b"---", Opening()))
    there.take(Chunk(PATH, V1, 1, 3, b"def"))
    there.take(Chunk(PATH, V1, 2, 0, b"abc"))
    effects = there.take(Chunk(PATH, V1, 3, 6, b"", None, Closing(6, 4, digest(b"abcdef"))))
    assert effects == [Write(V1, 6, b""), Verify(V1, "blake3")]
    there.perform()
    assert [each.content for each in there.published] == [b"abcdef"]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_another_digest_algorithm_is_read_for_at_the_end(
    there: Destination, algorithm: str
) -> None:
    there.take_all(version_of(b"abcde", algorithm=algorithm))
    there.perform()
    assert [each.content for each in there.published] == [b"abcde"]


def test_versions_are_rebuilt_side_by_side(there: Destination) -> None:
    one = version_of(b"abcdef")
    other = version_of(b"ghijkl", version=V2, path=OTHER)
    there.take_all([one[0], other[0], other[1], one[1]])
    there.perform()
    assert [(each.manifest.path, each.content) for each in there.published] == [
        (OTHER, b"ghijkl"),
        (PATH, b"abcdef"),
    ]


# -- what is ignored -----------------------------------------------------------------------


def test_a_repeated_record_changes_nothing(there: Destination) -> None:
    first, last = version_of(b"abcdef")
    there.take(first)
    assert there.take(first) == []
    there.take(last)
    there.perform()
    assert [each.content for each in there.published] == [b"abcdef"]


def test_a_published_version_is_not_built_again(there: Destination) -> None:
    there.take_all(version_of(b"abcdef"))
    there.perform()
    there.take_all(version_of(b"abcdef"))
    there.perform()
    assert len(there.published) == 1
    assert there.assembler.open_count() == 0


def test_a_rejected_version_stays_rejected(there: Destination) -> None:
    chunks = version_of(b"abcdefgh")
    there.take_all([chunks[0], chunks[2]])
    assert [there.take(each) for each in chunks] == [[], [], []]


def test_the_oldest_rejections_are_forgotten(
    there: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "MAX_FAILED_REMEMBERED", 1)
    for each in (V1, V2):
        there.take(version_of(b"abcdef", version=each)[0])
        there.take(Abort(PATH, each, "stop"))
    assert there.take(version_of(b"abcdef", version=V2)[0]) == []
    assert there.take(version_of(b"abcdef", version=V1)[0]) == [Write(V1, 0, b"abc")]


@pytest.mark.parametrize("rewritten", [False, True])
def test_nothing_that_comes_after_the_last_record_counts(
    there: Destination, rewritten: bool
) -> None:
    # Given a version whose last record is taken but which is not published yet,
    again = [Chunk(PATH, V1, 1, 0, b"abc")] if rewritten else []
    count = 2 + len(again)
    closing = Closing(6, count, digest(b"abcdef"))
    first, last = Chunk(PATH, V1, 0, 0, b"abc", Opening()), b"def"
    there.take_all([first, *again, Chunk(PATH, V1, count - 1, 3, last, None, closing)])
    # when more of it comes, or an abort, as from a sender that was killed before it knew,
    assert there.take(Chunk(PATH, V1, count, 6, b"ghi")) == []
    assert there.take(Chunk(PATH, V1, count + 5, 6, b"ghi")) == []
    assert there.take(Chunk(OTHER, V1, count, 6, b"ghi")) == []
    assert there.take(Abort(PATH, V1, "too late")) == []
    # then it is published as it was.
    there.perform()
    assert [each.content for each in there.published] == [b"abcdef"]
    assert there.told == []


# -- aborts --------------------------------------------------------------------------------


def test_an_aborted_version_is_discarded_and_told(there: Destination) -> None:
    there.take(version_of(b"abcdef")[0])
    effects = there.take(Abort(PATH, V1, "it changed"))
    assert effects == [Discard(V1), Tell(VersionAborted(PATH, V1, "it changed"))]
    assert there.take(version_of(b"abcdef")[1]) == []


def test_an_abort_of_an_unknown_version_is_ignored(there: Destination) -> None:
    assert there.take(Abort(PATH, V1, "it changed")) == []


def test_an_abort_by_somebody_else_is_ignored(there: Destination) -> None:
    there.take(version_of(b"abcdef")[0])
    assert there.take(Abort(OTHER, V1, "mine now")) == []
    there.assembler.assigned(1, 0, START, [], 0.0)
    assert there.take(Abort(PATH, V1, "mine now"), partition=1) == []
    there.take(version_of(b"abcdef")[1])
    there.perform()
    assert len(there.published) == 1


# -- rejections, each with its reason and place --------------------------------------------


def letter_of(effects: list[Effect]) -> DeadLetter:
    """The dead letter among these effects, which must be the last of them."""
    tell = effects[-1]
    assert isinstance(tell, Tell)
    assert isinstance(tell.event, DeadLetter)
    return tell.event


def test_a_record_that_breaks_the_format_is_a_dead_letter(there: Destination) -> None:
    there.take(version_of(b"abcdef")[0])
    effects = there.take(RecordRejected("bad-header", "it has none"))
    assert effects == [Tell(DeadLetter(TOPIC, 0, 1, 1, "bad-header", "it has none"))]


def test_a_version_without_its_beginning_is_told_once(there: Destination) -> None:
    effects = there.take(version_of(b"abcdef")[1])
    detail = "the first record seen of it has index 1: its beginning is gone"
    assert effects == [Tell(DeadLetter(TOPIC, 0, 0, 0, "no-beginning", detail, PATH, V1))]
    assert there.take(version_of(b"abcdef")[1]) == []


def test_a_version_without_its_beginning_arrives_when_it_is_sent_again(there: Destination) -> None:
    there.take(version_of(b"abcdef")[1])
    there.take_all(version_of(b"abcdef"))
    there.perform()
    assert [each.content for each in there.published] == [b"abcdef"]


def test_a_missing_index_is_a_gap(there: Destination) -> None:
    first, _, last = version_of(b"abcdefgh")
    there.take(RecordRejected("foreign", "not ours"))
    there.take(first)
    effects = there.take(last)
    detail = "index 1 is missing before index 2"
    assert effects == [Discard(V1), Tell(DeadLetter(TOPIC, 0, 1, 2, "gap", detail, PATH, V1))]


def test_a_chunk_after_the_end_of_those_before_is_a_gap(there: Destination) -> None:
    there.take(Chunk(PATH, V1, 0, 0, b"abc", Opening()))
    letter = letter_of(there.take(Chunk(PATH, V1, 1, 4, b"ef")))
    assert (letter.reason, letter.detail) == ("gap", "index 1 starts at 4, after 3")


def test_a_chunk_beyond_the_promised_size_is_a_bad_size(there: Destination) -> None:
    there.take(Chunk(PATH, V1, 0, 0, b"abc", Opening(size=4)))
    letter = letter_of(there.take(Chunk(PATH, V1, 1, 3, b"def")))
    assert (letter.reason, letter.detail) == ("bad-size", "index 1 ends after 4")


@pytest.mark.parametrize(("opened", "closed"), [(None, 7), (6, 7), (7, 6)])
def test_a_total_size_that_is_not_the_content_s_is_a_bad_size(
    there: Destination, opened: int | None, closed: int
) -> None:
    there.take(Chunk(PATH, V1, 0, 0, b"abc", Opening(size=opened)))
    closing = Closing(closed, 2, digest(b"abcdef"))
    letter = letter_of(there.take(Chunk(PATH, V1, 1, 3, b"def", None, closing)))
    assert letter.reason == "bad-size"
    assert letter.detail == f"it has 6 bytes, its last record says {closed}"


@pytest.mark.parametrize("algorithm", ["blake3", "sha256"])
def test_another_content_than_the_digest_s_is_a_bad_digest(
    there: Destination, algorithm: str
) -> None:
    closing = Closing(3, 1, digest(b"abc", algorithm))
    there.take(Chunk(PATH, V1, 0, 0, b"abX", Opening(), closing))
    there.perform()
    assert there.reasons() == ["bad-digest"]
    assert there.published == []
    assert there.spooled == {}


def test_records_of_two_paths_are_mixed_up(there: Destination) -> None:
    there.take(version_of(b"abcdef")[0])
    letter = letter_of(there.take(version_of(b"abcdef", path=OTHER)[1]))
    assert (letter.reason, letter.path) == ("mixed-up", PATH)


def test_records_of_two_partitions_are_mixed_up(there: Destination) -> None:
    there.assembler.assigned(1, 0, START, [], 0.0)
    there.take(version_of(b"abcdef")[0])
    letter = letter_of(there.take(version_of(b"abcdef")[1], partition=1))
    assert (letter.reason, letter.partition) == ("mixed-up", 0)


def test_the_oldest_of_too_many_open_versions_is_given_up(
    there: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "MAX_OPEN_VERSIONS", 1)
    there.take(version_of(b"abcdef", version=V1)[0])
    effects = there.take(version_of(b"abcdef", version=V2)[0])
    assert letter_of(effects[:-1]).reason == "too-many-open"
    assert effects[-1] == Write(V2, 0, b"abc")


def test_a_whole_version_is_never_given_up_for_others(
    there: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "MAX_OPEN_VERSIONS", 1)
    there.take_all(version_of(b"abc", version=V1))
    there.take_all(version_of(b"abc", version=V2))
    there.perform()
    assert [each.manifest.version for each in there.published] == [V1, V2]
    assert there.told == []


def test_a_version_that_cannot_be_written_is_a_dead_letter(there: Destination) -> None:
    there.take_all(version_of(b"abc"))
    effects = there.assembler.rejected(V1, "in-the-way", "a directory has its name")
    letter = DeadLetter(TOPIC, 0, 0, 0, "in-the-way", "a directory has its name", PATH, V1)
    assert effects == [Discard(V1), Tell(letter)]


# -- partitions come and go ----------------------------------------------------------------


def test_a_partition_is_owned_from_assignment_to_the_end(there: Destination) -> None:
    there.assembler.assigned(1, 40, SafePoint(40, 40), [], 0.0)
    assert there.assembler.positions() == {0: 0, 1: 40}
    assert there.assembler.position(1) == 40
    assert there.assembler.forget(1) == []
    assert there.assembler.position(1) is None


def test_the_open_versions_of_a_partition_go_with_it(there: Destination) -> None:
    there.assembler.assigned(1, 0, START, [], 0.0)
    there.take(version_of(b"abcdef")[0])
    there.take(version_of(b"abcdef", version=V2, path=OTHER)[0], partition=1)
    assert there.assembler.forget(1) == [V2]
    assert there.assembler.incomplete() == [(PATH, V1)]


def test_a_saved_version_goes_on_where_it_was(there: Destination) -> None:
    first, second, last = version_of(b"abcdefgh")
    there.take_all([first, second])
    [saved] = there.assembler.saved()
    progress = SavedInOrder(2, 6, Opening(8, 7, "lab", {"run": "1"}))
    assert saved == Saved(V1, PATH, 0, 0, 1, 0, progress)
    again = there.restarted()
    again.take_all([second, last])
    again.perform()
    assert [each.content for each in again.published] == [b"abcdefgh"]
    assert again.published[0].manifest.first_offset == 0


def test_a_whole_version_is_not_saved_since_it_is_to_be_published_first(
    there: Destination,
) -> None:
    there.take_all(version_of(b"abc"))
    assert there.assembler.saved() == []
    assert there.assembler.open_count() == 1


def test_records_handled_by_somebody_are_skipped_except_those_of_open_versions(
    there: Destination,
) -> None:
    # Given a partition whose former owner handled all before offset 5 but V1's beginning at 2,
    there.assembler.assigned(1, 2, SafePoint(2, 5, frozenset({V1})), [], 0.0)
    record = there.assembler.record
    # then V1 is built, and neither V2 nor an unreadable record is handled again,
    first, second, last = version_of(b"abcdefgh")
    assert record(1, 2, first, 0.0) == [Write(V1, 0, b"abc")]
    assert record(1, 3, version_of(b"x", version=V2)[0], 0.0) == []
    assert record(1, 4, RecordRejected("foreign", "not ours"), 0.0) == []
    # until the position of the former owner is reached.
    assert record(1, 5, RecordRejected("foreign", "not ours"), 0.0) != []
    record(1, 6, second, 0.0)
    assert record(1, 7, last, 0.0)[-1] == Publish(
        Manifest(PATH, V1, 8, 7, 3, digest(b"abcdefgh"), TOPIC, 1, 2, 7, "lab", {"run": "1"})
    )


# -- what may be committed -----------------------------------------------------------------


def test_the_safe_offset_is_the_position_when_nothing_is_open(there: Destination) -> None:
    there.take_all(version_of(b"abcdef"))
    there.perform()
    assert there.assembler.safe_points() == {0: SafePoint(2, 2)}


def test_the_safe_offset_is_the_first_offset_of_the_oldest_open_version(
    there: Destination,
) -> None:
    there.take(RecordRejected("foreign", "not ours"))
    there.take(version_of(b"abcdef", version=V1)[0])
    there.take(version_of(b"abcdef", version=V2)[0])
    assert there.assembler.safe_points() == {0: SafePoint(1, 3, frozenset({V1, V2}))}


def test_a_whole_version_holds_the_safe_offset_until_it_is_published(there: Destination) -> None:
    there.take_all(version_of(b"abc"))
    assert there.assembler.safe_points() == {0: SafePoint(0, 1, frozenset({V1}))}
    there.perform()
    assert there.assembler.safe_points() == {0: SafePoint(1, 1)}


def test_what_the_former_owner_handled_stays_known_while_it_is_read_again(
    there: Destination,
) -> None:
    handled = SafePoint(2, 5, frozenset({V1}))
    there.assembler.assigned(1, 2, handled, [], 0.0)
    assert there.assembler.safe_points()[1] == handled
    there.assembler.record(1, 2, version_of(b"abcdef")[0], 0.0)
    assert there.assembler.safe_points()[1] == handled


def test_a_stale_version_is_told_once_and_holds_nothing_back(there: Destination) -> None:
    there.take(version_of(b"abcdef")[0])
    assert there.assembler.stale(now=10.0, stale_after=10.0) == []
    effects = there.assembler.stale(now=10.1, stale_after=10.0)
    assert effects == [Tell(VersionStale(PATH, V1, 0, 0))]
    assert there.assembler.stale(now=99.0, stale_after=10.0) == []
    assert there.assembler.safe_points() == {0: SafePoint(1, 1, frozenset({V1}))}


def test_a_stale_version_that_goes_on_counts_again(there: Destination) -> None:
    first, second, _ = version_of(b"abcdefgh")
    there.take(first)
    there.assembler.stale(now=10.1, stale_after=10.0)
    there.take(second)
    assert there.assembler.safe_points() == {0: SafePoint(0, 2, frozenset({V1}))}


def test_a_whole_version_is_never_stale(there: Destination) -> None:
    there.take_all(version_of(b"abc"))
    assert there.assembler.stale(now=99.0, stale_after=10.0) == []


# -- properties ----------------------------------------------------------------------------


class Journey(NamedTuple):
    """A content and the records that a sender made of it, in the order of the topic."""

    content: bytes
    records: list[Chunk]


def sent_in_one_go(content: bytes, chunk_size: int, version: VersionId, path: Path) -> list[Chunk]:
    transfer = Transfer(path, Opening(len(content)), Progress(version, chunk_size))
    return _read_to_the_end(transfer, content)


def _read_to_the_end(transfer: Transfer, content: bytes) -> list[Chunk]:
    records = []
    while transfer.state is State.READING:
        data = content[transfer.position : transfer.position + transfer.want]
        item = transfer.read(data, unchanged=True)
        assert item is None or isinstance(item, Chunk)
        records += [item] if item is not None else []
    return records


@st.composite
def interrupted(draw: st.DrawFn, version: VersionId = V1, path: Path = PATH) -> Journey:
    """Sent in several runs, each of which begins at any record that was sent before: the
    acknowledgements of the others did not arrive, or not in the ledger."""
    content, size = draw(st.binary(max_size=24)), draw(st.integers(1, 9))
    whole = sent_in_one_go(content, size, version, path)
    records: list[Chunk] = []
    reached = 0
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, reached))
        reached = max(reached, draw(st.integers(begin, len(whole))))
        records += whole[begin:reached]
    return Journey(content, records + whole[draw(st.integers(0, reached)) :])


@st.composite
def grown(draw: st.DrawFn, version: VersionId = V1, path: Path = PATH) -> Journey:
    """Sent while it was written: appended to and, here and there, written again."""
    size = draw(st.integers(1, 9))
    transfer = Transfer(path, Opening(), Progress(version, size))
    content = bytearray()
    records: list[Chunk] = []
    for piece in draw(st.lists(st.binary(min_size=1, max_size=12), max_size=6)):
        content += piece
        if draw(st.booleans()):
            at = draw(st.integers(0, len(content) - 1))
            content[at : at + 2] = b"!!"[: len(content) - at]
        while len(content) >= transfer.position + size:
            item = transfer.read(
                bytes(content[transfer.position : transfer.position + size]), unchanged=False
            )
            assert isinstance(item, Chunk)
            records.append(item)
    transfer.settled(len(content), mtime_ns=1)
    return Journey(bytes(content), records + _read_to_the_end(transfer, bytes(content)))


journeys = interrupted() | grown()
Damage = Callable[[list[Chunk], st.DataObject], list[Chunk]]


def truncate(records: list[Chunk], data: st.DataObject) -> list[Chunk]:
    return records[: data.draw(st.integers(0, len(records) - 1))]


def lose_one(records: list[Chunk], data: st.DataObject) -> list[Chunk]:
    at = data.draw(st.integers(0, len(records) - 1))
    return records[:at] + records[at + 1 :]


def reorder(records: list[Chunk], data: st.DataObject) -> list[Chunk]:
    return data.draw(st.permutations(records))


def flip_a_bit(records: list[Chunk], data: st.DataObject) -> list[Chunk]:
    at = data.draw(st.integers(0, len(records) - 1))
    each = records[at]
    assume(each.data)
    damaged = bytearray(each.data)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return [*records[:at], replace_chunk(each, data=bytes(damaged)), *records[at + 1 :]]


def move_one(records: list[Chunk], data: st.DataObject) -> list[Chunk]:
    at = data.draw(st.integers(0, len(records) - 1))
    moved = replace_chunk(records[at], start=data.draw(st.integers(0, 30)))
    return [*records[:at], moved, *records[at + 1 :]]


def rename_one(records: list[Chunk], data: st.DataObject) -> list[Chunk]:
    at = data.draw(st.integers(0, len(records) - 1))
    return [*records[:at], replace_chunk(records[at], path=OTHER), *records[at + 1 :]]


def replace_chunk(
    chunk: Chunk, *, data: bytes | None = None, start: int | None = None, path: Path | None = None
) -> Chunk:
    return Chunk(
        chunk.path if path is None else path,
        chunk.version,
        chunk.index,
        chunk.start if start is None else start,
        chunk.data if data is None else data,
        chunk.opening,
        chunk.closing,
    )


def taken_over_the_wire(records: list[Chunk], there: Destination, data: st.DataObject) -> None:
    """Encode and decode each record, as Kafka carries it; perform the effects now and then."""
    late = data.draw(st.sets(st.integers(0, max(0, len(records) - 1))), "effects performed after")
    for at, each in enumerate(records):
        try:
            there.take(decode_native(encode(each)))
        except RecordRejected as rejected:
            there.take(rejected)
        if at in late:
            there.perform()
    there.perform()


@given(journeys, st.data())
def test_whatever_a_sender_does_the_content_arrives_once(
    journey: Journey, data: st.DataObject
) -> None:
    there = Destination()
    taken_over_the_wire(journey.records, there, data)
    assert [each.content for each in there.published] == [journey.content]
    assert there.told == []
    assert there.spooled == {}
    assert there.assembler.safe_points()[0].offset == len(journey.records)


@given(journeys, st.data())
def test_a_receiver_may_restart_after_any_checkpoint(journey: Journey, data: st.DataObject) -> None:
    there = Destination()
    restarts = data.draw(st.sets(st.integers(0, len(journey.records) - 1)), "restarts before")
    for at, each in enumerate(journey.records):
        there = there.restarted() if at in restarts else there
        there.take(each)
    there.perform()
    assert [each.content for each in there.published] == [journey.content]
    assert there.told == []


@given(interrupted(V1, PATH), grown(V2, OTHER), interrupted(V3, OTHER), st.data())
def test_versions_mixed_in_any_way_arrive_each_once(
    one: Journey, two: Journey, three: Journey, data: st.DataObject
) -> None:
    there = Destination()
    waiting = [deque(one.records), deque(two.records), deque(three.records)]
    while ready := [each for each in waiting if each]:
        there.take(data.draw(st.sampled_from(ready)).popleft())
        if data.draw(st.booleans()):
            there.perform()
    there.perform()
    arrived = {each.manifest.version: each.content for each in there.published}
    assert arrived == {V1: one.content, V2: two.content, V3: three.content}
    assert len(there.published) == 3


@pytest.mark.parametrize("damage", [truncate, lose_one, reorder, flip_a_bit, move_one, rename_one])
def test_damaged_records_give_the_content_or_a_reason_and_never_other_bytes(
    damage: Damage,
) -> None:
    @given(journeys, st.data())
    def check(journey: Journey, data: st.DataObject) -> None:
        there = Destination()
        taken_over_the_wire(damage(journey.records, data), there, data)
        contents = [each.content for each in there.published]
        if contents:  # the damaged record was a repeated one, or written over later
            assert contents == [journey.content]
        else:
            assert (
                there.reasons()
                or there.assembler.incomplete()
                or damage is truncate
                or (damage is lose_one and len(journey.records) == 1)
            )
            assert all(version == V1 for _, version in there.assembler.incomplete())

    check()


@given(st.binary(min_size=4, max_size=24), st.integers(1, 3), st.data())
def test_damage_to_a_version_sent_once_always_has_a_reason(
    content: bytes, size: int, data: st.DataObject
) -> None:
    records = sent_in_one_go(content, size, V1, PATH)
    damage = data.draw(st.sampled_from([lose_one, reorder, flip_a_bit, move_one, rename_one]))
    damaged = damage(records, data)
    assume(damaged != records)
    there = Destination()
    taken_over_the_wire(damaged, there, data)
    assert there.published == []
    assert there.reasons() or there.assembler.incomplete() == [(PATH, V1)]
