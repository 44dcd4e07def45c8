"""Single histories of the whole world, each of which once went wrong."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from heart_world import CHUNK, SendingNode, World

from openmsi.events import VersionAborted
from openmsi.protocol import SafePoint


@pytest.fixture
def world() -> Iterator[World]:
    world = World(partitions=1)
    world.receivers[0].start()
    yield world
    world.close()


def write(world: World, node: SendingNode, name: str, content: bytes) -> None:
    (node.root / name).write_bytes(content)
    world.changed(node, name)


def let_pass(world: World, seconds: float) -> None:
    """Let everybody work for so long."""
    for _ in range(int(seconds / 0.5)):
        world.clock.advance(0.5)
        for sender in world.senders:
            sender.turn(2)
        world.receivers[0].turn(2)


def everything_is_settled(world: World) -> bool:
    """Is nothing left open in the topic?"""
    let_pass(world, 5)
    end = world.ends()[0]
    return world.committed() == {0: SafePoint(end, end)}


def test_a_growing_file_may_wait_for_its_last_acknowledgement(world: World) -> None:
    # Given a growing file that is read to its end while no answer comes from the broker,
    node = world.senders[1]
    node.producer.held = True
    write(world, node, "f", bytes(2 * CHUNK))
    let_pass(world, 10)
    # when the answers come, then it is there.
    node.producer.held = False
    let_pass(world, 5)
    assert world.receivers[0].disk.named == {"b/f": bytes(2 * CHUNK)}


def test_a_growing_file_that_is_renamed_is_aborted_and_arrives_under_its_new_name(
    world: World,
) -> None:
    node = world.senders[1]
    write(world, node, "f", b"abcdef")
    let_pass(world, 1)
    (node.root / "f").rename(node.root / "g")
    world.seen(node, "g")
    let_pass(world, 10)
    assert world.receivers[0].disk.named == {"b/g": b"abcdef"}
    assert len([each for each in world.events if isinstance(each, VersionAborted)]) == 1
    assert everything_is_settled(world)


def test_a_growing_file_that_is_deleted_after_it_grew_on_is_aborted(world: World) -> None:
    # Given a growing file that seemed settled, but was written again while it was read,
    node = world.senders[1]
    write(world, node, "f", b"abcdef")
    node.turn()
    world.clock.advance(2.5)
    node.turn()
    write(world, node, "f", b"abcdefg")
    # when it is gone before the sender looks again, then its version is called off.
    (node.root / "f").unlink()
    let_pass(world, 5)
    assert node.sender._active == {}
    assert everything_is_settled(world)


def test_a_growing_file_that_another_one_replaces_is_aborted_once(world: World) -> None:
    node = world.senders[1]
    write(world, node, "f", b"abcdef")
    node.turn()
    write(world, node, "g", b"ABCDEFGHIJ")
    (node.root / "g").replace(node.root / "f")
    node.producer.held = True
    let_pass(world, 5)
    node.producer.held = False
    let_pass(world, 10)
    assert world.receivers[0].disk.named == {"b/f": b"ABCDEFGHIJ"}
    assert everything_is_settled(world)


def test_a_growing_file_that_was_locked_for_a_moment_is_tried_again_soon(world: World) -> None:
    node = world.senders[1]
    node.locked.add("f")
    write(world, node, "f", b"abcdef")
    let_pass(world, 6)
    node.locked.clear()
    let_pass(world, 30)
    assert world.receivers[0].disk.named == {"b/f": b"abcdef"}


def test_retention_makes_nobody_publish_again_what_the_group_published(world: World) -> None:
    # Given a version that is still open, and behind it one that is published and committed,
    node = world.senders[0]
    write(world, node, "large", bytes(5 * CHUNK))
    world.clock.advance(2.5)
    node.turn()
    node.locked.add("large")
    node.kill(fuse=1, arriving=0)
    world.clock.advance(2.5)
    write(world, node, "small", b"small")
    let_pass(world, 5)
    assert [each.manifest.path for each in world.publications] == ["a/small"]
    # when retention eats the beginning of the open one, and another receiver takes over,
    world.broker.delete_records("topic", 0, 1)
    world.receivers[0].stop()
    world.receivers[1].start()
    for _ in range(5):
        world.clock.advance(0.5)
        world.receivers[1].turn()
    # then it leaves alone what was published.
    assert [each.manifest.path for each in world.publications] == ["a/small"]
