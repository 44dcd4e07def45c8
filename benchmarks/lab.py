"""A local broker, topics, files and command lines for the benchmarks, all gone afterwards."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from benchmarks.contest import MB, Command, measured, remove
from openmsi.broker import LocalBroker
from openmsi.kafka import KafkaSettings, open_admin

CHUNK = 1_000_000  # what openmsi takes for a topic with Kafka's default limit
_DELETED_SECONDS = 60
_WARM_UP_MB = 100
# Deleted topics are gone at once, not after a minute, in the middle of another run.
_DELETE_SOON = {"log.segment.delete.delay.ms": "200", "log.initial.task.delay.ms": "200"}


@dataclass(frozen=True)
class Options:
    """How much work there is; the defaults are those of the documented results."""

    repeats: int = 6  # an even number: contestants change places each time
    large_mb: int = 2000
    files: int = 10_000
    peer: Path | None = None  # the directory with the peer's programs
    peer_mb: int = 1000  # slow contestants get less: their rates count
    peer_files: int = 200
    settings_mb: int = 500  # for parts with many contestants
    memory_mb: tuple[int, ...] = (100, 1000, 10_000)
    memory_files: tuple[int, ...] = (1000, 30_000, 300_000)
    cost_files: tuple[int, ...] = (1000, 10_000, 100_000)
    cost_chunks: tuple[int, ...] = (100, 1000, 20_000)
    idle_files: int = 100_000
    idle_seconds: int = 450  # on a quiet machine the tree is looked through once within that
    latency_seconds: int = 20
    group_files: int = 20

    @classmethod
    def quick(cls) -> Options:
        return cls(
            repeats=2,
            large_mb=100,
            files=500,
            peer_mb=50,
            peer_files=10,
            settings_mb=50,
            memory_mb=(10, 50),
            memory_files=(100, 1000),
            cost_files=(100, 1000),
            cost_chunks=(10, 200),
            idle_files=1000,
            idle_seconds=6,
            latency_seconds=2,
            group_files=4,
        )


class Lab:
    """Files below `root`; programs that talk to the broker at `bootstrap`."""

    def __init__(self, root: Path, bootstrap: str, options: Options) -> None:
        self.root = root
        self.bootstrap = bootstrap
        self.options = options
        self._topics = 0
        self._admin = open_admin(KafkaSettings(bootstrap))

    def topic(self, partitions: int = 6, **settings: object) -> str:
        """A new topic; in its settings, `_` stands for a dot."""
        self._topics += 1
        name = f"benchmark-{self._topics}"
        given = {key.replace("_", "."): str(value) for key, value in settings.items()}
        self._admin.create_topic(name, partitions, given)
        return name

    def drop(self, topic: str) -> None:
        """Give its disk space back, and wait until that is done: no other run is to pay for it."""
        self._admin.delete_topic(topic)
        deadline = time.monotonic() + _DELETED_SECONDS
        while any(self._logs.glob(f"{topic}-*")):
            if time.monotonic() > deadline:
                raise RuntimeError(f"topic {topic} is still on the disk")
            time.sleep(0.05)

    def bytes_on_disk(self, topic: str) -> int:
        """Of its records; Kafka's indexes are not in it."""
        return sum(os.path.getsize(log) for log in self._logs.glob(f"{topic}-[0-9]*/*.log"))

    def records(self, topic: str) -> int:
        """How many the only partition of the topic has."""
        low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, 0), 10)
        return high - low

    @cached_property
    def _consumer(self) -> Consumer:
        config = {"bootstrap.servers": self.bootstrap, "group.id": "benchmark"}
        return Consumer(config)

    def close(self) -> None:
        """Before the broker stops: a client that is left alone complains for ever."""
        if "_consumer" in vars(self):
            self._consumer.close()

    @property
    def _logs(self) -> Path:
        [node] = self.root.glob("broker/node-*")
        return node / "data"

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

    def openmsi(self, verb: str, *arguments: str | Path, state: str) -> Command:
        """The command line; `state` names the state directory, a new one for a new name."""
        where: Command = ["-b", self.bootstrap, "--state-dir", self.path(f"state-{state}")]
        return [sys.executable, "-m", "openmsi", verb, *arguments, *where]

    def client(self, **settings: object) -> Command:
        """The option that gives the Kafka client settings; `_` stands for a dot."""
        lines = [f"{key.replace('_', '.')}={value}\n" for key, value in sorted(settings.items())]
        file = self.path(f"{'-'.join(f'{key}-{settings[key]}' for key in settings)}.properties")
        file.write_text("".join(lines))
        return ["--config", file]

    def bare(self, verb: str, file: Path, topic: str, number: int) -> Command:
        where = [self.bootstrap, topic, str(number)]
        return [sys.executable, "-m", "benchmarks.bare", verb, file, *where]

    def warm_up(self) -> None:
        """Let the broker's Java compile what all contestants will use."""
        topic, file = self.topic(1), self.large_file(_WARM_UP_MB)
        for _ in range(2):
            measured(self.bare("send", file, topic, CHUNK))
        measured(self.bare("receive", self.path("warm"), topic, _WARM_UP_MB * MB))
        self.drop(topic)
        self.clean("warm")

    def clean(self, *names: str) -> None:
        for name in names:
            remove(self.path(name))


class Topics:
    """Gives contestants a new topic each, and takes it away after they have run."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._used: list[str] = []

    def new(self, partitions: int = 1, **settings: object) -> str:
        return self.keep(self._lab.topic(partitions, **settings))

    def keep(self, topic: str) -> str:
        """Take care of a topic that somebody else made."""
        self._used.append(topic)
        return topic

    def drop(self, _: int = 0) -> None:
        while self._used:
            self._lab.drop(self._used.pop())


@contextmanager
def laboratory(options: Options, work: Path) -> Iterator[Lab]:
    """A broker of its own in a new directory below `work`. What it made of large files is gone
    afterwards; trees of small ones stay there, since whoever deletes many files slows down who
    makes the next ones."""
    root = Path(tempfile.mkdtemp(dir=work))
    broker = LocalBroker(root / "broker", port=0, extra_config=_DELETE_SOON)
    try:
        lab = Lab(root, broker.start(), options)
        try:
            lab.warm_up()
            yield lab
        finally:
            lab.close()
    finally:
        broker.stop()
        broker.wipe()
        for each in root.iterdir():
            if each.is_file():
                each.unlink()
