"""verify --deep names what is not safe, delete keeps what the topic lost, dead letters go again."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from crash.checks import assert_equal_trees, read_topic
from crash.harness import World
from crash.programs import Event
from crash.tree import MB, digest_of, files_below, random_file

pytestmark = pytest.mark.crash


def send_all(world: World, *options: str | Path) -> list[Event]:
    """Send the source and stop. Returns the events."""
    sender = world.sender(*options).start()
    world.wait_for_sent(120)
    sender.stop()
    return sender.events()


def problems(world: World) -> dict[str, str]:
    """What verify --deep says of each file that is not safe."""
    code, told, complaint = world.verify()
    found = [json.loads(line) for line in told.splitlines()]
    wrong = {each["path"]: each["problem"] for each in found if each.get("problem")}
    assert code == (3 if wrong else 0), complaint
    assert [each["problems"] for each in found if each["event"] == "summary"] == [len(wrong)]
    return wrong


def delete_records(world: World, before: dict[int, int]) -> None:
    """The beginning of each partition goes, as retention would take it."""
    admin = world.admin()
    places = [TopicPartition(world.topic, *each) for each in before.items()]
    for done in admin.delete_records(places).values():
        done.result(30)


def test_verify_deep_names_every_file_that_is_not_safe(
    world: World, closing: Callable[..., None]
) -> None:
    world.create_topic(partitions=1)
    random_file(world.source / "retention took me.bin", 3 * MB, 9)
    oldest = send_all(world)
    for number in range(20):
        random_file(world.source / f"good/{number}.dat", 10_000 + number, number)
    random_file(world.source / "flipped.bin", 2 * MB, 1)
    random_file(world.source / "changed.bin", 1000, 2)
    send_all(world)
    assert problems(world) == {}

    flip_a_byte(world.source / "flipped.bin", 1_234_567)
    with open(world.source / "changed.bin", "ab") as file:
        file.write(b"more")
    random_file(world.source / "never sent.bin", 1000, 3)
    taken = next(each for each in oldest if each["event"] == "sent")
    delete_records(world, {0: taken["last_offset"]})  # all but the last record of it

    found = problems(world)
    closing(files=len(files_below(world.source)), named=sorted(found))
    assert set(found) == {
        "retention took me.bin",
        "flipped.bin",
        "changed.bin",
        "never sent.bin",
    }
    assert "damaged or gone" in found["retention took me.bin"]
    assert "content" in found["flipped.bin"] and "content" in found["changed.bin"]
    assert "not in the topic" in found["never sent.bin"]


def flip_a_byte(path: Path, at: int) -> None:
    """What a failing disk does: the size and the times stay."""
    stat = path.stat()
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_delete_keeps_a_file_whose_copy_in_the_topic_is_gone(world: World) -> None:
    world.create_topic(partitions=1)
    random_file(world.source / "lost copy.bin", 3 * MB, 1)
    first = send_all(world)
    random_file(world.source / "good copy.bin", 3 * MB, 2)
    send_all(world)
    taken = next(each for each in first if each["event"] == "sent")
    delete_records(world, {0: taken["first_offset"] + 1})
    before = digest_of(world.source / "lost copy.bin")

    sender = world.sender("--after", "delete").start()
    sender.until("deleted", path="good copy.bin")
    kept = sender.until("kept", path="lost copy.bin")
    time.sleep(1)
    sender.stop()
    assert "read" in kept["reason"] and "topic" in kept["reason"]
    assert list(files_below(world.source)) == ["lost copy.bin"]
    assert digest_of(world.source / "lost copy.bin") == before


@pytest.mark.slow
def test_a_sender_killed_while_it_deletes_loses_nothing(world: World) -> None:
    world.create_topic()
    count = 40
    for number in range(count):
        random_file(world.source / f"file {number:02}.dat", 200_000, number)
    digests = {name: digest_of(path) for name, path in files_below(world.source).items()}
    sender = world.sender("--after", "delete").start()
    sender.until("deleted", 5)
    sender.kill()
    sender.start()
    deadline = time.monotonic() + 120
    while files_below(world.source) and time.monotonic() < deadline:
        time.sleep(0.2)
    sender.stop()
    receiver = world.receiver().start()
    receiver.until("rebuilt", count)
    receiver.stop()
    assert files_below(world.source) == {}
    assert {name: digest_of(path) for name, path in files_below(world.target).items()} == digests


@pytest.mark.slow
def test_move_goes_across_file_systems_and_survives_a_kill(world: World) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == world.source.stat().st_dev:
        pytest.skip("there is no second file system here")
    world.create_topic()
    for number in range(30):
        random_file(world.source / f"deep/{number:02}.dat", MB, number)
    digests = {name: digest_of(path) for name, path in files_below(world.source).items()}
    moved = world.temporary(memory)
    sender = world.sender("--after", f"move:{moved}").start()
    sender.until("moved", 3)
    sender.kill()
    sender.start()
    deadline = time.monotonic() + 120
    while files_below(world.source) and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(1)
    sender.stop()
    assert files_below(world.source) == {}
    found = {name: digest_of(path) for name, path in files_below(moved).items()}
    assert {name: each for name, each in found.items() if name in digests} == digests
    print("beside them, after the kill:", sorted(set(found) - set(digests)))
    content = read_topic(world.hub.bootstrap, world.topic)
    assert set(content.complete) == set(digests)
    assert set(found) == set(digests)


@pytest.mark.slow
def test_dead_letters_are_listed_and_retried(world: World) -> None:
    world.create_topic()
    random_file(world.source / "results", 3 * MB, 1)
    random_file(world.source / "other", 1000, 2)
    (world.target / "results").mkdir(parents=True)
    send_all(world)
    receiver = world.receiver().start()
    letter = receiver.until("dead-letter", path="results")
    receiver.until("rebuilt", path="other")
    time.sleep(2)  # a checkpoint
    receiver.kill()
    assert letter["reason"] == "in-the-way"

    code, told, _ = world.run("dead-letters list", world.target, "--json", state="receiver")
    (listed,) = map(json.loads, told.splitlines())
    assert (code, listed["path"], listed["reason"]) == (3, "results", "in-the-way")
    assert world.run("dead-letters retry", world.target, "--json", state="receiver")[0] == 3
    (world.target / "results").rmdir()
    code, told, complaint = world.run(
        "dead-letters retry", world.target, "--json", state="receiver"
    )
    assert code == 0, complaint
    assert world.run("dead-letters list", world.target, state="receiver")[0] == 0
    again = world.receiver().start()
    again.until("started")
    time.sleep(1)
    again.stop()
    assert again.events("dead-letter") == []
    assert_equal_trees(world.source, world.target)


@pytest.mark.slow
def test_a_growing_file_survives_kills(world: World) -> None:
    world.create_topic()
    sender, receiver = world.sender("--growing").start(), world.receiver().start()
    sender.until("started")
    receiver.until("started")
    path = world.source / "growing.h5"
    block = random_file(world.directory / "logs" / "block", 500_000, 1).read_bytes()
    with open(path, "wb", buffering=0) as file:
        for number in range(60):
            file.write(b"%08d" % number + block[8:])
            time.sleep(0.1)
            if number in (20, 40):
                sender.kill()
                sender.start()
            if number == 30:
                receiver.kill()
                receiver.start()
        file.seek(0)
        file.write(b"the header comes last")
    world.wait_for_sent(120)
    world.wait_for_arrival(120)
    receiver.until("rebuilt", size=path.stat().st_size)
    time.sleep(2)
    sender.stop()
    receiver.stop()
    assert_equal_trees(world.source, world.target)
    content = read_topic(world.hub.bootstrap, world.topic)
    assert list(content.complete) == ["growing.h5"]
    print("versions", len(content.complete["growing.h5"]), "aborted", content.aborted)
