"""Receivers of one group come and go; each file is built by one of them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from crash.checks import (
    assert_journal_agrees,
    assert_ledger_agrees,
    assert_status_and_verify,
    problem_events,
    read_topic,
)
from crash.harness import Scale, World
from crash.programs import Failed, Program
from crash.tree import MB, TreePlan, TreeWriter, digest_of, files_below

pytestmark = [pytest.mark.crash, pytest.mark.slow]

GROUP = "shared-work"
MEMBERS = 4
EVERY = 5.0
# A member that publishes a file commits that within its checkpoint interval, one second, when
# the group is quiet; a commit waits for a rebalance, and that for members that are dead.
COMMIT_SECONDS = 15.0


def test_four_receivers_that_come_and_go(
    world: World, scale: Scale, closing: Callable[..., None]
) -> None:
    world.create_topic(partitions=8)
    seconds = scale.choose(120, 30)
    plan = TreePlan(scale.choose(1500, 300), scale.choose(60, 15), 100 * MB, per_second=15)
    writer = TreeWriter(world.source, scale.seed, plan)
    random = scale.random("group")
    sender = world.sender().start()
    members = [new_member(world, number) for number in range(MEMBERS)]
    writer.start()
    faults: list[str] = []
    kills = 0
    next_change = time.monotonic() + EVERY
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
        for each in [sender, *members]:
            each.told()  # notes when an event came
            faults += filter(None, [each.look_after()])
        if time.monotonic() >= next_change:
            next_change += EVERY
            random.choice([each for each in members if each.runs]).kill()
            kills += 1
            dead = [each for each in members if not each.runs]
            if random.random() < 0.5:
                random.choice(dead).start()
            else:
                members.append(new_member(world, len(members)))
    writer.finish()
    world.wait_for_sent(180)
    targets = [target_of(world, each) for each in members]
    world.wait_for_arrival(180, *targets)
    content = read_topic(world.hub.bootstrap, world.topic)
    wait_for_journals(world, members)
    assert_status_and_verify(world)
    for each in [sender, *members]:
        if each.runs:
            each.stop()
    assert_ledger_agrees(world, content)
    assert_journal_agrees(world, content, *(each.name for each in members))
    files = assert_union(world, members)
    excused, wrong = published_twice(members)
    closing(
        members=len(members),
        kills=kills,
        files=files,
        bytes=writer.bytes_written,
        versions=sum(map(len, content.complete.values())),
        published_by_two_after_a_kill=len(excused),
        published_by_two_otherwise=len(wrong),
        leftovers=sum(len(leftovers(world, each)) for each in members),
    )
    assert faults == []
    assert problem_events(sender, *members) == []
    assert wrong == []


def new_member(world: World, number: int) -> Program:
    return world.receiver(f"member-{number}", "--group", GROUP).start()


def target_of(world: World, member: Program) -> Path:
    return world.directory / f"target-{member.name}"


def wait_for_journals(world: World, members: list[Program]) -> None:
    """Until what arrived last is in a journal: at the next checkpoint of its receiver."""
    deadline = time.monotonic() + 60
    names = [each.name for each in members]
    while True:
        try:
            content = read_topic(world.hub.bootstrap, world.topic)
            assert_journal_agrees(world, content, *names)
            return
        except Failed:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


def assert_union(world: World, members: list[Program]) -> int:
    """The current content of each file lies where the member that published it put it."""
    current = read_topic(world.hub.bootstrap, world.topic).current()
    publishers: dict[str, list[Program]] = defaultdict(list)
    for member in members:
        for told in member.events("rebuilt"):
            publishers[told["version"]].append(member)
    sent = {n: path for n, path in files_below(world.source).items() if n in current}
    wrong = []
    for name, path in sent.items():
        digest = digest_of(path)
        places = [target_of(world, each) / name for each in publishers[current[name]]]
        if not places or any(digest_of(place) != digest for place in places):
            wrong.append(name)
    assert not wrong, f"not equal at its publisher: {wrong[:10]}"
    return len(sent)


def published_twice(members: list[Program]) -> tuple[list[str], list[str]]:
    """Versions that two published: those of which the first was killed shortly after, before its
    commit, and all others."""
    times: dict[str, list[tuple[float, Program, int]]] = defaultdict(list)
    for member in members:
        for told in member.told("rebuilt"):
            times[told.event["version"]].append((told.at, member, told.run))
    excused: list[str] = []
    wrong: list[str] = []
    for version, published in times.items():
        for at, member, run in sorted(published, key=lambda each: each[0])[:-1]:
            killed = member.killed_at.get(run)
            in_time = killed is not None and killed - at < COMMIT_SECONDS
            others = [each[1].name for each in published]
            said = f"{version} by {others}, first run {run} at {at:.1f}, killed {killed}"
            (excused if in_time else wrong).append(said)
    return excused, wrong


def leftovers(world: World, member: Program) -> list[str]:
    """What a member that was stopped in good order leaves in its destination."""
    if member.run in member.killed_at:
        return []  # its unfinished files wait for it to come back
    return sorted(str(each) for each in (target_of(world, member) / ".openmsi").rglob("*"))
