"""A disk that fills up and is freed: everything arrives, and no program had to be started again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from crash.checks import (
    assert_equal_trees,
    assert_journal_agrees,
    assert_ledger_agrees,
    assert_nothing_left,
    assert_status_and_verify,
    doubles,
    read_topic,
)
from crash.harness import Scale, World
from crash.programs import Program
from crash.tree import MB, random_file

pytestmark = [pytest.mark.crash, pytest.mark.slow]

MOST_MEMORY = 300 * MB
FILES = 40


class SmallDisk:
    """A tmpfs that is filled and freed by a file of our own, outside what the test uses."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "used"
        self.directory.mkdir()
        self._filler = root / "filler"

    def fill(self, spare: int) -> None:
        """Leave only `spare` bytes free."""
        with open(self._filler, "ab", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(64 * 1024))
            file.truncate(max(0, file.tell() - spare))

    def free(self) -> None:
        self._filler.unlink()


@contextmanager
def small_disk(mount_point: Path, size: int) -> Iterator[SmallDisk]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only the superuser of a Linux system may mount a tmpfs")
    mount_point.mkdir()
    options = ["-o", f"size={size}", "-t", "tmpfs", "openmsi-crash", str(mount_point)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False, text=True)
    if mounted.returncode != 0:
        mount_point.rmdir()
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(mount_point)
    finally:
        subprocess.run(["umount", str(mount_point)], check=False)
        if mount_point.is_mount():
            subprocess.run(["umount", "--lazy", str(mount_point)], check=True)
        mount_point.rmdir()


@pytest.fixture
def disk(world: World) -> Iterator[SmallDisk]:
    with small_disk(world.directory / "disk", 400 * MB) as disk:
        yield disk


def full_for(disk: SmallDisk, victim: Program, seconds: float) -> float:
    """Keep it full for so long after the program waits, then free it. Returns how long it then
    took to go on."""
    told = victim.until("waiting", seconds=120)
    assert "full" in told["reason"], told
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert victim.runs, victim.stderr
        time.sleep(0.2)
    disk.free()
    began = time.monotonic()
    victim.until("resumed", seconds=120)
    return time.monotonic() - began


def write_files(world: World, count: int, size: int, name: str = "file") -> None:
    for number in range(count):
        random_file(world.source / f"{name}/{number:03}.bin", size, number)


def finish(
    world: World, programs: tuple[Program, Program], target: Path, closing: Callable[..., None]
) -> None:
    """Everything arrives, from programs that ran all the time."""
    sender, receiver = programs
    world.wait_for_sent(180)
    world.wait_for_arrival(180, target)
    assert (sender.run, receiver.run) == (1, 1)
    assert_status_and_verify(world)
    sender.stop()
    receiver.stop()
    files = assert_equal_trees(world.source, target)
    content = read_topic(world.hub.bootstrap, world.topic)
    assert_ledger_agrees(world, content)
    assert_journal_agrees(world, content)
    assert doubles(receiver) == {}
    assert_nothing_left(world, "disk")
    closing(
        files=files,
        bytes=content.bytes,
        records_sent_again=content.repeated,
        sender_peak_mb=sender.peak_rss // MB,
        receiver_peak_mb=receiver.peak_rss // MB,
    )
    assert max(sender.peak_rss, receiver.peak_rss) < MOST_MEMORY


def test_a_destination_that_is_full_for_a_while(
    world: World, disk: SmallDisk, scale: Scale, closing: Callable[..., None]
) -> None:
    world.create_topic()
    target = disk.directory / "target"
    sender = world.sender().start()
    receiver = world.program("receiver", "download", target).start()
    receiver.until("started")
    disk.fill(spare=60 * MB)
    write_files(world, FILES, 5 * MB)
    seconds = full_for(disk, receiver, scale.choose(60, 10))
    print(f"went on after {seconds:.1f} s")
    finish(world, (sender, receiver), target, closing)


@pytest.mark.parametrize("spare", [0, 40_000])
def test_a_full_disk_under_the_receivers_state(
    world: World, disk: SmallDisk, scale: Scale, closing: Callable[..., None], spare: int
) -> None:
    world.create_topic()
    sender = world.sender().start()
    state = disk.directory / "state"
    receiver = world.program("receiver", "download", world.target, "--state-dir", state).start()
    receiver.until("started")
    write_files(world, 5, 1000, "before")
    receiver.until("rebuilt", 5)
    disk.fill(spare)
    write_files(world, 300, 1000)
    seconds = full_for(disk, receiver, scale.choose(60, 10))
    print(f"went on after {seconds:.1f} s")
    finish(world, (sender, receiver), world.target, closing)


@pytest.mark.parametrize("spare", [0, 40_000])
def test_a_full_disk_under_the_senders_state(
    world: World, disk: SmallDisk, scale: Scale, closing: Callable[..., None], spare: int
) -> None:
    world.create_topic()
    state = disk.directory / "state"
    sender = world.sender("--state-dir", state)
    sender.start()
    receiver = world.receiver().start()
    write_files(world, 5, 1000, "before")
    sender.until("sent", 5)
    disk.fill(spare)
    write_files(world, 300, 1000)
    random_file(world.source / "large.bin", 20 * MB, 7)
    seconds = full_for(disk, sender, scale.choose(60, 10))
    print(f"went on after {seconds:.1f} s")
    finish(world, (sender, receiver), world.target, closing)
