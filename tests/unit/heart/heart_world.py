"""A whole world in memory for the heart: instruments, senders, a topic, receivers, and time.

The real `Sender` and `Receiver` work in it, turn by turn, with the real state machines, settling,
ledger entries, checkpoint order and rebalance rules. Only what they stand on is replaced:

- time passes when told to;
- the ledger and the journal keep rows in memory, and lose what was not written when killed;
- spool and destination are dictionaries that know which bytes are durable;
- the producer can be held, so that many records are on their way when something happens.

The instruments' files are real, in a directory that should be in memory too.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple, cast
from unittest.mock import patch

from openmsi.errors import KafkaFailure
from openmsi.events import DeadLetter, Event
from openmsi.kafka.seam import Consumer, Delivery, Fetched, Producer, TopicInfo
from openmsi.kafka.seam import Notice as OnNotice
from openmsi.protocol import (
    Abort,
    Chunk,
    Digest,
    Manifest,
    SafePoint,
    VersionId,
    digest_of,
    new_hasher,
)
from openmsi.protocol import Path as TopicPath
from openmsi.protocol.native import decode_native
from openmsi.receive.assembly import Current, Saved
from openmsi.receive.job import ReceiveJob
from openmsi.receive.receiver import Receiver
from openmsi.send.files import Identity, open_to_read
from openmsi.send.filters import Filter
from openmsi.send.job import SendJob
from openmsi.send.ledger import IN_FLIGHT, SENT, Entry, Ledger, split
from openmsi.send.sender import Sender
from openmsi.testing import FakeClock, MemoryBroker, MemoryConsumer, MemoryProducer

TOPIC, GROUP = "topic", "group"
CHUNK = 4
_KEEP = Filter()


class Killed(BaseException):
    """The program ends here, as after kill -9."""


class Fuse:
    """Counts the steps that reach the disk or the broker, and ends the program before one."""

    def __init__(self) -> None:
        self.left: int | None = None

    def step(self) -> None:
        if self.left is None:
            return
        if self.left == 0:
            raise Killed
        self.left -= 1


class Time:
    """Stands for the module `time`."""

    def __init__(self, clock: FakeClock) -> None:
        self.monotonic = clock.monotonic
        self.time = clock.time
        self.sleep = clock.sleep

    def time_ns(self) -> int:
        return int(self.time() * 1_000_000) * 1000


# -- the sending side ----------------------------------------------------------------------


class MemoryLedger(Ledger):
    """A ledger whose rows are in a dictionary; `kept` is what a killed sender leaves."""

    def __init__(self, kept: dict[tuple[str, str], Entry], ledger_id: str, fuse: Fuse) -> None:
        self._kept = kept
        self._dirty = {}
        self._id = ledger_id
        self._fuse = fuse

    def directory(self, directory: str) -> dict[str, Entry]:
        rows = {**self._kept, **self._dirty}
        return {name: each for (where, name), each in rows.items() if where == directory}

    def entry(self, native: str) -> Entry | None:
        return self._dirty.get(split(native)) or self._kept.get(split(native))

    def in_state(self, state: str) -> list[Entry]:
        self.flush()
        return [each for each in self._kept.values() if each.state == state]

    def flush(self) -> None:
        self._fuse.step()
        self._kept.update(self._dirty)
        self._dirty.clear()


class HeldProducer(MemoryProducer):
    """Keeps records on their way as long as `held`."""

    def __init__(self, broker: MemoryBroker, fuse: Fuse) -> None:
        super().__init__(broker, TOPIC, lambda _: None)
        self.held = False
        self._fuse = fuse
        self._answers: list[Delivery] = []

    def poll(self, timeout: float) -> list[Delivery]:
        self._fuse.step()
        answers, self._answers = self._answers, []
        return answers if self.held or answers else super().poll(timeout)

    def arrive(self, count: int) -> list[Delivery]:
        """Let the first `count` records reach the topic. Their answers are returned, not told."""
        queue, self._queue = self._queue[count:], self._queue[:count]
        delivered = super().poll(0)
        self._queue = queue
        return delivered

    def break_down(self, count: int, heard: int) -> None:
        """Break for good: the first `count` records are in the topic, the answers of `heard` of
        them are heard, and all others fail."""
        answers = self.arrive(count)
        error = KafkaFailure("producer", "broken", retriable=True)
        self._answers += answers[:heard]
        self._answers += [Delivery(each.token, -1, -1, error) for each in answers[heard:]]
        self._answers += [Delivery(token, -1, -1, error) for _, token in self._queue]
        self._queue.clear()


class SendingNode:
    """One instrument's computer: its directory, and the sender that may be killed."""

    def __init__(self, world: World, name: str, growing: bool) -> None:
        self.world = world
        self.name = name
        self.root = world.directory / name
        self.root.mkdir()
        self.fuse = Fuse()
        self.locked: set[str] = set()
        self._growing = growing
        self._kept: dict[tuple[str, str], Entry] = {}
        self.start()

    def start(self) -> None:
        """What `Sender.run` does before its first turn, without a thread that watches."""
        job = SendJob(
            self.root,
            self.world.info,
            CHUNK,
            _KEEP,
            "lab",
            prefix=self.name,
            growing=self._growing,
        )
        self.ledger = MemoryLedger(self._kept, self.name, self.fuse)
        self.sender = Sender(job, self.ledger, self._open_producer, self.world.hear)
        for entry in self.ledger.in_state(IN_FLIGHT):
            self.sender.finder.again(entry.native, 0.0)

    def _open_producer(self, notice: OnNotice) -> Producer:
        self.producer = HeldProducer(self.world.broker, self.fuse)
        return self.producer

    def turn(self, times: int = 1) -> None:
        with self.world.opening(self):
            for _ in range(times):
                self.sender._turn()

    def kill(self, fuse: int, arriving: int) -> None:
        """Kill it before the step number `fuse` of some further turns; of the records on their
        way the first `arriving` reach the topic. Then start it again."""
        self.fuse.left = fuse
        with suppress(Killed):
            self.turn(3)
        self.fuse.left = None
        self.producer.arrive(arriving)
        self.close()
        self.start()

    def close(self) -> None:
        for each in self.sender._active.values():
            each.close()

    def files(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in self.root.iterdir()}

    def is_noted(self, name: str) -> bool:
        """Is the file sent as it is now, and in the ledger for good?"""
        entry = self._kept.get(("", name))
        stat = (self.root / name).stat()
        is_sent = entry is not None and entry.state == SENT and entry.describes(identity_of(stat))
        return is_sent and ("", name) not in self.ledger._dirty

    def is_done(self) -> bool:
        """Is every file sent as it is now?"""
        if self.sender._active or self.sender._outbox.full or self.producer._queue:
            return False
        for each in self.root.iterdir():
            entry = self.ledger.entry(each.name)
            if (
                entry is None
                or entry.state != SENT
                or not entry.describes(identity_of(each.stat()))
            ):
                return False
        return True


def identity_of(stat: os.stat_result) -> Identity:
    """As the product's. The inode's own time is not ours to set, so its permissions stand for
    it: `World.touched` changes them."""
    touched_ns = stat.st_mtime_ns + (stat.st_mode & 0o77)
    return Identity(stat.st_size, stat.st_mtime_ns, stat.st_ino, touched_ns)


# -- the receiving side --------------------------------------------------------------------


class Disk:
    """A receiver's disk: what is on it, and what would be on it after a power cut."""

    def __init__(self) -> None:
        self.fuse = Fuse()
        self.full = False
        self.spool: dict[VersionId, bytearray] = {}
        self.synced: dict[VersionId, bytes] = {}
        self.named: dict[str, bytes] = {}
        # Names given since the last sync: path, what it named before, version, content.
        self.fresh: list[tuple[str, bytes | None, VersionId, bytes]] = []
        self.journals: list[JournalRows] = [JournalRows()]

    def cut_power(self, journal_lost: bool) -> None:
        """Whatever was not made durable is gone.

        One of two bad things happens beside: the journal loses its last transaction, or the
        unfinished files keep their size, but not what was written since their last sync.
        """
        for path, before, version, content in reversed(self.fresh):
            if before is None:
                self.named.pop(path, None)
            else:
                self.named[path] = before
            self.synced[version] = content
        self.fresh.clear()
        sizes = {version: len(each) for version, each in self.spool.items()}
        self.spool = {version: bytearray(each) for version, each in self.synced.items()}
        if journal_lost:
            self.journals = self.journals[:1]
            return
        for version, size in sizes.items():
            file = self.spool.setdefault(version, bytearray())
            file.extend(bytes(max(0, size - len(file))))


class JournalRows(NamedTuple):
    """One durable state of a journal."""

    positions: dict[int, int] = {}
    saved: dict[VersionId, Saved] = {}
    published: frozenset[VersionId] = frozenset()


class MemoryJournal:
    """The journal's meaning (`openmsi.receive.journal.Journaling`) on a disk in memory."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._new: set[VersionId] = set()
        self._recent: set[VersionId] = set()

    @property
    def _rows(self) -> JournalRows:
        return self._disk.journals[-1]

    def finished(self, version: VersionId) -> bool:
        return version in self._recent or version in self._rows.published

    def current(self, path: TopicPath) -> Current | None:
        return None  # only the older format asks

    def position(self, partition: int) -> int | None:
        return self._rows.positions.get(partition)

    def open_versions(self, partition: int) -> list[Saved]:
        return [each for each in self._rows.saved.values() if each.partition == partition]

    def published(self, manifest: Manifest) -> None:
        self._new.add(manifest.version)
        self._recent.add(manifest.version)

    def dead_letter(self, letter: DeadLetter) -> None:
        pass

    def checkpoint(self, positions: dict[int, int], saved: Iterable[Saved]) -> None:
        self._disk.fuse.step()
        old = self._rows
        kept = {
            each.version: each for each in old.saved.values() if each.partition not in positions
        }
        rows = JournalRows(
            {**old.positions, **positions},
            {**kept, **{each.version: each for each in saved}},
            old.published | self._new,
        )
        self._disk.journals = [self._disk.journals[-1], rows]
        self._new.clear()
        self._disk.fuse.step()


class MemorySpool:
    """`openmsi.receive.spool.Spool` on a disk in memory."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def write(self, version: VersionId, start: int, data: bytes) -> None:
        if self._disk.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file = self._disk.spool.setdefault(version, bytearray())
        file.extend(bytes(max(0, start - len(file))))
        file[start : start + len(data)] = data

    def sync(self, versions: Iterable[VersionId]) -> None:
        for each in versions:
            self._disk.fuse.step()
            self._disk.synced[each] = bytes(self._disk.spool[each])

    def sync_all(self) -> None:
        self.sync(list(self._disk.spool))

    def size(self, version: VersionId) -> int:
        return len(self._disk.spool.get(version, b""))

    def digest(self, version: VersionId, algorithm: str, most: int) -> Digest | None:
        hasher = new_hasher(algorithm)
        hasher.update(bytes(self._disk.spool[version]))
        return digest_of(hasher, algorithm)

    def release(self, version: VersionId) -> str:
        return version

    def discard(self, version: VersionId) -> None:
        self._disk.spool.pop(version, None)
        self._disk.synced.pop(version, None)

    def close(self) -> None:
        pass


class Publication(NamedTuple):
    """One time that a version got its final name."""

    node: str
    manifest: Manifest
    content: bytes


class MemorySink:
    """A destination on a disk in memory (`openmsi.receive.sink.Sink`)."""

    spool_directory = Path("spool")

    def __init__(self, node: ReceivingNode) -> None:
        self._node = node

    def publish(self, manifest: Manifest, spooled: str) -> None:
        disk = self._node.disk
        disk.fuse.step()
        version = manifest.version
        assert self._node.receiver is not None
        assert not self._node.receiver._journal.finished(version), "it was published here before"
        content = bytes(disk.spool.pop(version))
        assert disk.synced.pop(version) == content, "it got its name before it was durable"
        before = disk.named.get(manifest.path)
        disk.fresh.append((manifest.path, before, version, content))
        disk.named[manifest.path] = content
        self._node.world.publications.append(Publication(self._node.name, manifest, content))
        disk.fuse.step()

    def sync(self) -> None:
        self._node.disk.fuse.step()
        self._node.disk.fresh.clear()


class FusedConsumer(MemoryConsumer):
    """A consumer whose commit is a step at which its program may end."""

    def __init__(self, broker: MemoryBroker, fuse: Fuse) -> None:
        super().__init__(broker, TOPIC, GROUP, lambda _: None)
        self._fuse = fuse

    def poll(self, max_records: int, timeout: float) -> list[Fetched]:
        return super().poll(min(max_records, 3), timeout)

    def commit(self, points: Mapping[int, SafePoint]) -> None:
        self._fuse.step()
        super().commit(points)
        self._fuse.step()


class WatchedReceiver(Receiver):
    """Tells the world what it leaves uncommitted when it gives partitions away."""

    def __init__(self, node: ReceivingNode, *args: Any) -> None:
        super().__init__(*args)
        self._node = node

    def lost(self, partitions: Collection[int]) -> None:
        self._node.world.note_doubtful(self._node)
        super().lost(partitions)


class ReceivingNode:
    """One computer of the group: its disk, and the receiver that may be killed."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.disk = Disk()
        self.receiver: Receiver | None = None

    @property
    def consumer(self) -> MemoryConsumer:
        assert self.receiver is not None
        return cast(MemoryConsumer, self.receiver._consumer)

    def start(self) -> None:
        def open_consumer(notice: OnNotice) -> Consumer:
            return FusedConsumer(self.world.broker, self.disk.fuse)

        with patch("openmsi.receive.receiver.Spool", lambda _: MemorySpool(self.disk)):
            self.receiver = WatchedReceiver(
                self,
                ReceiveJob(self.world.info, GROUP),
                open_consumer,
                MemorySink(self),
                MemoryJournal(self.disk),
                self.world.hear,
            )
        self.receiver._consumer.subscribe(self.receiver)

    def turn(self, times: int = 1) -> None:
        assert self.receiver is not None
        for _ in range(times):
            self.receiver._turn()

    def stop(self) -> None:
        """A clean end."""
        assert self.receiver is not None
        self.receiver._close()
        self.receiver = None

    def kill(self, fuse: int, how: str) -> None:
        """Kill it before the step number `fuse` of some further turns.

        Args:
            how: "killed"; "power cut", which loses what is not durable; "journal lost", the same
                with the journal's last transaction; "spool wiped", where somebody then removes
                the unfinished files.
        """
        self.disk.fuse.left = fuse
        with suppress(Killed):
            self.turn(3)
        self.disk.fuse.left = None
        self.world.note_doubtful(self)
        self.world.forget(self.consumer)
        self.receiver = None
        if how == "spool wiped":
            self.disk.spool.clear()
            self.disk.synced.clear()
        elif how != "killed":
            self.disk.cut_power(how == "journal lost")

    def is_done(self) -> bool:
        """Has it all partitions, and read them to their ends?"""
        if self.receiver is None:
            return False
        positions = self.receiver._assembler.positions()
        logs = self.world.broker._topic(TOPIC).logs
        return (
            len(positions) == len(logs)
            and not self.receiver._effects
            and all(
                max(position, logs[each].first) == logs[each].end
                for each, position in positions.items()
            )
        )


# -- the world -----------------------------------------------------------------------------


class World:
    """Everything, and what was seen to happen in it."""

    def __init__(self, partitions: int = 2) -> None:
        self.clock = FakeClock()
        self._stack = ExitStack()
        where = "/dev/shm" if os.path.isdir("/dev/shm") else None
        self.directory = Path(tempfile.mkdtemp(prefix="openmsi-heart-", dir=where))
        self._stack.callback(shutil.rmtree, self.directory)
        for module in ("send.finder", "send.sender", "send.reading", "send.ledger", "send.outbox"):
            self._stack.enter_context(patch(f"openmsi.{module}.time", Time(self.clock)))
        self._stack.enter_context(patch("openmsi.receive.receiver.time", Time(self.clock)))
        for module in ("finder", "scan", "reading"):
            self._stack.enter_context(patch(f"openmsi.send.{module}.identity_of", identity_of))
        self.broker = MemoryBroker(self.clock)
        self.info: TopicInfo = self.broker.admin().create_topic(TOPIC, partitions, {})
        self.events: list[Event] = []
        self.publications: list[Publication] = []
        self.doubtful: set[VersionId] = set()  # may be published once more
        self.history: dict[str, set[bytes]] = {}  # every content that a path ever had
        # By computer and inode: the contents of a file, with their times.
        self.backups: dict[tuple[str, int], list[tuple[bytes, int]]] = {}
        self.senders = [
            SendingNode(self, "a", growing=False),
            SendingNode(self, "b", growing=True),
        ]
        self.receivers = [ReceivingNode(self, name) for name in ("x", "y", "z")]

    def close(self) -> None:
        for sender in self.senders:
            sender.close()
        self._stack.close()

    def hear(self, event: Event) -> None:
        self.events.append(event)

    @contextmanager
    def opening(self, node: SendingNode) -> Iterator[None]:
        """Let a sender open its files, except those that are locked."""

        def open_unless_locked(path: str) -> int:
            if os.path.basename(path) in node.locked:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return open_to_read(path)

        with patch("openmsi.send.plan.open_to_read", open_unless_locked):
            yield

    # -- files -----------------------------------------------------------------------------

    def changed(self, node: SendingNode, name: str) -> None:
        """An instrument wrote to the file: give it a time that no other write has."""
        self.clock.advance(0.02)
        now = Time(self.clock).time_ns()
        os.utime(node.root / name, ns=(now, now))
        self.seen(node, name)

    def touched(self, node: SendingNode, name: str) -> None:
        """Somebody changed the file's permissions, and nothing else."""
        file = node.root / name
        file.chmod(file.stat().st_mode ^ 0o040)

    def seen(self, node: SendingNode, name: str) -> None:
        file = node.root / name
        content, stat = file.read_bytes(), file.stat()
        self.history.setdefault(f"{node.name}/{name}", set()).add(content)
        self.backups.setdefault((node.name, stat.st_ino), []).append((content, stat.st_mtime_ns))

    def put_back(self, node: SendingNode, name: str, which: int) -> None:
        """Put back one of the file's former contents with its time, as `cp -p` does."""
        file = node.root / name
        kept = self.backups[node.name, file.stat().st_ino]
        content, mtime_ns = kept[which % len(kept)]
        file.write_bytes(content)
        os.utime(file, ns=(mtime_ns, mtime_ns))
        self.seen(node, name)

    # -- the topic -------------------------------------------------------------------------

    def log(self, partition: int) -> list[tuple[int, Chunk | Abort]]:
        """The records that are still in a partition, with their offsets."""
        log = self.broker._topic(TOPIC).logs[partition]
        return [(each.offset, decode_native(each.record)) for each in log.records]

    def ends(self) -> dict[int, int]:
        logs = self.broker._topic(TOPIC).logs
        return {partition: log.end for partition, log in enumerate(logs)}

    def committed(self) -> dict[int, SafePoint]:
        return self.broker.committed(TOPIC, GROUP)

    # -- what may happen twice -------------------------------------------------------------

    def note_doubtful(self, node: ReceivingNode) -> None:
        """A receiver is without its partitions. What it published and could not commit is
        published again by whoever reads these records next."""
        committed = self.committed()
        for each in self.publications:
            manifest = each.manifest
            point = committed.get(manifest.partition, SafePoint(-1, -1))
            known = point.position > manifest.last_offset and manifest.version not in point.open
            if each.node == node.name and not known:
                self.doubtful.add(manifest.version)

    def forget(self, consumer: MemoryConsumer) -> None:
        """The group notices that a member is gone."""
        members = self.broker._group(TOPIC, GROUP).members
        if consumer in members:
            members.remove(consumer)
