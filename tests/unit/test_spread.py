"""Files of the older format: chunks over all partitions, in any order, told apart by content."""

from __future__ import annotations

import pytest
from destination import TOPIC, Destination, digest
from hypothesis import given
from hypothesis import strategies as st

from openmsi.errors import RecordRejected
from openmsi.events import DeadLetter, Notice, VersionStale
from openmsi.protocol import (
    SEVERAL,
    Abort,
    Chunk,
    LegacyChunk,
    Manifest,
    Opening,
    Path,
    SafePoint,
    Spans,
    VersionId,
    decode,
    encode,
    encode_legacy,
)
from openmsi.receive import progress
from openmsi.receive.assembly import Discard, Publish, Tell, Verify, Write
from openmsi.receive.progress import SavedSpread

PATH = Path("run 1/scan.dat")
ABC = b"abcdefgh"


def chunks_of(
    content: bytes, size: int = 3, path: Path = PATH, mtime_ns: int | None = None
) -> list[LegacyChunk]:
    """The chunks of this content, as one sender makes them."""
    starts = range(0, max(1, len(content)), size)
    whole = digest(content, "sha512")
    return [
        LegacyChunk(path, whole, index, len(starts), start, content[start : start + size], mtime_ns)
        for index, start in enumerate(starts)
    ]


@pytest.fixture
def there() -> Destination:
    """With three partitions."""
    return Destination(partitions=3)


# -- one file ------------------------------------------------------------------------------


def test_the_content_is_checked_when_every_byte_is_there(there: Destination) -> None:
    first, second, last = chunks_of(ABC, mtime_ns=7_000_000_000)
    version = first.version
    assert there.take(last, 2, 11) == [Write(version, 6, b"gh")]
    assert there.take(first, 0, 13) == [Write(version, 0, b"abc")]
    assert there.take(second, 1, 12) == [Write(version, 3, b"def"), Verify(version, "sha512")]
    assert there.assembler.verified(version, first.digest) == [
        Publish(
            Manifest(
                PATH,
                version,
                8,
                7_000_000_000,
                3,
                first.digest,
                TOPIC,
                SEVERAL,
                SEVERAL,
                SEVERAL,
                timestamp_ms=13,
            )
        )
    ]


def test_an_empty_file_and_one_chunk_have_a_place(there: Destination) -> None:
    there.take(chunks_of(b"")[0], 1)
    there.take(chunks_of(b"abc", path=Path("other"))[0], 2)
    there.perform()
    found = {each.manifest.path: (each.content, each.manifest) for each in there.published}
    assert found[PATH][0] == b""
    assert (found[PATH][1].partition, found[PATH][1].first_offset) == (1, 0)
    assert found[Path("other")][0] == b"abc"
    assert found[Path("other")][1].partition == 2


def test_what_is_repeated_is_not_written_again(there: Destination) -> None:
    first, second, last = chunks_of(ABC)
    there.take(first, 0)
    assert there.take(first, 1) == []
    there.take(second, 1)
    there.take(last, 2)
    assert there.take(first, 0) == []
    there.perform()
    assert there.take(last, 2) == []
    assert [each.content for each in there.published] == [ABC]


def test_chunks_of_another_size_complete_it_too(there: Destination) -> None:
    """Two senders of one content, or one that was started again with another chunk size."""
    there.take(chunks_of(ABC, 3)[0], 0)
    for each in chunks_of(ABC, 5):
        there.take(each, 1)
    there.perform()
    assert [each.content for each in there.published] == [ABC]


def test_the_end_is_learned_from_a_chunk_whose_bytes_are_there(there: Destination) -> None:
    long = LegacyChunk(PATH, digest(ABC, "sha512"), 0, 2, 0, ABC)
    there.take(long, 0)
    there.take(chunks_of(ABC, 4)[1], 0)
    there.perform()
    assert [each.content for each in there.published] == [ABC]


def test_two_contents_under_one_name_do_not_mix(there: Destination) -> None:
    one, two = chunks_of(b"aaaaaaa"), chunks_of(b"bbbbb")
    for place, each in enumerate([one[0], two[0], one[1], two[1], one[2]]):
        there.take(each, place % 3, place)
    there.perform()
    assert [each.content for each in there.published] == [b"bbbbb", b"aaaaaaa"]


def test_an_older_content_does_not_replace_a_newer_one(there: Destination) -> None:
    """As when partitions are read one after the other, a day later."""
    old, new = chunks_of(b"the old one"), chunks_of(b"the new")
    for each in old[:-1]:
        there.take(each, 0, 100)
    for each in new:
        there.take(each, 0, 200)
    there.perform()
    there.take(old[-1], 1, 101)
    there.perform()
    assert [each.content for each in there.published] == [b"the new"]
    assert len(there.told) == 1 and isinstance(there.told[0], Notice)
    assert there.assembler.incomplete() == []


def test_a_content_that_comes_back_is_published_again(there: Destination) -> None:
    for time, content in enumerate([b"aaaa", b"bbbb", b"aaaa"]):
        for each in chunks_of(content):
            there.take(each, each.index % 3, time)
        there.perform()
    assert [each.content for each in there.published] == [b"aaaa", b"bbbb", b"aaaa"]


# -- what is wrong -------------------------------------------------------------------------


def test_a_wrong_digest_is_a_dead_letter_and_a_repetition_succeeds(there: Destination) -> None:
    first, second, last = chunks_of(ABC)
    wrong = LegacyChunk(PATH, first.digest, 1, 3, 3, b"xyz")
    for place, each in enumerate([first, wrong, last]):
        there.take(each, place)
    there.perform()
    [letter] = there.told
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.partition, letter.path) == ("bad-digest", SEVERAL, PATH)
    assert there.spooled == {}
    for each in [second, first, last]:
        there.take(each, 0)
    there.perform()
    assert [each.content for each in there.published] == [ABC]


@pytest.mark.parametrize(
    "wrong",
    [
        LegacyChunk(PATH, digest(ABC, "sha512"), 2, 3, 6, b"too long"),
        LegacyChunk(PATH, digest(ABC, "sha512"), 2, 3, 2, b"x"),
        LegacyChunk(PATH, digest(ABC, "sha512"), 1, 3, 30, b"x"),
    ],
)
def test_chunks_that_contradict_each_other_are_a_dead_letter(
    there: Destination, wrong: LegacyChunk
) -> None:
    first, second, last = chunks_of(ABC)
    for each in [last, second, first][: 2 if wrong.index == 2 else 1]:
        there.take(each, 0)
    effects = there.take(wrong, 0)
    assert isinstance(effects[-1], Tell) and isinstance(effects[-1].event, DeadLetter)
    assert effects[-1].event.reason == "bad-size"


def test_the_end_before_what_is_there_is_a_dead_letter(there: Destination) -> None:
    there.take(LegacyChunk(PATH, digest(ABC, "sha512"), 1, 3, 30, b"x"), 0)
    effects = there.take(chunks_of(ABC)[2], 0)
    assert effects[0] == Discard(chunks_of(ABC)[0].version)
    assert there.assembler.incomplete() == []


def test_pieces_without_end_are_refused(
    there: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MAX_SPANS", 2)
    chunks = chunks_of(b"abcdefghijklmnop", 1)
    for each in (chunks[1], chunks[3]):
        assert len(there.take(each, 0)) == 1
    [_, told] = there.take(chunks[5], 0)
    assert isinstance(told, Tell) and isinstance(told.event, DeadLetter)
    assert told.event.reason == "bad-size"


def test_an_abort_means_nothing_here(there: Destination) -> None:
    first, *others = chunks_of(ABC)
    there.take(first, 0)
    assert there.take(Abort(PATH, first.version, "stop"), 0) == []
    for each in others:
        there.take(each, 1)
    there.perform()
    assert [each.content for each in there.published] == [ABC]


def test_records_of_both_formats_live_side_by_side(there: Destination) -> None:
    there.take(chunks_of(ABC)[0], 0)
    there.take(decode(encode(Chunk(PATH, VersionId("1" * 32), 0, 0, b"abc", Opening(9)))), 0)
    for each in chunks_of(ABC)[1:]:
        there.take(each, 1)
    there.perform()
    assert [each.content for each in there.published] == [ABC]
    assert there.assembler.incomplete() == [(PATH, VersionId("1" * 32))]


# -- partitions, commits, restarts ---------------------------------------------------------


def test_each_partition_with_a_record_of_it_is_held_back(there: Destination) -> None:
    first, second, last = chunks_of(ABC)
    version = first.version
    there.take(RecordRejected("foreign", ""), 0)
    there.take(first, 0)
    there.take(RecordRejected("foreign", ""), 1)
    there.take(RecordRejected("foreign", ""), 1)
    there.take(second, 1)
    there.take(first, 1)
    assert there.assembler.safe_points() == {
        0: SafePoint(1, 2, frozenset({version})),
        1: SafePoint(4, 6, frozenset({version})),
        2: SafePoint(0, 0),
    }
    there.take(last, 2)
    there.perform()
    assert there.assembler.safe_points()[1] == SafePoint(6, 6)


def test_it_goes_stale_like_any_other(there: Destination) -> None:
    first, second, _ = chunks_of(ABC)
    there.take(first, 0)
    there.take(second, 1)
    [told] = there.assembler.stale(10.0, 5.0)
    assert told == Tell(VersionStale(PATH, first.version, SEVERAL, SEVERAL))
    assert there.assembler.safe_points()[1].offset == 2


def test_what_is_left_of_a_content_that_was_given_up_is_not_missed(
    there: Destination,
) -> None:
    """Its sender began to send it, met a change, and sent the newer content."""
    old, new = chunks_of(b"the old one"), chunks_of(b"the new")
    there.take(old[0], 0, 100)
    for each in new:
        there.take(each, 1, 200)
    there.perform()
    assert there.assembler.incomplete() == []
    assert there.assembler.safe_points()[0].offset == 0, "it may go on all the same"
    saved = there.assembler.saved()
    again = Destination(there.published, partitions=0)
    again.assembler.assigned(0, 1, SafePoint(1, 1), saved, 0.0)
    assert again.assembler.incomplete() == []
    assert again.assembler.stale(10.0, 20.0) == []
    assert again.assembler.stale(30.0, 20.0) == [Discard(old[0].version)]
    assert again.assembler.saved() == []


def test_a_content_that_goes_on_after_another_was_published_is_waited_for(
    there: Destination,
) -> None:
    one, two = chunks_of(b"one sender"), chunks_of(b"another")
    there.take(one[0], 0, 100)
    for each in two:
        there.take(each, 1, 200)
    there.perform()
    there.take(one[1], 0, 300)
    assert there.assembler.incomplete() == [(PATH, one[0].version)]
    for each in one[2:]:
        there.take(each, 2, 301)
    there.perform()
    assert [each.content for each in there.published] == [b"another", b"one sender"]


def test_what_a_lost_partition_brought_still_counts(there: Destination) -> None:
    first, second, last = chunks_of(ABC)
    there.take(first, 0)
    there.take(second, 1)
    assert there.assembler.forget(0) == []
    there.take(last, 1)
    there.perform()
    assert [each.content for each in there.published] == [ABC]


def test_with_its_last_partition_it_is_forgotten(there: Destination) -> None:
    first, second, _ = chunks_of(ABC)
    there.take(first, 0)
    there.take(second, 1)
    assert there.assembler.forget(0) == []
    assert there.assembler.forget(1) == [first.version]
    assert there.assembler.incomplete() == []


def test_it_is_saved_once_for_each_partition(there: Destination) -> None:
    first, _, last = chunks_of(ABC, mtime_ns=5_000_000_000)
    there.take(first, 0, 3)
    there.take(last, 2, 2)
    one, two = there.assembler.saved()
    saved = SavedSpread(first.digest, 3, [(0, 3), (6, 8)], 8, 5_000_000_000)
    assert (one.partition, one.first_offset, one.timestamp_ms, one.progress) == (0, 0, 3, saved)
    assert (two.partition, two.first_offset, two.timestamp_ms, two.progress) == (2, 1, 3, saved)
    assert saved.extent == 8
    assert SavedSpread(first.digest, 3, []).extent == 0


def test_it_can_go_on_unless_it_was_begun_anew(there: Destination) -> None:
    first, second, last = chunks_of(ABC)
    there.take(first, 0)
    there.take(second, 1)
    of_0, of_1 = there.assembler.saved()
    new = Destination(partitions=0)
    assert new.assembler.can_resume(of_0)
    new.assembler.assigned(0, 1, SafePoint(1, 1), [of_0], 0.0)
    assert new.assembler.can_resume(of_1)
    new.assembler.assigned(1, 2, SafePoint(2, 2), [of_1], 0.0)
    assert new.assembler.safe_points()[1] == SafePoint(1, 2, frozenset({first.version}))
    anew = Destination(partitions=1)
    anew.take(last, 0)
    assert not anew.assembler.can_resume(of_1)


@given(st.data())
def test_any_order_over_any_partitions_with_restarts_gives_the_same_bytes(
    data: st.DataObject,
) -> None:
    contents = data.draw(st.lists(st.binary(max_size=30), min_size=1, max_size=3, unique=True))
    partitions = 3
    topic: list[list[LegacyChunk]] = [[] for _ in range(partitions)]
    for content in contents:
        chunks = chunks_of(content, data.draw(st.integers(1, 12)))
        for each in data.draw(st.permutations(chunks + data.draw(st.permutations(chunks)))):
            topic[data.draw(st.integers(0, partitions - 1))].append(each)
    there = Destination(partitions=partitions)
    positions, crashes = [0] * partitions, 3
    while any(at < len(log) for at, log in zip(positions, topic, strict=True)):
        partition = data.draw(
            st.sampled_from(
                [each for each in range(partitions) if positions[each] < len(topic[each])]
            )
        )
        item = decode(encode_legacy(topic[partition][positions[partition]]))
        there._effects.extend(there.assembler.record(partition, positions[partition], item, 0.0))
        positions[partition] += 1
        if data.draw(st.integers(0, 4)) == 0:
            there.perform()
        if crashes and data.draw(st.integers(0, 9)) == 0:
            crashes -= 1
            there = _after_a_crash(there, positions, data.draw(st.booleans()))
    there.perform()
    assert {each.content for each in there.published} == set(contents)
    assert there.reasons() == []


def _after_a_crash(there: Destination, positions: list[int], takes_over: bool) -> Destination:
    """On the same machine, from its journal; or another machine, from the commits alone."""
    there.perform()
    points, saved = there.assembler.safe_points(), there.assembler.saved()
    new = Destination(there.published, partitions=0)
    if not takes_over:
        new.spooled = there.spooled
    for partition, committed in points.items():
        mine = [each for each in saved if each.partition == partition and not takes_over]
        start, handled = positions[partition], SafePoint(positions[partition], positions[partition])
        # As `where_to_start` does it: the one who read on is believed.
        if takes_over or committed.position > start:
            mine = [each for each in mine if each.version in committed.open]
            start, handled = committed.offset, committed
        positions[partition] = start
        new.assembler.assigned(partition, start, handled, mine, 0.0)
    return new


# -- which bytes are there -----------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=30))
def test_spans_are_the_union(ranges: list[tuple[int, int]]) -> None:
    spans, there = Spans(), set[int]()
    for start, size in ranges:
        spans.add(start, start + size)
        there.update(range(start, start + size))
        assert spans.cover(start, start + size)
    assert {each for start, end in spans.list() for each in range(start, end)} == there
    for (_, end), (start, _) in zip(spans.list(), spans.list()[1:], strict=False):
        assert end < start
    assert Spans(spans.list()).list() == spans.list()
    assert spans.extent == max((start + size for start, size in ranges), default=0)
