"""The sending and the receiving loop over a broker in memory: real files, no network, no waiting.

A `Lab` has one topic, one directory of an instrument and any number of destinations. A receiver
is either run to the end of the topic, or taken turn by turn, so that a test can stop it between
any two.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest

from openmsi.errors import BrokerUnreachable, KafkaFailure, OpenMSIError
from openmsi.events import (
    DeadLetter,
    Event,
    FileChanged,
    FileFailed,
    FileRebuilt,
    FileSent,
    Resumed,
    SendSummary,
    Started,
    VersionAborted,
    Waiting,
)
from openmsi.kafka.seam import Delivery, Producer
from openmsi.kafka.seam import Notice as OnNotice
from openmsi.protocol import (
    Abort,
    Chunk,
    Closing,
    Digest,
    LegacyChunk,
    Opening,
    Record,
    VersionId,
    check_path,
    digest_of,
    encode,
    encode_legacy,
    new_hasher,
)
from openmsi.protocol import Path as TopicPath
from openmsi.protocol.native import decode_native
from openmsi.receive import receiver as receiving
from openmsi.receive.job import ReceiveJob
from openmsi.receive.journal import Journal
from openmsi.receive.receiver import Receiver
from openmsi.receive.spool import Spool
from openmsi.send import notes
from openmsi.send import sender as sending
from openmsi.send.filters import Filter
from openmsi.send.job import SendJob
from openmsi.send.ledger import Ledger
from openmsi.send.sender import Sender
from openmsi.sinks import DirectorySink
from openmsi.testing import MemoryBroker, MemoryConsumer, MemoryProducer

TOPIC, GROUP = "scans", "group"
CHUNK = 1024
Hook = Callable[[], None]


class Killed(BaseException):
    """The program ends here, as after kill -9: nothing of it runs any more."""


class Lab:
    """One instrument's directory, one topic, and the destinations of one consumer group."""

    def __init__(
        self, directory: Path, partitions: int = 1, settings: dict[str, str] | None = None
    ) -> None:
        self.directory = directory
        self.source = directory / "instrument"
        self.source.mkdir()
        self.broker = MemoryBroker()
        self.broker.admin().create_topic(TOPIC, partitions, settings or {})
        self.events: list[Event] = []
        self._sending: Ledger | None = None

    # -- sending ---------------------------------------------------------------------------

    def write(self, name: str, content: bytes) -> Path:
        file = self.source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def ledger(self) -> Ledger:
        return Ledger(self.directory / "ledger.sqlite", {}, [])

    def send(
        self, hook: Hook = lambda: None, open_producer: Callable[[OnNotice], Producer] | None = None
    ) -> SendSummary:
        """Send all there is, once; `hook` is called before each turn, and may raise Killed."""
        info = self.broker.admin().describe_topic(TOPIC)
        job = SendJob(self.source, info, CHUNK, Filter(), "lab", settle=0.0, once=True)
        self._sending = ledger = self.ledger()
        opener = open_producer or (lambda notice: self.broker.producer(TOPIC, notice))

        def stop() -> bool:
            hook()
            return False

        try:
            return Sender(job, ledger, opener, self.events.append).run(stop)
        finally:
            ledger.close()

    def kill_sender(self) -> NoReturn:
        """To be called in the middle of `send`: what is not in the ledger yet never will be."""
        assert self._sending is not None
        self._sending._dirty.clear()
        self._sending.flush = lambda: None  # type: ignore[method-assign]
        raise Killed

    def send_until(self, records: int, heard: bool = True) -> None:
        """Send, and be killed when so many records are in the topic.

        Args:
            heard: whether the sender took the acknowledgement of the last one.
        """

        def check() -> None:
            if len(self.records()) >= records:
                self.kill_sender()

        def open_producer(notice: OnNotice) -> Producer:
            producer = self.broker.producer(TOPIC, notice)
            if not heard:
                before_the_answer(producer, check)
            return producer

        with pytest.raises(Killed):
            self.send(check if heard else lambda: None, open_producer)

    def put(self, *items: Chunk | Abort) -> None:
        """Put records into the topic, as a sender of another make might."""
        producer = self.broker.producer(TOPIC)
        for each in items:
            producer.produce(encode(each), None)
        assert all(each.error is None for each in producer.poll(0))

    def records(self) -> list[Chunk | Abort]:
        """What is in the topic, partition by partition."""
        admin = self.broker.admin()
        found = []
        for partition in range(admin.describe_topic(TOPIC).partitions):
            offset = 0
            while (fetched := admin.read(TOPIC, partition, offset)) is not None:
                found.append(decode_native(fetched.record))
                offset += 1
        return found

    # -- receiving -------------------------------------------------------------------------

    def receiver(self, name: str = "there", until_end: bool = True) -> Receiver:
        info = self.broker.admin().describe_topic(TOPIC)
        journal = Journal(self.directory / f"{name}.sqlite", {}, [])
        return Receiver(
            ReceiveJob(info, GROUP, until_end=until_end),
            lambda notice: self.broker.consumer(TOPIC, GROUP, notice),
            DirectorySink(self.directory / name),
            journal,
            self.events.append,
        )

    def receive(self, name: str = "there", hook: Hook = lambda: None) -> None:
        """Receive until the topic ends."""

        def stop() -> bool:
            hook()
            return False

        receiver = self.receiver(name)
        try:
            receiver.run(stop)
        finally:
            close_journal(receiver)

    # -- what came of it -------------------------------------------------------------------

    def rebuilt(self) -> Counter[tuple[str, str]]:
        """How often each content (path and digest) was given its name."""
        found = [each for each in self.events if isinstance(each, FileRebuilt)]
        return Counter((each.path, each.digest) for each in found)

    def of(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]

    def told(self) -> list[type[Event]]:
        """The kinds of events so far, without `Started`, which tells nothing of files."""
        return [type(each) for each in self.events if not isinstance(each, Started)]

    def arrived(self, name: str = "there") -> dict[str, bytes]:
        """The files at a destination, those that are not finished included."""
        return tree(self.directory / name)


def tree(root: Path) -> dict[str, bytes]:
    return {
        each.relative_to(root).as_posix(): each.read_bytes()
        for each in sorted(root.rglob("*"))
        if each.is_file()
    }


def before_the_answer(producer: MemoryProducer, act: Hook) -> None:
    """Do something whenever the topic took records, before the sender hears of it."""
    real = producer.poll

    def poll(timeout: float) -> list[Delivery]:
        delivered = real(timeout)
        act()
        return delivered

    producer.poll = poll  # type: ignore[method-assign]


def finished_only(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without what a receiver keeps of unfinished versions."""
    return {name: each for name, each in files.items() if not name.startswith(".openmsi/")}


class Turning:
    """A receiver taken turn by turn: what `Receiver.run` does, with pauses in between."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        receiver._consumer.subscribe(receiver)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.receiver._turn()

    def stop(self) -> None:
        """Finish cleanly, as after Ctrl-C."""
        self.receiver._close()
        close_journal(self.receiver)


def close_journal(receiver: Receiver) -> None:
    assert isinstance(receiver._journal, Journal)
    receiver._journal.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(receiving, "CHECKPOINT_SECONDS", 0.0)  # one in every turn
    monkeypatch.setattr(receiving, "MAX_BATCH", 4)
    monkeypatch.setattr(notes, "LEDGER_SECONDS", 0.0)
    monkeypatch.setattr(sending, "STOP_SECONDS", 0.0)
    return Lab(tmp_path)


def large(chunks: int, seed: int = 1) -> bytes:
    """A content of so many chunks and a bit, no two alike."""
    return b"".join(bytes([seed, each]) * (CHUNK // 2) for each in range(chunks)) + b"end"


# -- a tree --------------------------------------------------------------------------------


def test_a_tree_arrives_equal_with_its_times(lab: Lab) -> None:
    for name, content in {
        "empty.dat": b"",
        "one byte": b"x",
        "exactly one chunk.bin": bytes(CHUNK),
        "several/chunks.bin": large(5),
        "several/deep/er/Zoë\t日本.txt": b"named oddly",
        "-rf": b"leading dash",
    }.items():
        os.utime(lab.write(name, content), ns=(1, 1_600_000_000_123_456_789))
    assert lab.send().sent == 6
    lab.receive()
    assert lab.arrived() == tree(lab.source)
    assert set(lab.rebuilt().values()) == {1}
    times = {each.stat().st_mtime_ns for each in lab.directory.glob("there/**/*.*")}
    assert 1_600_000_000_123_456_789 in times


def test_what_was_sent_is_not_sent_again_and_what_changed_is(lab: Lab) -> None:
    lab.write("same.dat", b"same")
    changed = lab.write("changed.dat", b"before")
    lab.send()
    changed.write_bytes(b"after!")
    summary = lab.send()
    assert (summary.sent, summary.already_sent) == (1, 1)
    lab.receive()
    assert lab.arrived() == {"same.dat": b"same", "changed.dat": b"after!"}


def test_what_was_received_is_not_received_again(lab: Lab) -> None:
    lab.write("a.dat", large(3))
    lab.send()
    lab.receive()
    lab.receive()
    assert set(lab.rebuilt().values()) == {1}


# -- the broker ----------------------------------------------------------------------------


class Breaking:
    """A producer that breaks for good: after some records, every further one fails.

    Args:
        kept: the failed records are in the topic all the same; only the answers were lost.
    """

    def __init__(self, lab: Lab, notice: OnNotice, good: int, kept: bool) -> None:
        self._lab = lab
        self._inner = lab.broker.producer(TOPIC, notice)
        self._good = good
        self._kept = kept

    def produce(self, record: Record, token: object) -> bool:
        return self._inner.produce(record, token)

    def poll(self, timeout: float) -> list[Delivery]:
        waiting = len(self._inner._queue)
        failing = max(0, waiting - self._good)
        passing = waiting - failing
        self._good -= passing
        kept, self._inner._queue = self._inner._queue, self._inner._queue[:passing]
        delivered = self._inner.poll(timeout)
        error = KafkaFailure("producer", "fatal", retriable=True)
        if self._kept and failing:
            self._inner._queue = kept[passing:]
            self._inner.poll(timeout)
        return delivered + [Delivery(token, -1, -1, error) for _, token in kept[passing:]]

    def close(self) -> None:
        self._inner.close()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("good", [0, 1, 5])
def test_a_broken_producer_is_replaced_and_the_file_goes_on(
    lab: Lab, good: int, kept: bool
) -> None:
    # Given a producer that breaks after a few records,
    lab.write("large.dat", large(8))
    opened: list[Producer] = []

    def open_producer(notice: OnNotice) -> Producer:
        is_first = not opened
        opened.append(
            Breaking(lab, notice, good, kept) if is_first else lab.broker.producer(TOPIC, notice)
        )
        return opened[-1]

    # when a file is sent,
    assert lab.send(open_producer=open_producer).sent == 1
    # then another producer goes on with the same version where the acknowledgements ended,
    assert len(opened) == 2
    records = lab.records()
    assert len({each.version for each in records}) == 1
    assert len(records) == 9 or kept
    # and the file arrives.
    lab.receive()
    assert lab.arrived() == tree(lab.source)
    assert set(lab.rebuilt().values()) == {1}
    assert lab.of(DeadLetter) == []


def test_a_lost_record_before_one_that_arrived_makes_another_version(lab: Lab) -> None:
    # Given a topic that takes later records of a file although an earlier one failed,
    lab.write("large.dat", large(3))

    seen: list[int] = []

    def open_producer(notice: OnNotice) -> Producer:
        producer = lab.broker.producer(TOPIC, notice)
        if not seen:
            seen.append(1)
            lab.broker.fail_next(1, KafkaFailure("producer", "broken", retriable=True))
            producer.poll = delayed(producer.poll, 3)  # type: ignore[method-assign,assignment]
        return producer

    assert lab.send(open_producer=open_producer).sent == 1
    # then a receiver, which has to reject the version with the gap, gets the file in another.
    lab.receive()
    assert lab.arrived() == tree(lab.source)


def delayed(
    poll: Callable[[float], list[Delivery]], times: int
) -> Callable[[float], list[Delivery]]:
    """Let records gather in the producer for so many polls."""
    left = [times]

    def wait(timeout: float) -> list[Delivery]:
        left[0] -= 1
        return [] if left[0] >= 0 else poll(timeout)

    return wait


def test_a_broker_that_is_away_for_a_while_is_waited_for(lab: Lab) -> None:
    lab.write("large.dat", large(8))

    def away(first: int, last: int) -> Hook:
        turn = [0]

        def hook() -> None:
            turn[0] += 1
            lab.broker.away = first <= turn[0] < last

        return hook

    lab.send(away(4, 12))
    assert lab.told() == [Waiting, Resumed, FileSent]
    lab.events.clear()
    lab.receive(hook=away(3, 9))
    assert [type(each) for each in lab.events] == [Started, Waiting, Resumed, FileRebuilt]
    assert lab.arrived() == tree(lab.source)


def test_a_topic_that_refuses_to_answer_ends_the_sender_and_nothing_is_lost(lab: Lab) -> None:
    lab.write("large.dat", large(8))
    lab.broker.fail_next(1, BrokerUnreachable("b", "gone"))
    assert lab.send().sent == 1
    lab.receive()
    assert lab.arrived() == tree(lab.source)


def add_partitions(broker: MemoryBroker, count: int) -> None:
    """What `kafka-topics.sh --alter --partitions` does: keys move to other partitions."""
    topic = broker._topic(TOPIC)
    topic.info = msgspec.structs.replace(topic.info, partitions=count)
    while len(topic.logs) < count:
        topic.logs.append(type(topic.logs[0])())


def test_a_version_caught_in_a_change_of_partitions_is_aborted_and_sent_again(lab: Lab) -> None:
    # Given a file of which a part is in the topic when the number of partitions changes,
    lab.write("scan.dat", large(8))

    def hook() -> None:
        if len(lab.records()) == 4:
            add_partitions(lab.broker, 3)

    # when it is sent, it fails by name,
    assert lab.send(hook).failed == 1
    assert lab.of(FileFailed) == [
        FileFailed("scan.dat", "the topic's number of partitions changed", retry=False)
    ]
    # and the next attempt is another version, in one partition.
    assert lab.send().sent == 1
    lab.receive()
    assert lab.arrived()["scan.dat"] == large(8)
    assert set(lab.rebuilt().values()) == {1}


def test_a_record_that_is_too_large_fails_its_file_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, settings={"max.message.bytes": "900"})
    lab.write("large.dat", large(2))
    lab.write("small.dat", b"small")
    summary = lab.send()
    assert (summary.sent, summary.failed) == (1, 1)
    [failed] = lab.of(FileFailed)
    assert isinstance(failed, FileFailed)
    assert "too large" in failed.reason
    lab.receive()
    assert lab.arrived() == {"small.dat": b"small"}


# -- the sender is killed ------------------------------------------------------------------


@pytest.mark.parametrize("records", range(1, 10))
@pytest.mark.parametrize("heard", [True, False])
@pytest.mark.parametrize("flushed", [True, False])
def test_a_sender_may_be_killed_after_any_record(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, records: int, heard: bool, flushed: bool
) -> None:
    if heard and records == 9:
        return  # then it is done
    # Given a sender that is killed, whether its ledger was just written or not,
    lab.write("large.dat", large(8))
    monkeypatch.setattr(notes, "LEDGER_SECONDS", 0.0 if flushed else 99.0)
    lab.send_until(records, heard)
    # when it is started again, then the file arrives once.
    lab.send()
    lab.receive()
    assert lab.arrived() == tree(lab.source)
    assert set(lab.rebuilt().values()) == {1}
    assert lab.of(DeadLetter) == []


def test_a_killed_sender_goes_on_at_the_first_record_not_acknowledged(lab: Lab) -> None:
    lab.write("large.dat", large(30))
    lab.send_until(12)
    lab.send()
    assert len(lab.records()) == 31


def test_a_file_that_changed_while_the_sender_was_down_is_aborted_and_sent_again(
    lab: Lab,
) -> None:
    file = lab.write("large.dat", large(8))
    lab.send_until(3)
    file.write_bytes(large(8, seed=2))
    lab.send()
    lab.receive()
    assert lab.arrived() == {"large.dat": large(8, seed=2)}
    assert len(lab.of(VersionAborted)) == 1


def test_a_file_that_changes_while_it_is_read_is_sent_again(lab: Lab) -> None:
    file = lab.write("large.dat", large(8))

    def hook() -> None:
        if len(lab.records()) == 3:
            file.write_bytes(large(6, seed=2))

    assert lab.send(hook).sent == 1
    assert len(lab.of(FileChanged)) == 1
    lab.receive()
    assert lab.arrived() == {"large.dat": large(6, seed=2)}


def test_a_file_that_vanishes_before_it_is_sent_is_told(lab: Lab) -> None:
    file = lab.write("large.dat", large(8))
    lab.send_until(3)
    file.unlink()
    assert lab.send().failed == 1
    [failed] = lab.of(FileFailed)
    assert isinstance(failed, FileFailed)
    assert failed.reason == "it was deleted before it was sent"
    assert isinstance(lab.records()[-1], Abort)


# -- the receivers of a group --------------------------------------------------------------


def test_a_rebalance_in_the_middle_of_a_large_file_moves_it_once(lab: Lab) -> None:
    # Given a receiver in the middle of a large file,
    lab.write("large.dat", large(40))
    lab.send()
    one = Turning(lab.receiver("one", until_end=False))
    one.turn(4)
    # when it stops, and another takes over,
    one.stop()
    two = Turning(lab.receiver("two", until_end=False))
    two.turn(20)
    two.stop()
    # then the file is at one place, whole.
    assert lab.arrived("two") == tree(lab.source)
    assert finished_only(lab.arrived("one")) == {}
    assert set(lab.rebuilt().values()) == {1}


def test_the_group_hears_from_a_receiver_that_reads_a_large_file_for_its_digest(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a receiver that was stopped in the middle of a large file, so that reading along no
    # longer gives the digest,
    monkeypatch.setattr(receiving, "VERIFY_BYTES", 1000)
    lab.write("large.dat", large(40))
    lab.send()
    before = Turning(lab.receiver(until_end=False))
    before.turn(4)
    before.stop()
    # when it goes on, and has all records,
    again = Turning(lab.receiver(until_end=False))
    polls = 0
    while not finished_only(lab.arrived("there")):
        again.turn(1)
        polls += 1
    again.stop()
    # then it polled more often than there are slices to read.
    assert lab.arrived("there") == tree(lab.source)
    assert polls > len(large(40)) // 1000


def test_a_chunk_that_claims_to_begin_too_far_away_is_a_dead_letter_and_stops_nothing(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a content in the older format, whose second chunk begins where no file can have bytes,
    digest = Digest("sha512:" + "0" * 128)
    path = check_path("far.dat")
    chunks = [
        LegacyChunk(path, digest, index, 9, start, b"x")
        for index, start in enumerate((0, 2**50, 1, 2))
    ]
    producer = lab.broker.producer(TOPIC)
    for each in chunks:
        producer.produce(encode_legacy(each), None)
    assert len(producer.poll(0)) == len(chunks)
    lab.write("good.dat", b"good")
    lab.send()
    write = Spool.write

    def limited(spool: Spool, version: VersionId, start: int, data: bytes) -> None:
        if start >= 2**50:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        write(spool, version, start, data)

    monkeypatch.setattr(Spool, "write", limited)
    # when it is received in one batch,
    lab.receive()
    # then it is told, nothing of it is left, and other files arrive.
    [letter] = lab.of(DeadLetter)
    assert isinstance(letter, DeadLetter)
    assert (letter.reason, letter.path) == ("bad-size", path)
    assert lab.arrived() == {"good.dat": b"good"}


def test_partitions_that_move_back_and_forth_lose_and_double_nothing(tmp_path: Path) -> None:
    lab = Lab(tmp_path, partitions=2)
    for each in range(6):
        lab.write(f"{each}.dat", large(12, seed=each))
    lab.send()
    one = Turning(lab.receiver("one", until_end=False))
    one.turn(3)
    two = Turning(lab.receiver("two", until_end=False))
    for _ in range(6):
        two.turn()
        one.turn()
    one.stop()
    two.turn(3)
    back = Turning(lab.receiver("one", until_end=False))
    for _ in range(30):
        two.turn()
        back.turn()
    back.stop()
    two.stop()
    assert set(lab.rebuilt().values()) == {1}
    assert lab.arrived("one") | lab.arrived("two") == tree(lab.source)


def test_a_receiver_that_was_silent_too_long_goes_on_without_what_it_lost(lab: Lab) -> None:
    lab.write("large.dat", large(40))
    lab.send()
    one = Turning(lab.receiver("one", until_end=False))
    one.turn(4)
    assert isinstance(one.receiver._consumer, MemoryConsumer)
    lab.broker.evict(one.receiver._consumer)
    two = Turning(lab.receiver("two", until_end=False))
    two.turn(20)
    one.turn(3)
    assert set(lab.rebuilt().values()) == {1}
    assert lab.arrived("two")["large.dat"] == large(40)
    one.stop()
    two.stop()


# -- the checkpoint ------------------------------------------------------------------------

STEPS: list[tuple[type, str]] = [
    (Spool, "sync"),
    (DirectorySink, "publish"),
    (Spool, "sync_all"),
    (DirectorySink, "sync"),
    (Journal, "checkpoint"),
    (MemoryConsumer, "commit"),
]


def dying(monkeypatch: pytest.MonkeyPatch, step: tuple[type, str], call: int) -> None:
    """Let this step of this call be the last thing that the program does, half way: before it
    is done. The consumer is gone from its group, without a last word."""
    owner, name = step
    real = getattr(owner, name)
    calls = [0]

    def die(self: object, *args: object) -> object:
        calls[0] += 1
        if calls[0] != call:
            return real(self, *args)
        monkeypatch.setattr(owner, name, real)
        raise Killed

    monkeypatch.setattr(owner, name, die)


def killed(lab: Lab, name: str = "there") -> None:
    """Run a receiver until it is killed; nothing of it is cleaned up."""
    receiver = lab.receiver(name)
    consumer = receiver._consumer
    assert isinstance(consumer, MemoryConsumer)
    turning = Turning(receiver)
    with pytest.raises(Killed):
        turning.turn(100)
    lab.broker.evict(consumer)
    close_journal(receiver)


@pytest.mark.parametrize("call", [1, 2, 3])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: f"{step[0].__name__}.{step[1]}")
def test_a_receiver_may_be_killed_before_any_step_of_a_checkpoint(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, step: tuple[type, str], call: int
) -> None:
    # Given a topic with small files between the records of a large one,
    lab.write("large.dat", large(8))
    for each in range(3):
        lab.write(f"small {each}.dat", bytes([each]))
    lab.send()
    # when a receiver is killed in the middle,
    dying(monkeypatch, step, call)
    killed(lab)
    # then nothing was committed that the journal does not have,
    journal = Journal(lab.directory / "there.sqlite", {}, [])
    for partition, point in lab.broker.committed(TOPIC, GROUP).items():
        journaled = journal.position(partition)
        assert journaled is not None
        assert point.position <= journaled
        assert all(point.offset <= each.first_offset for each in journal.open_versions(partition))
    published = [each for each in lab.events if isinstance(each, FileRebuilt)]
    forgotten = [each for each in published if not journal.finished(VersionId(each.version))]
    journal.close()
    # there is no partial file under its final name,
    wanted = tree(lab.source)
    assert finished_only(lab.arrived()).items() <= wanted.items()
    # and after a restart all is there; what was published, but not in the journal yet, is
    # published again.
    lab.receive()
    assert lab.arrived() == wanted
    doubled = {path for (path, _), count in lab.rebuilt().items() if count > 1}
    assert doubled == {each.path for each in forgotten}


@pytest.mark.parametrize("step", STEPS[:5], ids=lambda step: f"{step[0].__name__}.{step[1]}")
def test_a_full_disk_is_waited_for_at_any_step(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, step: tuple[type, str]
) -> None:
    lab.write("large.dat", large(8))
    lab.write("small.dat", b"small")
    lab.send()
    lab.events.clear()
    owner, name = step
    real = getattr(owner, name)
    calls = [0]

    def fail(self: object, *args: object) -> object:
        calls[0] += 1
        if 2 <= calls[0] <= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")
        return real(self, *args)

    monkeypatch.setattr(owner, name, fail)
    lab.receive()
    assert lab.arrived() == tree(lab.source)
    assert set(lab.rebuilt().values()) == {1}
    waits = [each for each in lab.events if isinstance(each, Waiting | Resumed)]
    assert [type(each) for each in waits] == [Waiting, Resumed]
    assert "disk is full" in str(waits[0])


def test_a_commit_that_fails_is_tried_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.write("large.dat", large(8))
    lab.send()
    real = MemoryConsumer.commit
    errors: list[OpenMSIError] = [BrokerUnreachable("b", "away") for _ in range(3)]

    def commit(self: MemoryConsumer, *args: object) -> None:
        if errors:
            raise errors.pop()
        real(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryConsumer, "commit", commit)
    lab.receive()
    assert lab.arrived() == tree(lab.source)
    assert lab.broker.committed(TOPIC, GROUP)[0].offset == 9


def test_an_abort_that_comes_after_the_whole_version_in_one_batch_does_no_harm(lab: Lab) -> None:
    # Given a sender that was killed before it knew that a file was sent, and then changed:
    content = b"abc"
    hasher = new_hasher()
    hasher.update(content)
    path, version = TopicPath("scan.dat"), VersionId("1" * 32)
    closing = Closing(3, 1, digest_of(hasher))
    lab.put(
        Chunk(path, version, 0, 0, content, Opening(3), closing),
        Abort(path, version, "the file changed before it was sent completely"),
    )
    lab.receive()
    assert lab.arrived() == {"scan.dat": content}


# -- known defects, each with what would be right ------------------------------------------


def test_a_partition_that_comes_while_the_disk_is_full_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given two receivers, one of which waits for its disk,
    lab = Lab(tmp_path, partitions=2)
    for each in range(6):
        lab.write(f"{each}.dat", bytes([each]))
    one = Turning(lab.receiver("one", until_end=False))
    two = Turning(lab.receiver("two", until_end=False))
    for _ in range(3):
        one.turn()
        two.turn()
    lab.send()
    real = Spool.write

    def full(self: Spool, version: VersionId, start: int, data: bytes) -> None:
        if self is two.receiver._spool:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(self, version, start, data)

    monkeypatch.setattr(Spool, "write", full)
    two.turn()
    # when the other leaves before it took a record, and the disk is freed,
    one.stop()
    two.turn(3)
    monkeypatch.setattr(Spool, "write", real)
    two.turn(10)
    two.stop()
    # then all files are there.
    assert lab.arrived("one") | lab.arrived("two") == tree(lab.source)


def test_the_version_with_the_later_last_record_is_current(lab: Lab) -> None:
    def digest(content: bytes) -> Closing:
        hasher = new_hasher()
        hasher.update(content)
        return Closing(len(content), 2, digest_of(hasher))

    path, one, two = TopicPath("scan.dat"), VersionId("1" * 32), VersionId("2" * 32)
    lab.put(
        Chunk(path, one, 0, 0, b"---", Opening()),
        Chunk(path, one, 1, 0, b"old", None, digest(b"old")),
        Chunk(path, two, 0, 0, b"ne", Opening()),
        Chunk(path, two, 1, 2, b"w", None, digest(b"new")),
    )
    lab.receive()
    assert lab.arrived() == {"scan.dat": b"new"}


def test_a_content_that_comes_back_with_its_old_time_is_current_again(lab: Lab) -> None:
    # Given a file that was sent, changed and sent again,
    file = lab.write("scan.dat", b"original")
    os.utime(file, ns=(1, 1_600_000_000_000_000_000))
    lab.send()
    lab.receive()
    file.write_bytes(b"worse")
    lab.send()
    lab.receive()
    # when the first content is put back with its time, as `cp -p` does,
    file.write_bytes(b"original")
    os.utime(file, ns=(1, 1_600_000_000_000_000_000))
    assert lab.send().sent == 1
    # then it arrives again.
    lab.receive()
    assert lab.arrived() == {"scan.dat": b"original"}


def test_a_sender_killed_after_an_abort_does_not_go_on_with_the_aborted_version(lab: Lab) -> None:
    # Given a file that was touched, not changed, while it was read, so that it is aborted,
    file = lab.write("large.dat", large(8))
    mode = file.stat().st_mode

    def hook() -> None:
        if len(lab.records()) == 3:
            file.chmod(mode ^ 0o100)

    # when the sender is killed before it notes that,
    def check() -> None:
        if lab.records() and isinstance(lab.records()[-1], Abort):
            lab.kill_sender()

    def open_producer(notice: OnNotice) -> Producer:
        producer = lab.broker.producer(TOPIC, notice)
        before_the_answer(producer, check)
        return producer

    with pytest.raises(Killed):
        lab.send(hook, open_producer)
    # then the next run sends another version, which arrives.
    assert lab.send().sent == 1
    lab.receive()
    assert lab.arrived() == tree(lab.source)


def test_a_file_that_is_locked_when_the_sender_restarts_is_resumed_afterwards(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a file in flight whose sender was killed,
    lab.write("large.dat", large(30))
    lab.send_until(12)

    # when it cannot be opened at the next start, as on Windows while a program holds it,
    def locked(path: Path) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    with monkeypatch.context() as patch:
        patch.setattr("openmsi.send.plan.open_to_read", locked)
        lab.send()
    # then it goes on afterwards with the same version.
    lab.send()
    assert len({each.version for each in lab.records()}) == 1


def test_a_file_that_vanishes_and_comes_back_twice_arrives(lab: Lab) -> None:
    # Given a receiver at work, and a file that is taken away in the middle of being sent, twice,
    there = Turning(lab.receiver(until_end=False))
    file, aside = lab.write("large.dat", large(8)), lab.directory / "aside"
    for _ in range(2):
        lab.send_until(len(lab.records()) + 3)
        file.rename(aside)
        lab.send()
        there.turn(10)
        aside.rename(file)
    # when it is there again and is sent,
    assert lab.send().sent == 1
    # then it arrives.
    there.turn(10)
    there.stop()
    assert lab.arrived() == tree(lab.source)
