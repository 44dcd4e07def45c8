"""Dead letters, tried again: their records are read once more and received as at first."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice

from openmsi.errors import RecordRejected
from openmsi.events import DeadLetter, Notice, Report
from openmsi.kafka.seam import Consumer, Fetched, ReadRecord, Rebalanced, TopicInfo
from openmsi.kafka.seam import Notice as OnNotice
from openmsi.protocol import SEVERAL, Chunk, Manifest, Path, SafePoint, VersionId, decode
from openmsi.receive.assembly import Current, Saved
from openmsi.receive.job import ReceiveJob
from openmsi.receive.journal import Journal
from openmsi.receive.receiver import Receiver
from openmsi.receive.sink import Sink


def retry(
    letters: Iterable[DeadLetter],
    topic: TopicInfo,
    read: ReadRecord,
    destination: tuple[Sink, Journal],
    report: Report,
) -> int:
    """Receive the versions of these dead letters again. Those that come out well are published
    and forgotten as dead letters. Returns how many did not.

    A letter about a single record that could not even be decoded stays: the same bytes would be
    refused again.
    """
    sink, journal = destination
    remaining = 0
    for letter in letters:
        if journal.is_superseded(letter):
            journal.forget_letter(letter)
            report(Notice(f"{letter.path}: a later version of it is there; this one is dropped"))
            continue
        if letter.partition == SEVERAL:
            remaining += 1
            report(Notice(f"{letter.path}: in the older format it must be sent again; it is kept"))
            continue
        keeper = _RetryJournal(journal)
        replay = _Replay(read, letter)
        receiver = Receiver(ReceiveJob(topic, ""), partial(_given, replay), sink, keeper, report)
        receiver.run(partial(getattr, replay, "done"))
        if keeper.rebuilt:
            journal.forget_letter(letter)
        else:
            remaining += 1
    return remaining


def _given(replay: _Replay, _: OnNotice) -> Consumer:
    return replay


class _RetryJournal:
    """Lets through what was published; where the group is in the topic is not touched."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.rebuilt = False

    def finished(self, version: VersionId) -> bool:
        return self._journal.finished(version)

    def current(self, path: Path) -> Current | None:
        return self._journal.current(path)

    def position(self, partition: int) -> int | None:
        return None

    def open_versions(self, partition: int) -> list[Saved]:
        return []

    def published(self, manifest: Manifest) -> None:
        self.rebuilt = True
        self._journal.published(manifest)

    def dead_letter(self, letter: DeadLetter) -> None:
        pass  # it is kept already

    def checkpoint(self, positions: dict[int, int], saved: Iterable[Saved]) -> None:
        self._journal.checkpoint({}, [])


class _Replay:
    """A consumer that shows the records of one dead letter's version, and nothing else."""

    def __init__(self, read: ReadRecord, letter: DeadLetter) -> None:
        self._partition = letter.partition
        self._first_offset = letter.first_offset
        self._records = _records_of(read, letter)
        self._listener: Rebalanced | None = None
        self._paused = False
        self.done = False

    def subscribe(self, listener: Rebalanced) -> None:
        self._listener = listener
        listener.assigned({self._partition: SafePoint(-1, -1)})

    def poll(self, max_records: int, timeout: float) -> list[Fetched]:
        if self._paused:
            time.sleep(timeout)
            return []
        taken = list(islice(self._records, 1))
        self.done = not taken
        return taken

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        pass

    def pause(self, partitions: Collection[int]) -> None:
        self._paused = True

    def resume(self, partitions: Collection[int]) -> None:
        self._paused = False

    def lag(self, positions: Mapping[int, int]) -> int:
        return 0

    def leave(self) -> None:
        pass

    def members(self) -> int:
        return 1

    def offsets(self, partition: int) -> tuple[int, int]:
        return self._first_offset, self._first_offset + 1

    def close(self) -> None:
        if self._listener is not None:
            self._listener.revoked([self._partition])


def _records_of(read: ReadRecord, letter: DeadLetter) -> Iterator[Fetched]:
    """The records of the letter's version up to its last one; it may lie after the letter's."""
    offset = letter.first_offset
    while (fetched := read(letter.partition, offset)) is not None or offset < letter.last_offset:
        offset += 1
        if fetched is None:
            continue
        try:
            item = decode(fetched.record)
        except RecordRejected:
            if not letter.version:
                yield fetched
                return
            continue
        if item.version == letter.version or not letter.version:
            yield fetched
            last = not isinstance(item, Chunk) or item.closing is not None
            if last or not letter.version:
                return
