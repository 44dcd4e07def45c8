"""The sending loop in the format of the OpenMSI programs, over a broker in memory."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.events import Event, FileChanged, FileFailed, FileSent, SendSummary
from openmsi.kafka.seam import Delivery, Producer
from openmsi.kafka.seam import Notice as OnNotice
from openmsi.protocol import SEVERAL, LegacyChunk, Record, decode
from openmsi.protocol.legacy import decode_legacy
from openmsi.send import finder, notes, reading, scan
from openmsi.send import sender as sending
from openmsi.send.files import Identity, identity_of
from openmsi.send.filters import Filter
from openmsi.send.formats import NATIVE, Format
from openmsi.send.job import SendJob
from openmsi.send.ledger import IN_FLIGHT, Entry, Ledger
from openmsi.send.sender import Sender
from openmsi.testing import MemoryBroker

TOPIC = "scans"
CHUNK = 1024
Hook = Callable[[], None]


class Killed(BaseException):
    """The program ends here, as after kill -9."""


class Lab:
    """One instrument's directory and a topic of three partitions."""

    def __init__(self, directory: Path) -> None:
        self.source = directory / "instrument"
        self.source.mkdir()
        self.broker = MemoryBroker()
        self.info = self.broker.admin().create_topic(TOPIC, 3, {})
        self.events: list[Event] = []
        self.ledger_file = directory / "ledger.sqlite"

    def write(self, name: str, content: bytes) -> Path:
        file = self.source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def send(
        self,
        form: Format = "openmsi-9",
        hook: Hook = lambda: None,
        before_answers: Hook = lambda: None,
    ) -> SendSummary:
        """Send all there is, once. `hook` is called before each turn, `before_answers` when the
        topic took records and the sender does not know yet; both may raise Killed."""
        job = SendJob(
            self.source, self.info, CHUNK, Filter(), "lab", settle=0.0, once=True, format=form
        )
        ledger = Ledger(self.ledger_file, {}, [])

        def dying(act: Hook) -> None:
            try:
                act()
            except Killed:
                ledger._dirty.clear()
                ledger.flush = lambda: None  # type: ignore[method-assign]
                raise

        def stop() -> bool:
            dying(hook)
            return False

        def opened(notice: OnNotice) -> Producer:
            producer = self.broker.producer(TOPIC, notice)
            real = producer.poll

            def poll(timeout: float) -> list[Delivery]:
                delivered = real(timeout)
                dying(before_answers)
                return delivered

            producer.poll = poll  # type: ignore[method-assign]
            return producer

        try:
            return Sender(job, ledger, opened, self._hear).run(stop)
        finally:
            ledger.close()

    def _hear(self, event: Event) -> None:
        self.events.append(event)

    def send_until(self, records: int, form: Format = "openmsi-9", heard: bool = True) -> None:
        """Send, and be killed when so many records are in the topic.

        Args:
            heard: whether the sender took the acknowledgements.
        """

        def check() -> None:
            if len(self.records()) >= records:
                raise Killed

        with pytest.raises(Killed):
            if heard:
                self.send(form, check)
            else:
                self.send(form, before_answers=check)

    def records(self) -> list[Record]:
        admin = self.broker.admin()
        found = []
        for partition in range(self.info.partitions):
            offset = 0
            while (fetched := admin.read(TOPIC, partition, offset)) is not None:
                found.append(fetched.record)
                offset += 1
        return found

    def contents(self) -> dict[str, set[bytes]]:
        """What is complete in the topic: of each path, every content whose chunks are all there.

        Raises:
            RecordRejected: a record is none of the older format.
        """
        chunks: dict[str, dict[int, LegacyChunk]] = {}
        for each in self.records():
            assert each.value
            chunk = decode_legacy(each.value)
            chunks.setdefault(chunk.version, {})[chunk.index] = chunk
        found: dict[str, set[bytes]] = {}
        for parts in chunks.values():
            if len(parts) == parts[min(parts)].chunks:
                content = b"".join(parts[index].data for index in sorted(parts))
                assert parts[0].digest == f"sha512:{hashlib.sha512(content).hexdigest()}"
                found.setdefault(parts[0].path, set()).add(content)
        return found

    def of(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]

    def in_flight(self) -> list[str]:
        ledger = Ledger(self.ledger_file, {}, [])
        try:
            return [each.native for each in ledger.in_state(IN_FLIGHT)]
        finally:
            ledger.close()


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(notes, "LEDGER_SECONDS", 0.0)
    monkeypatch.setattr(sending, "STOP_SECONDS", 0.0)
    return Lab(tmp_path)


def large(chunks: int, seed: int = 1) -> bytes:
    """A content of so many chunks and a bit, no two alike."""
    return b"".join(b"%2d%6d" % (seed, each) * (CHUNK // 8) for each in range(chunks)) + b"end"


# -- what is in the topic ------------------------------------------------------------------


@pytest.mark.parametrize("form", ["openmsi-9", "openmsi-10"])
def test_every_file_of_a_tree_is_complete_in_the_topic(lab: Lab, form: Format) -> None:
    files = {
        "empty.dat": b"",
        "one byte": b"x",
        "exactly one chunk.bin": bytes(CHUNK),
        "several/chunks.bin": large(5),
        "several/deep/Zoë\t日本.txt": b"named oddly",
    }
    for name, content in files.items():
        lab.write(name, content)
    assert lab.send(form).sent == len(files)
    assert lab.contents() == {name: {content} for name, content in files.items()}
    fields = {each.value[0] - 0x90 for each in lab.records() if each.value}
    assert fields == {9 if form == "openmsi-9" else 10}


def test_a_receipt_names_the_place_of_a_file_or_that_it_has_several(lab: Lab) -> None:
    lab.write("large.dat", large(9))
    lab.write("small.dat", b"x")
    lab.send()
    sent = {each.path: each for each in lab.of(FileSent) if isinstance(each, FileSent)}
    large_, small = sent["large.dat"], sent["small.dat"]
    assert (large_.partition, large_.first_offset, large_.last_offset) == (SEVERAL,) * 3
    fetched = lab.broker.admin().read(TOPIC, small.partition, small.first_offset)
    assert fetched is not None
    found = decode(fetched.record)
    assert isinstance(found, LegacyChunk)
    assert (found.path, found.version, found.digest) == ("small.dat", small.version, small.digest)


def test_small_files_are_not_held_up_by_the_hashing_of_a_large_one(lab: Lab) -> None:
    lab.write("a large.dat", bytes(20 * 2**20))
    for number in range(20):
        lab.write(f"small {number}.dat", b"x")
    lab.send()
    order = [each.path for each in lab.of(FileSent) if isinstance(each, FileSent)]
    assert order[-1] == "a large.dat"


@pytest.mark.parametrize(
    ("form", "chunks", "times"),
    [(NATIVE, 40, 1), ("openmsi-9", 0, 1), ("openmsi-9", 40, 2)],
    ids=["native", "older, one record", "older, several records"],
)
def test_a_file_is_read_no_more_often_than_its_format_needs(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, form: Format, chunks: int, times: int
) -> None:
    # The older format has the digest of the whole in each record.
    content = large(chunks)
    lab.write("scan.dat", content)
    read = 0
    real = os.read

    def counted(descriptor: int, size: int) -> bytes:
        nonlocal read
        data = real(descriptor, size)
        read += len(data)
        return data

    monkeypatch.setattr(os, "read", counted)
    assert lab.send(form).sent == 1
    assert read == times * len(content)


@pytest.mark.parametrize("form", [NATIVE, "openmsi-9"])
def test_the_ledgers_work_does_not_grow_with_the_number_of_records(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, form: Format
) -> None:
    # Given a sender that writes its ledger a few times a second, not once per acknowledgement,
    monkeypatch.setattr(notes, "LEDGER_SECONDS", 0.2)
    noted = 0
    real = Ledger.note

    def counted(self: Ledger, entry: Entry) -> None:
        nonlocal noted
        noted += 1
        real(self, entry)

    monkeypatch.setattr(Ledger, "note", counted)
    lab.write("scan.dat", large(20_000))
    began = time.monotonic()
    assert lab.send(form).sent == 1
    # then a file of 20,000 records makes hardly more work there than one of a few.
    assert len(lab.records()) == 20_001
    assert noted <= 3 + (time.monotonic() - began) / 0.2


# -- once, whatever happens ----------------------------------------------------------------


def test_what_was_sent_in_one_format_is_not_sent_again_in_another(lab: Lab) -> None:
    lab.write("large.dat", large(4))
    touched = lab.write("touched.dat", b"same")
    lab.send(NATIVE)
    before = len(lab.records())
    os.utime(touched, ns=(1, 1))
    assert lab.send("openmsi-9").already_sent == 2
    assert lab.send("openmsi-10").already_sent == 2
    os.utime(touched, ns=(2, 2))
    assert lab.send(NATIVE).already_sent == 2
    assert len(lab.records()) == before


def test_a_killed_sender_goes_on_at_the_first_record_that_was_not_acknowledged(lab: Lab) -> None:
    content = large(40)
    lab.write("large.dat", content)
    lab.send_until(20)
    assert lab.in_flight() == ["large.dat"]
    assert lab.contents() == {}
    lab.send()
    assert lab.contents() == {"large.dat": {content}}
    assert len(lab.records()) <= 41 + 1  # what was in the topic unheard is there twice


@pytest.mark.parametrize("records", range(1, 11))
@pytest.mark.parametrize("heard", [True, False], ids=["heard", "unheard"])
def test_a_sender_may_be_killed_after_any_record(lab: Lab, records: int, heard: bool) -> None:
    content = large(8)
    lab.write("large.dat", content)
    lab.write("small.dat", b"x")
    lab.write("empty.dat", b"")
    lab.send_until(records, heard=heard)
    lab.send()
    assert lab.contents() == {"large.dat": {content}, "small.dat": {b"x"}, "empty.dat": {b""}}
    before = len(lab.records())
    assert lab.send().already_sent == 3
    assert len(lab.records()) == before


@pytest.mark.parametrize("order", [(NATIVE, "openmsi-9"), ("openmsi-9", NATIVE)])
def test_a_file_in_flight_is_begun_anew_in_another_format_and_nothing_calls_it_off(
    lab: Lab, order: tuple[Format, Format]
) -> None:
    content = large(9)
    lab.write("large.dat", content)
    lab.send_until(4, order[0])
    before = len(lab.records())
    assert lab.send(order[1]).sent == 1
    items = [decode(each) for each in lab.records()]
    assert all(each.value for each in lab.records())
    assert len(items) == before + 10
    second = LegacyChunk if order[1] != NATIVE else type(None)
    whole = [each for each in items if isinstance(each, LegacyChunk) == (second is LegacyChunk)]
    assert len(whole) == 10


# -- files that change ---------------------------------------------------------------------


def test_a_file_that_changes_while_it_is_sent_is_complete_only_as_it_is_in_the_end(
    lab: Lab,
) -> None:
    before, after = large(30, 1), large(30, 2)
    file = lab.write("scan.dat", before)
    changed = False

    def change() -> None:
        nonlocal changed
        if not changed and len(lab.records()) >= 10:
            changed = True
            file.write_bytes(after)

    assert lab.send(hook=change).sent == 1
    assert lab.of(FileChanged)
    assert lab.contents() == {"scan.dat": {after}}


def test_a_file_that_changes_and_keeps_its_times_is_never_complete_as_something_it_never_was(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a disk on which no time of a file changes,
    def timeless(stat: os.stat_result) -> Identity:
        return identity_of(stat)._replace(mtime_ns=1, touched_ns=1)

    for module in (finder, reading, scan):
        monkeypatch.setattr(module, "identity_of", timeless)
    before, after = large(30, 1), large(30, 2)
    file = lab.write("scan.dat", before)
    changed = False

    def change() -> None:
        nonlocal changed
        if not changed and len(lab.records()) >= 10:
            changed = True
            with open(file, "r+b") as writer:
                writer.write(after)

    # when it changes in the middle, then it is sent again, and only that is complete.
    assert lab.send(hook=change).sent == 1
    assert lab.of(FileChanged)
    assert lab.contents() == {"scan.dat": {after}}


def test_a_file_that_is_cut_off_keeps_no_old_end(lab: Lab) -> None:
    file = lab.write("scan.dat", large(5))
    lab.send()
    file.write_bytes(b"short")
    lab.send()
    assert lab.contents() == {"scan.dat": {large(5), b"short"}}
    shorter = [decode_legacy(each.value) for each in lab.records() if each.value]
    assert [each.chunks for each in shorter if each.data == b"short"] == [1]


def test_a_file_that_vanishes_in_the_middle_ends_without_a_record_of_it(lab: Lab) -> None:
    file = lab.write("large.dat", large(9))
    lab.send_until(4)
    file.unlink()
    lab.send()
    assert lab.contents() == {}
    [failure] = lab.of(FileFailed)
    assert isinstance(failure, FileFailed)
    assert failure.reason == "it was deleted before it was sent"


def test_a_record_that_the_topic_refuses_fails_its_file_alone(tmp_path: Path, lab: Lab) -> None:
    lab.broker.admin().delete_topic(TOPIC)
    lab.info = lab.broker.admin().create_topic(TOPIC, 3, {"max.message.bytes": "800"})
    lab.write("large.dat", large(9))
    lab.write("small.dat", b"x")
    summary = lab.send()
    assert (summary.sent, summary.failed) == (1, 1)
    assert lab.contents() == {"small.dat": {b"x"}}


# -- whatever happens ----------------------------------------------------------------------

steps = st.lists(
    st.tuples(
        st.sampled_from(["write", "kill", "kill unheard", "change", "send"]),
        st.integers(0, 7),  # chunks of a new content
        st.integers(0, 9),  # records after which it happens
        st.sampled_from(["openmsi-9", "openmsi-10"]),
    ),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(steps)
def test_the_last_content_is_complete_in_the_end_and_none_that_never_was(
    script: list[tuple[str, int, int, Format]],
) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(notes, "LEDGER_SECONDS", 0.0)
        patch.setattr(sending, "STOP_SECONDS", 0.0)
        lab = Lab(Path(directory))
        had = [large(3, 99)]
        file = lab.write("scan.dat", had[0])
        for seed, (what, chunks, records, form) in enumerate(script):
            stop_at = len(lab.records()) + records

            def kill(stop_at: int = stop_at) -> None:
                if len(lab.records()) >= stop_at:
                    raise Killed

            def change(content: bytes, stop_at: int = stop_at) -> None:
                if had[-1] != content and len(lab.records()) >= stop_at:
                    had.append(content)
                    file.write_bytes(content)

            content = large(chunks, seed)
            if what == "write":
                change(content, 0)
            elif what == "change":
                lab.send(form, partial(change, content))
            elif what == "send":
                lab.send(form)
            else:
                with contextlib.suppress(Killed):
                    heard = what == "kill"
                    lab.send(form, *((kill,) if heard else (lambda: None, kill)))
        lab.send()
        complete = lab.contents()["scan.dat"]
        assert had[-1] in complete
        assert complete <= set(had)
        assert not lab.in_flight()
