"""What was sent or received before a kill is not sent or received again, by bytes on the wire."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crash.checks import (
    assert_equal_trees,
    assert_nothing_left,
    assert_status_and_verify,
    read_topic,
)
from crash.harness import Scale, World
from crash.programs import wait_until
from crash.proxy import TO_BROKER, TO_CLIENT, Proxy
from crash.tree import MB, random_file

pytestmark = [pytest.mark.crash, pytest.mark.slow]

MOST_AGAIN = 0.05
# A small file at full speed would be through before its receiver's first checkpoint: one second.
SHORT_RATE = 8 * MB
# A second of that, an answer of the broker (8 MiB) and what the sockets hold is lost with any
# kill, also in the middle of a file of which this is more than the share above.
SHORT_AGAIN = 32 * MB


@pytest.fixture
def proxy(proxied: World) -> Proxy:
    assert proxied.hub.proxy is not None
    return proxied.hub.proxy


def size_of(scale: Scale) -> int:
    return scale.choose(2 * 2**30, 200 * MB)


def test_a_killed_sender_sends_little_again(
    proxied: World, proxy: Proxy, scale: Scale, closing: Callable[..., None]
) -> None:
    world, size = proxied, size_of(scale)
    world.create_topic()
    random_file(world.source / "large.bin", size, scale.seed)
    sender = world.sender()
    before = proxy.counts[TO_BROKER]
    proxy.rate = 0.0 if scale.full else 4 * SHORT_RATE
    sender.start()
    wait_until(lambda: proxy.counts[TO_BROKER] - before > size / 2, 300, "half of it is sent")
    sender.kill()
    at_kill = proxy.counts[TO_BROKER] - before
    assert at_kill < 0.9 * size, "it was not killed in the middle"
    sender.start()
    sender.until("sent", seconds=300, path="large.bin")
    again = proxy.counts[TO_BROKER] - before - size
    assert_status_and_verify(world)
    sender.stop()
    content = read_topic(world.hub.bootstrap, world.topic)
    closing(
        bytes=size,
        killed_at=at_kill,
        wire_bytes_again=again,
        share=f"{again / size:.2%}",
        record_bytes_again=content.repeated_bytes,
        aborted=content.aborted,
    )
    assert content.aborted == 0
    assert {len(each) for each in content.complete.values()} == {1}
    assert again < (MOST_AGAIN * size if scale.full else SHORT_AGAIN)


def test_a_killed_receiver_receives_little_again(
    proxied: World, proxy: Proxy, scale: Scale, closing: Callable[..., None]
) -> None:
    world, size = proxied, size_of(scale)
    world.create_topic()
    random_file(world.source / "large.bin", size, scale.seed)
    sender = world.sender().start()
    sender.until("sent", seconds=300, path="large.bin")
    sender.stop()
    usual = bytes_of_a_whole_download(world, proxy) if scale.full else size
    receiver = world.receiver()
    proxy.rate = 0.0 if scale.full else SHORT_RATE
    before = proxy.counts[TO_CLIENT]
    receiver.start()
    wait_until(lambda: spooled(world.target) > size / 2, 300, "half of it is received")
    receiver.kill()
    at_kill = spooled(world.target)
    assert at_kill < 0.9 * size, "it was not killed in the middle"
    receiver.start()
    receiver.until("rebuilt", seconds=300, path="large.bin")
    again = proxy.counts[TO_CLIENT] - before - usual
    proxy.heal()
    receiver.stop()
    closing(
        bytes=size,
        killed_at=at_kill,
        wire_bytes_counted_as_usual=usual,
        wire_bytes_again=again,
        share=f"{again / size:.2%}",
    )
    assert_equal_trees(world.source, world.target)
    assert_nothing_left(world, "target-unhurt", "state-unhurt")
    assert again < (MOST_AGAIN * size if scale.full else SHORT_AGAIN)


def bytes_of_a_whole_download(world: World, proxy: Proxy) -> int:
    """What the wire carries when nobody is killed: more than the file, since an answer of the
    broker may end in the middle of a record."""
    before = proxy.counts[TO_CLIENT]
    unhurt = world.receiver("unhurt").start()
    unhurt.until("rebuilt", seconds=300, path="large.bin")
    carried = proxy.counts[TO_CLIENT] - before
    unhurt.stop()
    return carried


def spooled(target: Path) -> int:
    """Bytes of unfinished files."""
    spool = target / ".openmsi" / "spool"
    try:
        return sum(each.stat().st_size for each in spool.iterdir())
    except FileNotFoundError:
        return 0
