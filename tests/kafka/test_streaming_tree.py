"""Whole trees through a real Kafka, sender and receiver in processes of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import MB, MIB, Foreign, Lab, Program, assert_same_tree, printed, random_file, tree

RSS_LIMIT = 200 * MB
STDLIB = Path(sysconfig.get_paths()["stdlib"])
SOME_PACKAGES = ("asyncio", "email", "json", "xml", "concurrent", "html")

ODD_NAMES = [
    "with space.txt",
    " leading space",
    "trailing space ",
    "two  spaces",
    "tab\there.txt",
    "new\nline.txt",
    "carriage\rreturn",
    "bell\x07 and escape\x1b[31m",
    "-rf",
    "--help",
    "-",
    "quote'double\"back`tick",
    "dollar$HOME;semi&amp|pipe*star?mark",
    "%s%d%n {braces} [brackets] (parens) <angles>",
    "umlaut-äöüß-é-ñ.csv",
    "日本語.dat",
    "кириллица",
    "emoji-🔬🧪👩🏽‍🔬.tif",
    "combining-x\u0323\u0302-stays-in-nfc",
    "right-to-left-\u202eabc",
    "a" * 255,
    "ü" * 127 + "b",
    "Case.txt",
    "case.txt",
    "CASE.txt",
    "back\\slash in the middle",
    "12:30:05.csv",
    "trailing.dot.",
    "no_extension",
    "x..y",
    "catalog.csv",
    "lock.file.log",
]


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        yield lab


def add_odd_names(root: Path) -> None:
    odd = root / "odd names"
    odd.mkdir()
    for number, name in enumerate(ODD_NAMES):
        assert unicodedata.is_normalized("NFC", name)
        (odd / name).write_bytes(name.encode() * (1 + number * 100))
    (odd / " dir with space ").mkdir()
    (odd / " dir with space " / "-x").write_bytes(b"below an odd directory")
    (root / "empty").touch()
    deep = root.joinpath(*(f"level {number}" for number in range(60)))
    deep.mkdir(parents=True)
    (deep / "deep down.txt").write_bytes(b"deep")
    # Times before 1970, of another century, and with every digit of a nanosecond.
    for name, mtime_ns in (("old", -1_234_567_890), ("new", 7_258_118_400_123_456_789)):
        (root / f"{name} mtime").write_bytes(name.encode())
        os.utime(root / f"{name} mtime", ns=(0, mtime_ns))


def add_stdlib(root: Path, packages: tuple[str, ...]) -> None:
    for each in packages:
        shutil.copytree(STDLIB / each, root / "stdlib" / each)


def assert_lean(*programs: Program) -> None:
    for each in programs:
        printed(f"peak resident memory of {each.arguments[0]}", MB=round(each.peak_rss / MB, 1))
        assert 0 < each.peak_rss < RSS_LIMIT


def send_and_rebuild(lab: Lab, seconds: float) -> None:
    files = len(tree(lab.source))
    sender = lab.upload().wait(seconds)
    assert sender.events("failed") == []
    assert len(set(sender.paths("sent"))) == len(sender.paths("sent")) == files
    receiver = lab.download_to_end(seconds=seconds)
    assert receiver.paths("rebuilt") == sender.paths("sent")
    assert_same_tree(lab.source, lab.target)
    for each in (sender, receiver):
        printed(each.arguments[0], **each.events("summary")[0])
    assert_lean(sender, receiver)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow these names")
def test_a_tree_with_every_kind_of_name_arrives_equal_to_the_nanosecond(lab: Lab) -> None:
    lab.create_topic()
    add_stdlib(lab.source, SOME_PACKAGES)
    add_odd_names(lab.source)
    send_and_rebuild(lab, 60)


def test_a_large_file_passes_in_little_memory(lab: Lab) -> None:
    lab.create_topic()
    random_file(lab.source / "large.bin", 200 * MIB)
    (lab.source / "small.txt").write_text("beside it")
    send_and_rebuild(lab, 120)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow these names")
def test_the_whole_standard_library_and_two_gibibytes_arrive_equal(lab: Lab) -> None:
    lab.create_topic(partitions=6)
    keep_out = shutil.ignore_patterns("site-packages", ".*", "*.tmp", "*~", "*.part")
    shutil.copytree(STDLIB, lab.source / "stdlib", symlinks=False, ignore=keep_out)
    for directory, names, files in os.walk(lab.source, topdown=False):
        if not names and not files and not os.listdir(directory):
            os.rmdir(directory)  # an empty directory is not a file, so it is not sent
    add_odd_names(lab.source)
    random_file(lab.source / "large.bin", 2 * 1024 * MIB)
    send_and_rebuild(lab, 900)


def test_a_second_upload_sends_nothing(lab: Lab) -> None:
    lab.create_topic()
    add_stdlib(lab.source, ("json",))
    files = len(tree(lab.source))
    lab.upload().wait()
    before = lab.record_count()
    again = lab.upload().wait()
    assert again.events("summary")[0]["sent"] == 0
    assert again.events("summary")[0]["already_sent"] == files
    assert lab.record_count() == before


def test_a_second_download_rebuilds_nothing(lab: Lab) -> None:
    lab.create_topic()
    add_stdlib(lab.source, ("json",))
    lab.upload().wait()
    lab.download_to_end()
    assert lab.download_to_end().events("rebuilt") == []
    assert_same_tree(lab.source, lab.target)


def test_a_destination_that_is_gone_is_filled_from_the_beginning(lab: Lab) -> None:
    lab.create_topic()
    add_stdlib(lab.source, ("json",))
    lab.upload().wait()
    lab.download_to_end()
    shutil.rmtree(lab.target)
    lab.download_to_end()
    assert_same_tree(lab.source, lab.target)


def test_single_files_and_directories_go_under_their_prefix(lab: Lab) -> None:
    lab.create_topic()
    (lab.source / "scan").mkdir()
    (lab.source / "scan" / "a.csv").write_text("1,2")
    (lab.source / "notes.txt").write_text("notes")
    (lab.source / "other.txt").write_text("not asked for")
    sender = lab.upload(lab.source / "scan", lab.source / "notes.txt", "--prefix", "lab 5/ebsd")
    assert sender.wait().paths("sent") == ["lab 5/ebsd/a.csv", "lab 5/ebsd/notes.txt"]
    lab.download_to_end()
    assert sorted(tree(lab.target)) == ["lab 5/ebsd/a.csv", "lab 5/ebsd/notes.txt"]


def test_receivers_of_two_groups_each_get_everything(lab: Lab, tmp_path: Path) -> None:
    lab.create_topic()
    add_stdlib(lab.source, ("json",))
    lab.upload().wait()
    for group in ("one", "two"):
        lab.target = tmp_path / group
        lab.download_to_end("--group", f"{lab.topic}-{group}")
        assert_same_tree(lab.source, lab.target)


# -- what any other consumer gets --------------------------------------------------------------


def kcat(lab: Lab, sent: dict[str, int], into: Path) -> None:
    program = shutil.which("kcat") or shutil.which("kafkacat")
    if program is None:
        pytest.skip("kcat is not installed")
    count = sent["last_offset"] - sent["first_offset"] + 1
    place = ["-p", str(sent["partition"]), "-o", str(sent["first_offset"]), "-c", str(count)]
    command = [program, "-C", "-b", lab.bootstrap, "-t", lab.topic, *place, "-q", "-e", "-f", "%s"]
    with open(into, "wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=60)


def console_consumer(lab: Lab, sent: dict[str, int], into: Path) -> None:
    program = shutil.which("kafka-console-consumer.sh") or shutil.which("kafka-console-consumer")
    if program is None:
        pytest.skip("Kafka's console tools are not installed")
    count = sent["last_offset"] - sent["first_offset"] + 1
    place = ["--partition", str(sent["partition"]), "--offset", str(sent["first_offset"])]
    form = ["--formatter-property", "line.separator=", "--max-messages", str(count)]
    command = [program, "--bootstrap-server", lab.bootstrap, "--topic", lab.topic, *place, *form]
    with open(into, "wb") as file:
        subprocess.run(command, stdout=file, stderr=subprocess.DEVNULL, check=True, timeout=60)


def bare_client(lab: Lab, sent: dict[str, int], into: Path) -> None:
    place = (sent["partition"], sent["first_offset"], sent["last_offset"])
    into.write_bytes(b"".join(lab.values(*place)))


@pytest.mark.parametrize("consume", [kcat, console_consumer, bare_client])
def test_any_consumer_gets_a_files_bytes_from_its_records_values(
    lab: Lab, tmp_path: Path, consume: object
) -> None:
    lab.create_topic(partitions=1)
    source = random_file(lab.source / "pattern.bin", 5 * MIB + 17)
    (sent,) = lab.upload().wait().events("sent")
    assert sent["last_offset"] - sent["first_offset"] > 3
    assert callable(consume)
    consume(lab, sent, tmp_path / "copy.bin")
    subprocess.run(["cmp", source, tmp_path / "copy.bin"], check=True)


def test_other_programs_records_are_not_in_the_way_of_files(lab: Lab) -> None:
    lab.create_topic(partitions=1)
    (lab.source / "a.txt").write_text("a")
    lab.produce([Foreign(value=b"before")])
    lab.upload().wait()
    lab.produce([Foreign(value=b"after")])
    receiver = lab.download_to_end(code=3)
    assert receiver.paths("rebuilt") == ["a.txt"]
    assert [each["reason"] for each in receiver.events("dead-letter")] == ["foreign"] * 2
