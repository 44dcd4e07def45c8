"""A disk that gets full: wait, say so, and go on by itself when there is space again."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import MIB, Lab, assert_same_tree, fill, printed, random_file, small_disk, tree

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a tmpfs of its own")


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic()
        yield lab


def test_a_full_destination_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    for number in range(4):
        random_file(lab.source / f"{number}.bin", 6 * MIB, seed=number)
    lab.upload().wait()
    with small_disk(tmp_path / "small", 32 * MIB):
        lab.target = tmp_path / "small" / "target"
        ballast = random_file(tmp_path / "small" / "ballast", 20 * MIB)
        receiver = lab.download("--until-end")
        waiting = receiver.until("waiting")
        assert "full" in waiting["reason"] and str(lab.target) in waiting["reason"]
        time.sleep(2)
        assert receiver.process.poll() is None
        assert len(receiver.events("waiting")) == 1, "it is said once"
        for name in tree(lab.target):
            assert (lab.target / name).read_bytes() == (lab.source / name).read_bytes()
        ballast.unlink()
        freed = time.monotonic()
        receiver.until("resumed")
        printed("full disk, freed", resumed_after=f"{time.monotonic() - freed:.1f} s")
        receiver.wait(30)
        assert receiver.paths("rebuilt") == [f"{number}.bin" for number in range(4)]
        assert_same_tree(lab.source, lab.target)


def test_a_state_directory_that_gets_full_does_not_lose_anything(lab: Lab, tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", MIB):
        sender = lab.watch("--settle", "0.2")
        (lab.source / "first").write_text("first")
        sender.until("sent", path="first")
        ballast = tmp_path / "state" / "ballast"
        fill(ballast)
        for number in range(300):
            (lab.source / f"{number:03} {'x' * 200}").write_text("x")
        waiting = sender.until("waiting")
        assert "full" in waiting["reason"]
        time.sleep(1)
        assert sender.process.poll() is None
        ballast.unlink()
        sender.until("resumed")
        for number in range(300):
            sender.until("sent", path=f"{number:03} {'x' * 200}")
        sender.stop()
        again = lab.upload().wait()
        assert again.events("summary")[0]["sent"] == 0
    receiver = lab.download_to_end()
    assert len(set(receiver.paths("rebuilt"))) == len(receiver.paths("rebuilt")) == 301
    assert_same_tree(lab.source, lab.target)


def test_a_full_state_directory_at_the_start_is_said_and_nothing_is_forgotten(
    lab: Lab, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "state", MIB):
        (lab.source / "first").write_text("first")
        lab.upload().wait()
        lab.download_to_end()
        ballast = tmp_path / "state" / "ballast"
        fill(ballast)
        for program in (lab.upload(), lab.download("--until-end")):
            program.wait(15, code=None)
            assert program.process.returncode in (0, 7), program.stderr
            assert "full" in program.stderr or program.process.returncode == 0
            assert "Traceback" not in program.stderr
        assert list((tmp_path / "state").rglob("*.bad")) == []
        ballast.unlink()
        assert lab.upload().wait().events("sent") == []
        assert lab.download_to_end().events("rebuilt") == []


def test_a_full_state_directory_of_a_receiver_is_waited_for(lab: Lab, tmp_path: Path) -> None:
    with small_disk(tmp_path / "state", MIB):
        receiver = lab.download()
        (lab.source / "first").write_text("first")
        sender_state = ("--state-dir", tmp_path / "sender")
        lab.upload(lab.source, *sender_state).wait()
        receiver.until("rebuilt", path="first")
        time.sleep(1.5)  # the checkpoint after it
        ballast = tmp_path / "state" / "ballast"
        fill(ballast)
        for number in range(300):
            (lab.source / f"{number:03} {'x' * 200}").write_text("x")
        lab.upload(lab.source, *sender_state).wait()
        waiting = receiver.until("waiting")
        assert "full" in waiting["reason"]
        time.sleep(2)
        assert receiver.process.poll() is None
        assert len(receiver.events("waiting")) == 1, "it is said once"
        ballast.unlink()
        receiver.until("resumed")
        receiver.until("rebuilt", 301)
        receiver.stop()
        assert lab.download_to_end().events("rebuilt") == []
    assert_same_tree(lab.source, lab.target)
