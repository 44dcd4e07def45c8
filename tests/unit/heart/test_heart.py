"""Nothing is lost, doubled or changed, whatever happens: a state machine over the heart.

Hypothesis lets instruments write, rename, delete and lock files, kills and restarts senders and
receivers before any step that reaches a disk or the broker, cuts their power, breaks producers,
and moves partitions about. After every step the promises that must always hold are checked; in
the end everything is left alone for a while, and all must have arrived.

What exactly "once" means: a version is published once per group, except that

- a receiver that loses its partitions without a last word (killed, power cut, thrown out of the
  group), or gives them away while its disk is full, may have published versions that it did not
  commit: these are published again, equal, by whoever takes their records next;
- a sender that is killed before it hears that a version arrived sends it again under the same
  id, and a receiver of the group that did not publish it itself cannot know that.

`Retention` lets the topic's retention eat records as well. What was eaten before it arrived must
be told by name; what was published may be published again, since what the group knew of it lay
before the topic's new beginning.

Run more with OPENMSI_HEART_EXAMPLES=5000 in the environment; the default takes a few seconds.
"""

from __future__ import annotations

import os
import sys
from collections import Counter

from heart_world import CHUNK, Publication, ReceivingNode, SendingNode, World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openmsi.events import DeadLetter
from openmsi.protocol import Abort, Chunk, SafePoint, VersionId, digest_of, new_hasher

EXAMPLES = int(os.environ.get("OPENMSI_HEART_EXAMPLES", "60"))

names = st.sampled_from(["f", "g", "h"])
which = st.integers(0, 1)
nodes = st.integers(0, 2)
data = st.data()
few = st.integers(1, 4)
DISTURBANCES = ["rename", "delete", "touch", "put-back"]
WAYS = ["killed", "power cut", "journal lost", "spool wiped"]
fuses = st.integers(0, 12)


class Heart(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.checked = 0  # publications looked at so far
        self.highest: dict[int, SafePoint] = {}
        self.interrupted = False  # was any sender?
        self.eaten: set[VersionId] = set()  # versions with a record that is gone
        self.world.receivers[0].start()

    # -- instruments -----------------------------------------------------------------------

    @initialize(
        contents=st.lists(st.binary(max_size=10 * CHUNK), min_size=1, max_size=3),
        seconds=st.sampled_from([0.0, 2.5, 4.0, 6.0]),
    )
    def begin(self, contents: list[bytes], seconds: float) -> None:
        for at, content in enumerate(contents):
            self.create(self.world.senders[at % 2], "fgh"[at], content)
        self.pass_time(seconds)

    @rule(
        at=which,
        name=names,
        how=st.sampled_from(["create", "append", "rewrite", "replace"]),
        data=data,
    )
    def write(self, at: int, name: str, how: str, data: st.DataObject) -> None:
        node = self.world.senders[at]
        size = (node.root / name).stat().st_size if (node.root / name).exists() else None
        if how == "create" or size is None:
            self.create(node, name, data.draw(st.binary(max_size=10 * CHUNK), "content"))
            return
        piece = data.draw(st.binary(min_size=1, max_size=3 * CHUNK), "piece")
        if how == "replace":
            (node.root / ".new").write_bytes(piece)
            (node.root / ".new").replace(node.root / name)
        else:
            with open(node.root / name, "r+b") as file:
                file.seek(size if how == "append" else data.draw(st.integers(0, size), "start"))
                file.write(piece)
        self.world.changed(node, name)

    def create(self, node: SendingNode, name: str, content: bytes) -> None:
        (node.root / name).write_bytes(content)
        self.world.changed(node, name)

    @rule(at=which, name=names, how=st.sampled_from(DISTURBANCES), data=data)
    def disturb(self, at: int, name: str, how: str, data: st.DataObject) -> None:
        node = self.world.senders[at]
        if not (node.root / name).exists():
            return
        if how == "rename":
            to = data.draw(names, "to")
            (node.root / name).replace(node.root / to)
            self.world.seen(node, to)
        elif how == "delete":
            (node.root / name).unlink()
        elif how == "touch":
            self.world.touched(node, name)
        elif node.is_noted(name):
            # A sender that is killed in the moment between the last acknowledgement of a content
            # and its note in the ledger cannot know that an older one, put back meanwhile, is not
            # current.
            self.world.put_back(node, name, data.draw(st.integers(0, 5), "which"))

    @rule(at=which, name=names)
    def lock_or_unlock(self, at: int, name: str) -> None:
        self.world.senders[at].locked ^= {name}

    # -- time and senders ------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 1.5, 3.0, 12.0]))
    def pass_time(self, seconds: float) -> None:
        """Everybody works."""
        for _ in range(int(seconds / 0.5)):
            self.world.clock.advance(0.5)
            for sender in self.world.senders:
                sender.turn(2)
            for receiver in self.running():
                receiver.turn()

    @rule(at=which, times=few, seconds=st.sampled_from([0.0, 0.3, 2.5]), held=st.booleans())
    def send(self, at: int, times: int, seconds: float, held: bool) -> None:
        """`held`: what is sent stays on its way."""
        self.world.clock.advance(seconds)
        self.world.senders[at].producer.held = held
        self.world.senders[at].turn(times)

    @rule(at=which, fuse=fuses, arriving=st.integers(0, 8))
    def kill_sender(self, at: int, fuse: int, arriving: int) -> None:
        self.interrupted = True
        self.world.senders[at].kill(fuse, arriving)

    @rule(at=which, arriving=st.integers(0, 8), heard=st.integers(0, 8))
    def break_producer(self, at: int, arriving: int, heard: int) -> None:
        self.interrupted = True
        self.world.senders[at].producer.break_down(arriving, heard)

    # -- receivers -------------------------------------------------------------------------

    def running(self) -> list[ReceivingNode]:
        return [each for each in self.world.receivers if each.receiver is not None]

    @rule(at=nodes, times=few, seconds=st.sampled_from([0.0, 0.0, 1.5]))
    def receive(self, at: int, times: int, seconds: float) -> None:
        self.world.clock.advance(seconds)
        if self.world.receivers[at].receiver is not None:
            self.world.receivers[at].turn(times)

    @rule(at=nodes)
    def start_or_stop_receiver(self, at: int) -> None:
        node = self.world.receivers[at]
        if node.receiver is None:
            node.start()
        else:
            node.stop()

    @precondition(lambda self: self.running())
    @rule(at=nodes, fuse=fuses, how=st.sampled_from(WAYS), again=st.booleans())
    def kill_receiver(self, at: int, fuse: int, how: str, again: bool) -> None:
        node = self.running()[at % len(self.running())]
        node.kill(fuse, how)
        if again:
            node.start()

    @rule(at=nodes)
    def fill_or_free_disk(self, at: int) -> None:
        self.world.receivers[at].disk.full = not self.world.receivers[at].disk.full

    @precondition(lambda self: self.running())
    @rule(at=nodes)
    def throw_out(self, at: int) -> None:
        """The group gives the partitions of a silent member to others."""
        node = self.running()[at % len(self.running())]
        if node.consumer in self.world.broker._group("topic", "group").members:
            self.world.note_doubtful(node)
            self.world.broker.evict(node.consumer)

    # -- what always holds -----------------------------------------------------------------

    @invariant()
    def published_contents_are_whole_and_were_there(self) -> None:
        for each in self.world.publications[self.checked :]:
            hasher = new_hasher()
            hasher.update(each.content)
            assert digest_of(hasher) == each.manifest.digest
            assert len(each.content) == each.manifest.size
            assert each.content in self.world.history[each.manifest.path]
        self.checked = len(self.world.publications)

    @invariant()
    def commits_never_go_back(self) -> None:
        if self.eaten:
            return  # a version that lost its beginning may be open in one journal only
        for partition, point in self.world.committed().items():
            before = self.highest.get(partition, point)
            assert point.offset >= before.offset
            assert point.position >= before.position
            self.highest[partition] = point

    @invariant()
    def commits_never_pass_an_open_version(self) -> None:
        done = {each.manifest.version for each in self.world.publications}
        done |= self.eaten | self.called_off()
        for partition, point in self.world.committed().items():
            begun: dict[VersionId, int] = {}
            for offset, item in self.world.log(partition):
                if offset < point.position:
                    begun.setdefault(item.version, offset)
            for version, first in begun.items():
                assert version in done or (point.offset <= first and version in point.open)

    def called_off(self) -> set[VersionId]:
        """The versions with an abort in the topic."""
        logs = [self.world.log(partition) for partition in self.world.ends()]
        return {item.version for log in logs for _, item in log if isinstance(item, Abort)}

    # -- how it ends -----------------------------------------------------------------------

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.let_all_arrive()
                self.check_all_arrived()
        finally:
            self.world.close()

    def let_all_arrive(self) -> None:
        world = self.world
        for sender in world.senders:
            sender.locked.clear()
            sender.producer.held = False
        for receiver in world.receivers:
            receiver.disk.full = False
        if not self.running():
            world.receivers[0].start()
        for receiver in self.running()[1:]:
            receiver.stop()
        for _ in range(200):
            world.clock.advance(5.0)  # a file that failed often is tried again every 10 minutes
            for sender in world.senders:
                sender.turn(4)
            for receiver in self.running():
                receiver.turn(4)
            if all(each.is_done() for each in world.senders) and all(
                each.is_done() for each in self.running()
            ):
                break
        else:
            raise AssertionError("it never comes to an end")
        for receiver in self.running():
            receiver.turn(2)
            receiver.stop()
        if not self.interrupted and not self.eaten:
            ends = {each: SafePoint(end, end) for each, end in world.ends().items() if end}
            done = {each: point for each, point in world.committed().items() if point.offset}
            assert done == ends, "something is left open"
        self.published_contents_are_whole_and_were_there()
        self.commits_never_go_back()
        self.commits_never_pass_an_open_version()

    def check_all_arrived(self) -> None:
        world = self.world
        disks = {each.name: each.disk for each in world.receivers}
        current: dict[str, Publication] = {}
        for each in world.publications:
            before = current.get(each.manifest.path)
            if before is None or before.manifest.last_offset <= each.manifest.last_offset:
                current[each.manifest.path] = each
        for sender in world.senders:
            for name, content in sender.files().items():
                entry = sender.ledger.entry(name)
                assert entry is not None
                if entry.version not in self.eaten:
                    path = f"{sender.name}/{name}"
                    assert path in current, f"{path} never arrived"
                    assert current[path].content == content, f"{path} is not the last one"
                    assert disks[current[path].node].named[path] == content, f"{path} is lost"
        counts = Counter(each.manifest.version for each in world.publications)
        doubled = {version for version, count in counts.items() if count > 1}
        # What a group knew of records before the topic's new beginning is not used any more.
        assert self.eaten or doubled <= world.doubtful | self.sent_again(), "published twice"
        for event in world.events:
            if isinstance(event, DeadLetter):
                known = counts.keys() | self.eaten | self.called_off()
                assert event.version in known, f"{event} is not true"
                assert event.reason in ({"no-beginning", "gap"} if self.eaten else {"no-beginning"})

    def sent_again(self) -> set[VersionId]:
        """The versions of which a sender put a record into the topic more than once."""
        indexes: Counter[tuple[VersionId, int]] = Counter()
        for partition in self.world.ends():
            for _, item in self.world.log(partition):
                if isinstance(item, Chunk):
                    indexes[item.version, item.index] += 1
        return {version for (version, _), count in indexes.items() if count > 1}


class Retention(Heart):
    """The same, with a topic that does not keep everything."""

    @rule(partition=st.integers(0, 1), count=st.integers(1, 12))
    def eat(self, partition: int, count: int) -> None:
        log = self.world.log(partition)
        for _, item in log[:count]:
            self.eaten.add(item.version)
        if log:
            before = log[min(count, len(log)) - 1][0] + 1
            self.world.broker.delete_records("topic", partition, before)


_settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestHeart = Heart.TestCase
TestHeart.settings = _settings
TestRetention = Retention.TestCase
TestRetention.settings = _settings
