"""The programs of OpenMSIStream on the same broker, as separate processes."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contest import Command, measured, remove
from benchmarks.lab import Lab
from benchmarks.results import Run

# What is as fast as any setting tried, on a topic that takes records of this size. Chunks are
# powers of two; with Kafka's default limit the largest that fits is the default, 524,288 bytes.
BEST_CHUNK = 8 * 1024 * 1024
BEST_LIMIT = 20_000_000

_CONFIG = """\
[broker]
bootstrap.servers = {bootstrap}

[producer]
{producer}
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer

[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
{consumer}
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""
# The settings of the configuration files that come with it.
_DEFAULTS = {
    "producer": "batch.size = 2000000\nlinger.ms = 100\ncompression.type = lz4",
    "consumer": "fetch.min.bytes = 100000",
}
_BEST = {
    "producer": f"batch.size = {BEST_LIMIT}\nlinger.ms = 5\nmessage.max.bytes = {BEST_LIMIT}",
    "consumer": f"fetch.min.bytes = 1\nfetch.message.max.bytes = {BEST_LIMIT}",
}
_AT_ONCE = ("--watchdog_lag_time", "0")  # by default it waits 3 s for a file to rest
_STREAM_SECONDS = 600
_READY_SECONDS = 5


class Peer:
    """Args:
    programs: the directory with UploadDataFile and the others.
    """

    def __init__(self, lab: Lab, programs: Path) -> None:
        self._programs = programs
        self._lab = lab
        for name, settings in (("defaults", _DEFAULTS), ("best", _BEST)):
            text = _CONFIG.format(bootstrap=lab.bootstrap, **settings)
            lab.path(f"peer-{name}.config").write_text(text)

    @classmethod
    def of(cls, lab: Lab) -> Peer | None:
        return cls(lab, lab.options.peer) if lab.options.peer else None

    def topic(self, best: bool, partitions: int = 1) -> str:
        """One that takes what it sends."""
        limit = {"max_message_bytes": BEST_LIMIT} if best else {}
        return self._lab.topic(partitions, **limit)

    def _command(self, name: str, *arguments: str | Path, topic: str, best: bool) -> Command:
        config = self._lab.path(f"peer-{'best' if best else 'defaults'}.config")
        return [self._programs / name, *arguments, "--config", config, "--topic_name", topic]

    def upload(self, file: Path, topic: str, best: bool) -> Command:
        chunk = ["--chunk_size", str(BEST_CHUNK)] if best else []
        return self._command("UploadDataFile", file, *chunk, topic=topic, best=best)

    def download(self, topic: str, target: Path, size: int, best: bool) -> Run:
        """Until the file has its full size. It writes under the final name all the while."""

        def whole() -> bool:
            # As many blocks as bytes: chunks may come out of order and leave holes.
            found = [each.stat() for each in target.glob("large-*")]
            return any(at.st_size >= size and at.st_blocks * 512 >= size for at in found)

        command = self._command("DataFileDownloadDirectory", target, topic=topic, best=best)
        return measured(command, whole)

    def send_tree(self, tree: Path, topic: str) -> Run:
        """The seconds between its first file's record and its last one's. The topic has one
        partition. Its notes lie in the tree, so it must be one of its own."""
        count, seen = _files(tree), _Span()
        command = self._command("DataFileUploadDirectory", tree, *_AT_ONCE, topic=topic, best=True)
        run = measured(
            [*command, "--upload_existing"], lambda: seen.over(self._lab.records(topic), count)
        )
        return Run(seen.seconds_for(count), run.cpu, run.rss)

    def receive_tree(self, topic: str, target: Path, count: int) -> Run:
        """Until it has made so many files."""
        command = self._command("DataFileDownloadDirectory", target, topic=topic, best=True)
        return measured(command, lambda: _files(target) >= count)

    def stream(self, topic: str, tree: Path, source: Path, target: Path) -> float:
        """Seconds from the first file in the watched directory to the last one rebuilt."""
        count = _files(tree)
        with ExitStack() as running:
            for name, *where in (
                ("DataFileDownloadDirectory", target),
                ("DataFileUploadDirectory", source, *_AT_ONCE),
            ):
                command = self._command(name, *where, topic=topic, best=True)
                running.enter_context(_Program(command))
            time.sleep(_READY_SECONDS)  # they tell nobody when they are ready
            began = time.monotonic()
            shutil.copytree(tree, source, dirs_exist_ok=True)
            while (rebuilt := _files(target)) < count:
                time.sleep(0.02)
                if time.monotonic() - began > _STREAM_SECONDS:
                    raise RuntimeError(f"the peer rebuilt {rebuilt} of {count} files")
            return time.monotonic() - began


class _Span:
    """When the first of many was seen, and how many there were then."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None
        self._last = 0.0

    def over(self, now: int, count: int) -> bool:
        if now and self._first is None:
            self._first = (time.monotonic(), now)
        self._last = time.monotonic()
        return now >= count

    def seconds_for(self, count: int) -> float:
        """As if all had come at the rate of those that came after the first."""
        assert self._first is not None
        at, seen = self._first
        return (self._last - at) * count / max(1, count - seen)


class _Program:
    """Ended with the context, as its user would, and otherwise the hard way."""

    def __init__(self, command: Command) -> None:
        self._command = list(map(str, command))

    def __enter__(self) -> None:
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere
        )

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(b"q\n", timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


def _files(tree: Path) -> int:
    return sum(1 for each in tree.rglob("*.dat"))


def copied(tree: Path, target: Path) -> Path:
    """A tree of its own, since the peer writes its notes into it."""
    remove(target)
    shutil.copytree(tree, target)
    return target
