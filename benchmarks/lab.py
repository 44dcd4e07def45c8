"""A local broker, topics, files and programs for the benchmarks, all gone afterwards."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.contest import remove
from openmsi.broker import LocalBroker
from openmsi.kafka import KafkaSettings, open_admin

MB = 10**6


@dataclass
class Options:
    """How much work there is; the defaults are those of the documented results."""

    repeats: int = 5
    large_mb: int = 2000
    files: int = 10_000
    peer_files: int = 200
    peer: Path | None = None  # the directory with the peer's programs
    memory_mb: tuple[int, ...] = (100, 1000, 10_000)
    memory_files: tuple[int, ...] = (1000, 10_000, 100_000, 300_000)
    idle_files: int = 100_000
    idle_seconds: int = 120
    latency_seconds: int = 30

    @classmethod
    def quick(cls) -> Options:
        return cls(2, 100, 500, 5, None, (10, 50), (100, 1000), 1000, 5, 3)


class Lab:
    """Files below `root`; programs that talk to the broker at `bootstrap`."""

    def __init__(self, root: Path, bootstrap: str, options: Options) -> None:
        self.root = root
        self.bootstrap = bootstrap
        self.options = options
        self._topics = 0
        self._admin = open_admin(KafkaSettings(bootstrap))

    def topic(self, partitions: int = 6) -> str:
        """A new topic."""
        self._topics += 1
        name = f"benchmark-{self._topics}"
        self._admin.create_topic(name, partitions, {})
        return name

    def drop(self, topic: str) -> None:
        """Give its disk space back."""
        self._admin.delete_topic(topic)

    def path(self, name: str) -> Path:
        return self.root / name

    def large_file(self, megabytes: int) -> Path:
        """Bytes that do not compress, in the page cache as after an acquisition."""
        path = self.root / f"large-{megabytes}"
        if not path.exists():
            block = random.Random(1).randbytes(MB)
            with open(path, "wb") as file:
                for number in range(megabytes):
                    file.write(b"%016d" % number + block[16:])
        return path

    def small_files(self, count: int, size: int = 10_000) -> Path:
        """A tree of such files, 500 in a directory."""
        root = self.root / f"small-{count}-{size}"
        if not root.exists():
            block = random.Random(2).randbytes(size)
            for number in range(count):
                directory = root / f"{number // 500:04d}"
                if number % 500 == 0:
                    directory.mkdir(parents=True)
                content = (b"%012d" % number + block[12:])[:size]
                (directory / f"{number:07d}.dat").write_bytes(content)
        return root

    def openmsi(self, verb: str, *arguments: str | Path, state: str) -> list[str | Path]:
        """The command line; `state` names the state directory, a new one for a new name."""
        common: list[str | Path] = [
            "--bootstrap-servers",
            self.bootstrap,
            "--state-dir",
            self.path(f"state-{state}"),
        ]
        return [sys.executable, "-m", "openmsi", verb, *arguments, *common]

    def bare(self, verb: str, file: Path, topic: str, number: int) -> list[str | Path]:
        where = [self.bootstrap, topic, str(number)]
        return [sys.executable, "-m", "benchmarks.bare", verb, file, *where]

    def clean(self, *names: str) -> None:
        for name in names:
            remove(self.path(name))


class Watching:
    """A program that runs until it is stopped, and the events that it tells with --json."""

    def __init__(self, command: list[str | Path]) -> None:
        line = [*map(str, command), "--json"]
        self.process = subprocess.Popen(line, stdout=subprocess.PIPE)
        self.events: list[tuple[float, dict[str, Any]]] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.events.append((time.monotonic(), json.loads(line)))
                self._news.notify_all()

    def wait_for(self, kind: str, count: int = 1, seconds: float = 600) -> float:
        """Until so many events of a kind came; the time of the last of them."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                times = [at for at, each in self.events if each["event"] == kind]
                if len(times) >= count:
                    return times[count - 1]
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise RuntimeError(f"{len(times)} of {count} {kind} events")
                self._news.wait(0.5)

    def cpu(self) -> float:
        """Seconds of the processor so far. Linux only."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_rss(self) -> int:
        """Bytes. Linux only."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
        return 0

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)
        self._reader.join()


@contextmanager
def laboratory(options: Options) -> Iterator[Lab]:
    with tempfile.TemporaryDirectory(prefix="openmsi-benchmark-") as directory:
        root = Path(directory)
        broker = LocalBroker(root / "broker", port=0)
        bootstrap = broker.start()
        try:
            yield Lab(root, bootstrap, options)
        finally:
            broker.stop()
            broker.wipe()


@dataclass
class Table:
    """What one part found. Each row is a contestant or a size, each column a number with its
    unit in the name."""

    title: str
    columns: list[str]
    rows: list[list[str | float]] = field(default_factory=list)
    note: str = ""
