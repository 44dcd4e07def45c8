"""Connections that are cut, stalled, half open and slow: all passes, and is told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import pytest

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
from crash.harness import Scale, World
from crash.proxy import TO_BROKER, TO_CLIENT, Proxy
from crash.tree import MB, TreePlan, TreeWriter

pytestmark = [pytest.mark.crash, pytest.mark.slow]

MOST_MEMORY = 300 * MB
Fault = Callable[[Proxy, Scale], None]


def cut(proxy: Proxy, scale: Scale) -> None:
    for _ in range(scale.choose(30, 8)):
        proxy.cut()
        time.sleep(1)


def stall(proxy: Proxy, scale: Scale) -> None:
    proxy.stall()
    time.sleep(20)
    proxy.heal()


def half_open_to_broker(proxy: Proxy, scale: Scale) -> None:
    proxy.drop(TO_BROKER)
    time.sleep(scale.choose(60, 15))
    proxy.heal()


def half_open_to_client(proxy: Proxy, scale: Scale) -> None:
    proxy.drop(TO_CLIENT)
    time.sleep(scale.choose(60, 15))
    proxy.heal()


def throttle(proxy: Proxy, scale: Scale) -> None:
    proxy.rate = 1 * MB
    time.sleep(scale.choose(60, 10))
    proxy.heal()


def away(proxy: Proxy, scale: Scale) -> None:
    proxy.cut(stay_away=True)
    time.sleep(scale.choose(60, 15))
    proxy.heal()


WORDS = re.compile(r"broker|Kafka|coordinator")
BOTH = ("sender", "receiver")
# Who must have told that it waits. A slow network is none of their business, nor are connections
# that come back at once; and to a receiver a silent broker is one that has nothing for it.
FAULTS: list[tuple[Fault, tuple[str, ...]]] = [
    (cut, ()),
    (stall, ("sender",)),
    (half_open_to_broker, ("sender",)),
    (half_open_to_client, ("sender",)),
    (throttle, ()),
    (away, BOTH),
]


@pytest.mark.parametrize(("fault", "told"), FAULTS, ids=[each.__name__ for each, _ in FAULTS])
def test_a_network_fault_during_a_stream(
    proxied: World,
    scale: Scale,
    closing: Callable[..., None],
    fault: Fault,
    told: tuple[str, ...],
) -> None:
    world, proxy = proxied, proxied.hub.proxy
    assert proxy is not None
    world.create_topic()
    plan = TreePlan(50, 8, 30 * MB, per_second=10)
    writer = TreeWriter(world.source, scale.seed, plan)
    sender, receiver = world.sender().start(), world.receiver().start()
    sender.until("started")
    receiver.until("started")
    proxy.rate = 10 * MB
    writer.start()
    receiver.until("rebuilt", 3)
    fault(proxy, scale)
    healed = time.monotonic()
    writer.finish()
    world.wait_for_sent(240)
    world.wait_for_arrival(240)
    seconds = time.monotonic() - healed
    assert (sender.run, receiver.run) == (1, 1)
    assert_status_and_verify(world)
    sender.stop()
    receiver.stop()
    files = assert_equal_trees(world.source, world.target)
    assert_nothing_left(world)
    content = read_topic(world.hub.bootstrap, world.topic)
    assert_ledger_agrees(world, content)
    assert_journal_agrees(world, content)
    waits = {each.name: each.events("waiting") for each in (sender, receiver)}
    closing(
        files=files,
        bytes=content.bytes,
        seconds_until_all_was_there=round(seconds, 1),
        records_sent_again=content.repeated,
        published_again=len(doubles(receiver)),
        sender_waits=len(waits["sender"]),
        receiver_waits=len(waits["receiver"]),
        peak_mb=max(sender.peak_rss, receiver.peak_rss) // MB,
    )
    assert problem_events(sender, receiver) == []
    assert max(sender.peak_rss, receiver.peak_rss) < MOST_MEMORY
    assert threading.active_count() < 50
    for name, events in waits.items():
        assert all(WORDS.search(each["reason"]) for each in events), events
        assert events or name not in told, f"{name} did not tell that it waits"
