"""`watch` and `download` run while files appear: all arrive, none twice, none partial, and soon."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from blake3 import blake3
from helpers import MIB, Lab, percentile, printed, random_file, tree

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM kills at once there")

HEADER = 64  # a content begins with the hex SHA-256 of all that follows
SETTLE = "1"


@pytest.fixture
def lab(kafka_bootstrap: str, topic_name: str, tmp_path: Path) -> Iterator[Lab]:
    with Lab(kafka_bootstrap, topic_name, tmp_path) as lab:
        lab.create_topic(partitions=6)
        yield lab


def content(random_: random.Random) -> bytes:
    """Bytes that tell whether they are whole."""
    body = random_.randbytes(random_.randrange(1, 200_000))
    return hashlib.sha256(body).hexdigest().encode() + body


def is_whole(data: bytes) -> bool:
    return data[:HEADER] == hashlib.sha256(data[HEADER:]).hexdigest().encode()


class Poller:
    """Reads the destination again and again, and notes every file that is not whole."""

    def __init__(self, target: Path) -> None:
        self.partial: list[str] = []
        self.rounds = 0
        self._target = target
        self._stop = threading.Event()
        self._seen: dict[str, int] = {}
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Poller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.look()

    def look(self) -> None:
        self.rounds += 1
        for name in tree(self._target):
            path = self._target / name
            try:
                inode = path.stat().st_ino
                if self._seen.get(name) == inode:
                    continue  # names are given to whole files, so one look at each is enough
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            self._seen[name] = inode
            if not is_whole(data):
                self.partial.append(name)


class Instrument:
    """Creates files in five ways; `last` is the content that each must have in the end."""

    def __init__(self, root: Path, outside: Path) -> None:
        self.root = root
        self.outside = outside
        self.last: dict[str, bytes] = {}
        self.mtimes: dict[str, int] = {}
        self._random = random.Random(7)

    def _new(self, name: str) -> bytes:
        self.last[name] = content(self._random)
        return self.last[name]

    def written_slowly(self, number: int) -> None:
        name = f"slow {number}.bin"
        data = self._new(name)
        steps = 4
        with open(self.root / name, "wb") as file:
            for step in range(steps):
                file.write(data[len(data) * step // steps : len(data) * (step + 1) // steps])
                file.flush()
                time.sleep(0.02)

    def renamed_in(self, number: int) -> None:
        name = f"renamed {number}.bin"
        inside = number % 2
        temporary = self.root / f"{name}.tmp" if inside else self.outside / name
        temporary.write_bytes(self._new(name))
        os.rename(temporary, self.root / name)

    def replaced(self, number: int) -> None:
        name = f"replaced {number}.bin"
        (self.root / name).write_bytes(self._new(name))
        time.sleep(0.05)
        (self.outside / name).write_bytes(self._new(name))
        os.replace(self.outside / name, self.root / name)

    def in_new_directory(self, number: int) -> None:
        name = f"run {number}/a/b/c {number}.bin"
        (self.root / name).parent.mkdir(parents=True)
        (self.root / name).write_bytes(self._new(name))

    def copied(self, number: int) -> None:
        name = f"copied {number}.bin"
        (self.outside / name).write_bytes(self._new(name))
        self.mtimes[name] = 1_000_000_000_000_000_000 + number
        os.utime(self.outside / name, ns=(0, self.mtimes[name]))
        shutil.copy2(self.outside / name, self.root / name)

    def ways(self) -> list[Callable[[int], None]]:
        return [
            self.written_slowly,
            self.renamed_in,
            self.replaced,
            self.in_new_directory,
            self.copied,
        ]


def create(way: Callable[[int], None], files: int) -> None:
    for number in range(files):
        way(number)


def five_ways(lab: Lab, tmp_path: Path, files: int) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    instrument = Instrument(lab.source, outside)
    receiver = lab.download()
    sender = lab.watch("--settle", SETTLE)
    began = time.monotonic()
    with Poller(lab.target) as poller:
        threads = [
            threading.Thread(target=create, args=(way, files // 5)) for way in instrument.ways()
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        for name, data in instrument.last.items():
            receiver.until("rebuilt", path=name, digest=digest_of(data))
        seconds = time.monotonic() - began
        time.sleep(2)  # whatever is too much would come now
    poller.look()
    sender.stop()
    receiver.stop()

    assert tree(lab.target).keys() == instrument.last.keys()
    for name, data in instrument.last.items():
        assert (lab.target / name).read_bytes() == data, name
    assert poller.partial == []
    twice = Counter((each["path"], each["digest"]) for each in receiver.events("rebuilt"))
    assert [each for each, count in twice.items() if count > 1] == []
    once = {name for name in instrument.last if not name.startswith("replaced")}
    rebuilt = Counter(receiver.paths("rebuilt"))
    assert {name: rebuilt[name] for name in once} == dict.fromkeys(once, 1)
    assert receiver.events("dead-letter") == [] == sender.events("failed")
    mtimes = {name: (lab.target / name).stat().st_mtime_ns for name in instrument.mtimes}
    assert mtimes == instrument.mtimes
    printed("five ways", files=files, seconds=round(seconds, 1), looks=poller.rounds)


def digest_of(data: bytes) -> str:
    return f"blake3:{blake3(data).hexdigest()}"


def test_files_created_in_five_ways_all_arrive_once_and_whole(lab: Lab, tmp_path: Path) -> None:
    five_ways(lab, tmp_path, 100)


@pytest.mark.slow
def test_five_hundred_files_created_in_five_ways_all_arrive_once_and_whole(
    lab: Lab, tmp_path: Path
) -> None:
    five_ways(lab, tmp_path, 500)


def test_a_file_is_there_soon_after_it_was_closed(lab: Lab) -> None:
    receiver = lab.download()
    sender = lab.watch()
    (lab.source / "first.bin").write_bytes(b"both are at work")
    receiver.until("rebuilt", path="first.bin")
    closed = {}
    generator = random.Random(3)
    for number in range(30):
        name = f"{number}.bin"
        (lab.source / name).write_bytes(generator.randbytes(100_000))
        closed[name] = time.monotonic()
        time.sleep(0.2)
    receiver.until("rebuilt", 31)
    sender.stop()
    receiver.stop()
    arrived = {each["path"]: at for at, each in receiver.timed("rebuilt")}
    late = [arrived[name] - at for name, at in closed.items()]
    p50, p95 = percentile(late, 0.5), percentile(late, 0.95)
    printed("close to final name, 100 kB", p50=f"{1000 * p50:.0f} ms", p95=f"{1000 * p95:.0f} ms")
    assert p50 < 1


def test_a_large_file_does_not_hold_up_small_ones(lab: Lab) -> None:
    random_file(lab.source / "large.bin", 200 * MIB)
    sender = lab.watch("--settle", "0.2")
    lab.wait_for_records(20)
    for number in range(5):
        (lab.source / f"small {number}").write_text("small")
    sender.until("sent", 6)
    assert sender.events("sent")[-1]["path"] == "large.bin"
    sender.stop()
