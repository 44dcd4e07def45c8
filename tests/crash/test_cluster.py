"""Three brokers, of which any one may go: nothing is lost and nobody has to do anything."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import running_broker
from crash.checks import (
    assert_equal_trees,
    assert_journal_agrees,
    assert_ledger_agrees,
    assert_nothing_left,
    assert_status_and_verify,
    doubles,
    problem_events,
    read_topic,
)
from crash.harness import Hub, Scale, World
from crash.programs import Failed
from crash.tree import MB, random_file
from openmsi.broker import LocalBroker

pytestmark = [pytest.mark.crash, pytest.mark.slow]

NODES = 3


@pytest.fixture
def cluster(directory: Path, topic_name: str) -> Iterator[World]:
    with running_broker(nodes=NODES) as broker:
        hub = Hub(broker, broker.status().bootstrap)
        with World(hub, directory, topic_name) as world:
            yield world


class Stream(threading.Thread):
    """Writes files into the source, one after the other, until so many bytes are written and
    it was told that it is enough."""

    def __init__(self, world: World, size: int, total: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.written = 0
        self.enough = threading.Event()
        self._world = world
        self._size = size
        self._total = total
        self._seed = seed

    def run(self) -> None:
        number = 0
        # On a busy machine the kills take longer than the bytes: then more, but slowly.
        while self.written < self._total or not self.enough.is_set():
            path = self._world.source / f"stream/{number:04}.dat"
            random_file(path, self._size, self._seed + number)
            self.written += self._size
            number += 1
            if not self.enough.is_set():
                self.enough.wait(0.5 if self.written < self._total else 10)


def test_each_broker_is_killed_in_turn(
    cluster: World, scale: Scale, closing: Callable[..., None]
) -> None:
    world, random = cluster, scale.random("cluster")
    world.create_topic(partitions=6, copies=3, min_insync_replicas="2")
    total = scale.choose(5 * 2**30, 200 * MB)
    stream = Stream(world, scale.choose(64, 4) * MB, total, scale.seed)
    sender, receiver = world.sender().start(), world.receiver().start()
    sender.until("started")
    receiver.until("started")
    stream.start()
    try:
        for number in scale.choose(3, 1) * random.sample(range(1, NODES + 1), NODES):
            time.sleep(random.uniform(1, 3))
            world.hub.broker.kill_node(number)
            time.sleep(random.uniform(1, 8))
            world.hub.broker.start_node(number)
            wait_for_all_copies(world.hub.broker, world, 180)
            assert sender.runs, sender.stderr
            assert receiver.runs, receiver.stderr
    finally:
        stream.enough.set()
        stream.join()
    world.wait_for_sent(scale.choose(900, 180))
    world.wait_for_arrival(scale.choose(900, 180))
    assert (sender.run, receiver.run) == (1, 1), "a manual step was needed"
    assert_status_and_verify(world)
    sender.stop()
    receiver.stop()
    files = assert_equal_trees(world.source, world.target)
    assert_nothing_left(world)
    content = read_topic(world.hub.bootstrap, world.topic)
    assert_ledger_agrees(world, content)
    assert_journal_agrees(world, content)
    closing(
        brokers_killed=scale.choose(3, 1) * NODES,
        files=files,
        bytes=stream.written,
        records_sent_again=content.repeated,
        published_again=len(doubles(receiver)),
        waits=len(sender.events("waiting") + receiver.events("waiting")),
    )
    assert problem_events(sender, receiver) == []
    assert doubles(receiver) == {}


def wait_for_all_copies(broker: LocalBroker, world: World, seconds: float) -> None:
    """Until the node that came back holds everything again: else the next kill is the second."""
    deadline = time.monotonic() + seconds
    admin = world.admin()
    while True:
        partitions = admin.list_topics(world.topic, 30).topics[world.topic].partitions.values()
        if all(len(each.isrs) == len(each.replicas) for each in partitions):
            return
        if time.monotonic() > deadline:
            raise Failed(f"not in sync in {seconds} s: {broker.status()}")
        time.sleep(0.5)
