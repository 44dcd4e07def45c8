"""Programs that are stopped and started again go on where they were."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import MB, MIB, Lab, Program, assert_same_tree, digest_of, printed, random_file, tree

LARGE = 300 * MIB
CHUNK = MB  # the default
LARGE_CHUNKS = LARGE // CHUNK + 1
FEW = LARGE_CHUNKS // 20

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills at once there")


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic()
        yield lab


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stop_and_time(program: Program, code: int) -> float:
    began = time.monotonic()
    program.stop(code=code)
    return time.monotonic() - began


@posix_only
def test_a_stopped_upload_and_a_stopped_download_go_on_where_they_were(lab: Lab) -> None:
    random_file(lab.source / "large.bin", LARGE)
    first = lab.upload()
    lab.wait_for_records(LARGE_CHUNKS // 6)
    seconds = stop_and_time(first, code=3)
    assert "the same command goes on" in first.stderr.lower()
    before = lab.record_count()
    assert before < LARGE_CHUNKS
    lab.upload().wait()
    again = lab.record_count() - LARGE_CHUNKS
    printed("stopped upload", seconds=round(seconds, 2), at=before, chunks_sent_again=again)
    assert again <= FEW
    assert seconds < 6

    receiver = lab.download()
    wait_for_spool(lab.target, LARGE // 10)
    seconds = stop_and_time(receiver, code=0)
    assert tree(lab.target) == {}, "not complete, so not under its name"
    spooled = spool_size(lab.target)
    assert 0 < spooled < LARGE
    second = lab.download_to_end()
    assert second.paths("rebuilt") == ["large.bin"]
    assert_same_tree(lab.source, lab.target)
    assert os.listdir(lab.target) == ["large.bin"]
    again = spooled + second.bytes_written - LARGE
    printed("stopped download", seconds=round(seconds, 2), at=spooled, bytes_received_again=again)
    assert not second.bytes_written or again < LARGE // 20
    assert seconds < 6


@posix_only
def test_a_stopped_watch_goes_on_with_the_same_version(lab: Lab) -> None:
    random_file(lab.source / "large.bin", LARGE)
    write(lab.source / "small.txt", "small")
    first = lab.watch()
    lab.wait_for_records(LARGE_CHUNKS // 6)
    seconds = stop_and_time(first, code=0)
    second = lab.watch()
    sent = second.until("sent", path="large.bin")
    again = lab.record_count() - LARGE_CHUNKS - 1
    printed("stopped watch", seconds=round(seconds, 2), chunks_sent_again=again)
    assert again <= FEW
    assert seconds < 6
    second.stop()

    receiver = lab.download("--until-end")
    wait_for_spool(lab.target, LARGE // 10)
    receiver.stop(code=3)  # it was asked for all there is, and that is not all
    receiver = lab.download_to_end()
    assert receiver.events("rebuilt", path="large.bin")[0]["version"] == sent["version"]
    assert_same_tree(lab.source, lab.target)


def spool_size(target: Path) -> int:
    try:
        return sum(each.stat().st_size for each in (target / ".openmsi" / "spool").iterdir())
    except FileNotFoundError:
        return 0


def wait_for_spool(target: Path, size: int) -> None:
    deadline = time.monotonic() + 30
    while spool_size(target) < size:
        assert time.monotonic() < deadline
        time.sleep(0.005)


@posix_only
def test_what_changed_while_nobody_watched_is_sent_at_the_next_start(lab: Lab) -> None:
    for name in ("same", "changed", "same size", "deleted", "touched", "sub/same"):
        write(lab.source / name, f"first {name}")
    sender = lab.watch()
    sender.until("sent", 6)
    sender.stop()
    write(lab.source / "changed", "second, and longer")
    write(lab.source / "same size", "other same size")
    write(lab.source / "sub/added", "added")
    write(lab.source / "new/directory/added", "added")
    (lab.source / "deleted").unlink()
    os.utime(lab.source / "touched", ns=(1, 1))
    before = lab.record_count()

    again = lab.watch()
    again.until("sent", 4)
    time.sleep(1)  # whatever is too much would come now
    again.stop()

    expected = ["changed", "new/directory/added", "same size", "sub/added"]
    assert again.paths("sent") == expected
    assert lab.record_count() == before + len(expected)
    lab.download_to_end()
    for name in expected:
        assert (lab.target / name).read_bytes() == (lab.source / name).read_bytes()
    assert (lab.target / "deleted").read_text() == "first deleted"


@posix_only
def test_a_deleted_file_that_comes_back_is_sent_if_it_differs(lab: Lab) -> None:
    write(lab.source / "a", "first")
    sender = lab.watch()
    sender.until("sent", 1)
    (lab.source / "a").unlink()
    time.sleep(0.3)
    write(lab.source / "a", "second")
    sender.until("sent", 2)
    sender.stop()
    lab.download_to_end()
    assert (lab.target / "a").read_text() == "second"


@posix_only
def test_new_only_leaves_alone_what_was_there_at_the_very_first_start(lab: Lab) -> None:
    write(lab.source / "old", "old")
    write(lab.source / "old and changed later", "old")
    write(lab.source / "sub/old", "old")
    first = lab.watch("--new-only")
    write(lab.source / "new", "new")
    write(lab.source / "sub/new", "new")
    first.until("sent", 2)
    first.stop()
    assert first.paths("sent") == ["new", "sub/new"]
    write(lab.source / "added while down", "added")
    write(lab.source / "old and changed later", "changed")

    second = lab.watch("--new-only")
    second.until("sent", 2)
    write(lab.source / "old", "changed while it runs")
    second.until("sent", 3)
    time.sleep(0.5)
    second.stop()
    assert second.paths("sent") == ["added while down", "old", "old and changed later"]


@posix_only
def test_without_new_only_the_old_files_are_sent_after_all(lab: Lab) -> None:
    write(lab.source / "old", "old")
    first = lab.watch("--new-only")
    write(lab.source / "new", "new")
    first.until("sent", path="new")
    first.stop()
    second = lab.watch()
    second.until("sent", path="old")
    second.stop()
    assert second.paths("sent") == ["old"]


@posix_only
def test_a_file_that_appears_after_the_start_was_told_is_new(lab: Lab) -> None:
    for number in range(2000):
        write(lab.source / f"old/{number}", "old")
    sender = lab.watch("--new-only")
    write(lab.source / "new", "new")
    sender.until("sent", path="new", seconds=10)
    sender.stop()


@posix_only
def test_a_second_watch_of_the_same_directory_and_topic_is_refused(lab: Lab) -> None:
    first = lab.watch()
    second = lab.start("watch", lab.source).wait(15, code=8)
    assert f"process {first.process.pid} on " in second.stderr
    assert str(lab.source) in second.stderr and lab.topic in second.stderr
    assert "Traceback" not in second.stderr
    lab.upload(lab.source).wait(15, code=8)
    first.stop()
    third = lab.watch()
    third.stop()


@posix_only
def test_a_second_download_into_the_same_directory_is_refused(lab: Lab) -> None:
    first = lab.download()
    first.until("started")
    second = lab.download().wait(15, code=8)
    assert f"process {first.process.pid} on " in second.stderr
    first.stop()


def test_a_start_without_a_broker_does_not_make_a_new_destination_an_old_one(lab: Lab) -> None:
    write(lab.source / "a", "a")
    lab.upload().wait()
    lab.download_to_end()
    shutil.rmtree(lab.target)
    nobody = ("--bootstrap-servers", "127.0.0.1:1")
    lab.download("--until-end", *nobody).wait(code=4)
    assert not lab.target.exists()
    assert lab.download_to_end().paths("rebuilt") == ["a"]


@posix_only
def test_a_killed_watch_leaves_no_lock(lab: Lab) -> None:
    first = lab.watch()
    first.process.kill()
    first.wait(code=None)
    lab.watch().stop()


@posix_only
def test_a_touched_file_is_not_sent_again(lab: Lab) -> None:
    large = random_file(lab.source / "large.bin", 3 * MIB)
    write(lab.source / "small.txt", "small")
    sender = lab.watch("--settle", "0.2")
    sender.until("sent", 2)
    before = lab.record_count()
    now = time.time_ns()
    for path in (large, lab.source / "small.txt"):
        os.utime(path, ns=(now, now))
        with open(path, "r+b"):
            pass  # a close event, and nothing written
    write(lab.source / "last.txt", "the sender is at work")
    sender.until("sent", path="last.txt")
    time.sleep(1)
    sender.stop()
    assert sender.paths("sent") == ["large.bin", "last.txt", "small.txt"]
    assert lab.record_count() == before + 1


@posix_only
def test_a_file_that_changes_while_it_is_read_ends_with_its_last_content(lab: Lab) -> None:
    large = random_file(lab.source / "large.bin", LARGE)
    sender = lab.watch("--settle", "0.3")
    receiver = lab.download()
    lab.wait_for_records(20)
    with open(large, "r+b") as file:
        file.write(b"rewritten beginning")
        file.seek(0, os.SEEK_END)
        file.write(b"and a longer end")
    sender.until("changed", path="large.bin")
    sent = sender.until("sent", path="large.bin")
    rebuilt = receiver.until("rebuilt", path="large.bin")
    assert rebuilt["version"] == sent["version"]
    sender.stop()
    receiver.stop()
    assert receiver.paths("aborted") == ["large.bin"]
    assert len(receiver.events("rebuilt")) == 1
    assert_same_tree(lab.source, lab.target)


@posix_only
@pytest.mark.parametrize("seconds", [1.5])
def test_a_file_that_changes_all_the_time_arrives_when_it_rests(lab: Lab, seconds: float) -> None:
    log = lab.source / "instrument.log"
    sender = lab.watch("--settle", "0.3")
    receiver = lab.download()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(log, "a") as file:  # opened and closed for each line, as loggers do
            file.write("a line\n" * 100)
        time.sleep(0.02)
    digest = digest_of(log)
    receiver.until("rebuilt", size=log.stat().st_size)
    sender.stop()
    receiver.stop()
    assert digest_of(lab.target / "instrument.log") == digest
    # Closed 75 times, but sent only a few.
    printed("a log that is closed after each line", versions=len(sender.events("sent")))
    assert len(sender.events("sent")) < 10


# -- what cannot be sent -----------------------------------------------------------------------


def test_links_and_devices_are_named_and_not_followed(lab: Lab, tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("no fifos on this system")
    outside = tmp_path / "outside"
    write(outside / "secret", "secret")
    (lab.source / "link to file").symlink_to(outside / "secret")
    (lab.source / "link to directory").symlink_to(outside)
    (lab.source / "dangling").symlink_to(outside / "nothing")
    os.mkfifo(lab.source / "fifo")
    write(lab.source / "real", "real")
    sender = lab.upload().wait()
    assert sender.paths("sent") == ["real"]
    told = {each["path"]: each["reason"] for each in sender.events("skipped")}
    assert set(told) == {"link to file", "link to directory", "dangling", "fifo"}
    assert "regular file" in told.pop("fifo")
    assert all("symbolic link" in reason for reason in told.values())
    assert sender.events("summary")[0]["skipped"] == 4


def test_an_unreadable_file_is_named_and_the_others_are_sent(lab: Lab) -> None:
    write(lab.source / "locked", "locked")
    write(lab.source / "open", "open")
    (lab.source / "locked").chmod(0)
    if os.access(lab.source / "locked", os.R_OK):
        pytest.skip("whoever runs this may read every file")
    try:
        sender = lab.upload().wait(code=3)
    finally:
        (lab.source / "locked").chmod(0o600)
    assert sender.paths("sent") == ["open"]
    (failed,) = sender.events("failed")
    assert failed["path"] == "locked" and "Permission denied" in failed["reason"]


@posix_only
def test_files_whose_names_no_receiver_may_write_are_named(lab: Lab) -> None:
    for name in ("con.txt", "C:drive", "sub/aux", "good"):
        write(lab.source / name, name)
    sender = lab.upload().wait(code=3)
    assert sender.paths("sent") == ["good"]
    assert sender.paths("failed") == ["C:drive", "con.txt", "sub/aux"]
    assert all(each["path"] in each["reason"] for each in sender.events("failed"))
    assert "3 files were not sent" in sender.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="names are Unicode there")
@pytest.mark.parametrize("name", [b"not utf-8 \xff", b"directory \xff/inner"])
def test_a_name_that_is_not_valid_utf_8_is_reported_and_the_others_are_sent(
    lab: Lab, name: bytes
) -> None:
    path = os.path.join(os.fsencode(lab.source), name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(b"x")
    write(lab.source / "good", "good")
    sender = lab.upload().wait(code=3)
    assert sender.paths("sent") == ["good"]
    assert "UTF-8" in sender.events("failed")[0]["reason"]


@posix_only
def test_files_that_vanish_are_no_disaster(lab: Lab) -> None:
    sender = lab.watch("--settle", "0.2")
    for number in range(300):
        path = lab.source / f"short-lived {number}"
        path.write_bytes(b"x" * 100)
        if number % 2:
            path.unlink()
    write(lab.source / "directory/inner", "x")
    shutil.rmtree(lab.source / "directory")
    write(lab.source / "last", "last")
    sender.until("sent", path="last")
    for number in range(0, 300, 2):
        sender.until("sent", path=f"short-lived {number}")
    sender.stop()
    failed = sender.events("failed")
    assert all("deleted" in each["reason"] for each in failed)
    lab.download_to_end()
    assert {f"short-lived {number}" for number in range(0, 300, 2)} <= set(tree(lab.target))


@posix_only
def test_the_watched_directory_may_go_and_come_back(lab: Lab) -> None:
    write(lab.source / "first", "first")
    sender = lab.watch("--settle", "0.2")
    sender.until("sent", path="first")
    shutil.rmtree(lab.source)
    time.sleep(0.5)
    lab.source.mkdir()
    write(lab.source / "second", "second")
    sender.until("sent", path="second", seconds=45)
    sender.stop()
