"""The sender, the receiver and the broker are killed, and every file arrives once and whole."""

from __future__ import annotations

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
from crash.harness import Killer, Scale, World
from crash.tree import MB, TreePlan, TreeWriter

pytestmark = pytest.mark.crash


def test_random_kills(world: World, scale: Scale, closing: Callable[..., None]) -> None:
    world.create_topic()
    plan = TreePlan(
        small=scale.choose(1500, 200),
        medium=scale.choose(60, 6),
        large=scale.choose(2**30, 150 * MB),
        per_second=5,
    )
    writer = TreeWriter(world.source, scale.seed, plan)
    sender, receiver = world.sender().start(), world.receiver().start()
    killer = Killer(world, sender, receiver, scale.random("kills"))
    writer.start()
    try:
        killer.run(scale.kills)
    finally:
        writer.finish()
    if killer.faults:
        print("\n".join(killer.faults))
    world.wait_for_sent(scale.choose(600, 180))
    world.wait_for_arrival(scale.choose(600, 180))
    assert_status_and_verify(world)
    sender.stop()
    receiver.stop()

    files = assert_equal_trees(world.source, world.target)
    assert_nothing_left(world)
    content = read_topic(world.hub.bootstrap, world.topic)
    assert_ledger_agrees(world, content)
    assert_journal_agrees(world, content)
    twice = doubles(receiver)
    closing(
        kills=sum(killer.kills.values()),
        of=killer.kills,
        files=files,
        changes=writer.changes,
        bytes=writer.bytes_written,
        versions=sum(len(set(each)) for each in content.complete.values()),
        aborted=content.aborted,
        contents_sent_under_two_versions=len(content.sent_twice()),
        records=content.records,
        records_sent_again=content.repeated,
        bytes_sent_again=content.repeated_bytes,
        published_again=len(twice),
        starts_without_a_broker=sender.refused + receiver.refused,
        ended_by_themselves=len(killer.faults),
    )
    assert problem_events(sender, receiver) == []
    assert content.sent_twice() == []
    # Between a file's last name and the journal a kill makes the next run publish it once more.
    assert sum(twice.values()) - len(twice) <= _publish_budget(killer, receiver.run)
    assert killer.faults == [], "a program ended by itself"


def _publish_budget(killer: Killer, runs: int) -> int:
    """Each kill of the receiver may repeat what it published within the last moments."""
    return 50 * killer.kills["receiver"] + runs
