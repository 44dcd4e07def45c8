"""What the streaming tests share: the real command line in processes of its own, a topic, files.

Nothing here imports openmsi: the tests see what a user sees.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

MB = 1_000_000
MIB = 2**20
SAMPLE_SECONDS = 0.02
Event = dict[str, Any]


def wait_until(true: Callable[[], object], seconds: float = 30, what: str = "it") -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
        time.sleep(0.01)


class Program:
    """One `openmsi` command that runs; its JSON events come in with the time of their arrival."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str]) -> None:
        self.arguments = arguments
        self.process = subprocess.Popen(
            [sys.executable, "-m", "openmsi", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )
        self.peak_rss = 0
        self.bytes_written = 0
        self._events: list[tuple[float, Event]] = []
        self._errors: list[str] = []
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=target, daemon=True)
            for target in (self._read_events, self._read_errors, self._sample)
        ]
        for each in self._threads:
            each.start()

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._events.append((time.monotonic(), json.loads(line)))
                self._news.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._errors.append(line.decode(errors="replace"))

    def _sample(self) -> None:
        with contextlib.suppress(psutil.Error, OSError):
            watched = psutil.Process(self.process.pid)
            while self.process.returncode is None:
                self.peak_rss = max(self.peak_rss, _peak_rss(watched))
                if hasattr(watched, "io_counters"):
                    counters = watched.io_counters()
                    written = getattr(counters, "write_chars", counters.write_bytes)
                    self.bytes_written = max(self.bytes_written, written)
                time.sleep(SAMPLE_SECONDS)

    @property
    def stderr(self) -> str:
        return "".join(self._errors)

    def timed(self, kind: str = "", **fields: object) -> list[tuple[float, Event]]:
        """The events of this kind with these fields, each with its monotonic time of arrival."""
        with self._news:
            return [(at, each) for at, each in self._events if _matches(each, kind, fields)]

    def events(self, kind: str = "", **fields: object) -> list[Event]:
        return [each for _, each in self.timed(kind, **fields)]

    def paths(self, kind: str, **fields: object) -> list[str]:
        return sorted(each["path"] for each in self.events(kind, **fields))

    def until(self, kind: str, count: int = 1, seconds: float = 30, **fields: object) -> Event:
        """Wait for `count` such events; returns the last of them."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = [each for _, each in self._events if _matches(each, kind, fields)]
                if len(found) >= count:
                    return found[count - 1]
                left = deadline - time.monotonic()
                assert left > 0 and self.process.poll() is None, self._report(
                    f"{len(found)} of {count} {kind!r} {fields} in {seconds} s"
                )
                self._news.wait(min(left, 0.5))

    def wait(self, seconds: float = 60, code: int | None = 0) -> Program:
        """Wait until it ends, with this exit code (None: any)."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(self._report(f"it did not end in {seconds} s")) from None
        for each in self._threads:
            each.join()
        assert code in (self.process.returncode, None), self._report(f"not exit code {code}")
        return self

    def stop(self, seconds: float = 10, code: int | None = 0) -> Program:
        """Ask it to stop, as a service manager does, and wait until it has."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait(seconds, code)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for each in self._threads:
            each.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _report(self, what: str) -> str:
        shown = [json.dumps(each) for _, each in self._events]
        if len(shown) > 40:
            shown[20:-20] = ["..."]
        return "\n".join(
            [
                f"{what}: {' '.join(self.arguments)}",
                f"exit code {self.process.returncode}, {len(self._events)} events, stderr:",
                self.stderr,
                *shown,
            ]
        )


def _matches(event: Event, kind: str, fields: Mapping[str, object]) -> bool:
    if kind and event["event"] != kind:
        return False
    return all(event.get(name) == value for name, value in fields.items())


def _peak_rss(process: psutil.Process) -> int:
    """Bytes. The kernel's own high-water mark where there is one: samples miss peaks."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    memory = process.memory_info()
    return int(getattr(memory, "peak_wset", memory.rss))


class Lab:
    """A topic, a directory to send, one to receive into, and programs between them."""

    def __init__(self, bootstrap: str, topic: str, directory: Path) -> None:
        self.bootstrap = bootstrap
        self.topic = topic
        self.source = directory / "source"
        self.target = directory / "target"
        self.source.mkdir()
        self.environment = {
            "OPENMSI_BOOTSTRAP_SERVERS": bootstrap,
            "OPENMSI_STATE_DIR": str(directory / "state"),
        }
        self._programs: list[Program] = []
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._made = False

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self._programs:
            each.close()
        if self._made:
            self._admin.delete_topics([self.topic])[self.topic].result(30)
        del self._admin  # librdkafka ends its threads here, before the broker goes

    def create_topic(self, partitions: int = 3, **settings: str) -> None:
        """A dot in the name of a setting is written as an underscore."""
        config = {name.replace("_", "."): value for name, value in settings.items()}
        new = NewTopic(self.topic, partitions, 1, config=config)
        self._admin.create_topics([new])[self.topic].result(30)
        self._made = True

    # -- programs --------------------------------------------------------------------------

    def start(self, verb: str, *arguments: str | Path) -> Program:
        named = [verb, "--topic", self.topic, "--json", *map(str, arguments)]
        program = Program(named, self.environment)
        self._programs.append(program)
        return program

    def upload(self, *arguments: str | Path) -> Program:
        return self.start("upload", *(arguments or (self.source,)))

    def watch(self, *options: str | Path) -> Program:
        """Returns when it is at work."""
        program = self.start("watch", self.source, *options)
        program.until("started")
        return program

    def download(self, *options: str | Path) -> Program:
        return self.start("download", self.target, *options)

    def download_to_end(self, *options: str | Path, code: int = 0, seconds: float = 60) -> Program:
        return self.download("--until-end", *options).wait(seconds, code)

    # -- the topic, seen by a client that knows nothing of us ------------------------------

    def ends(self) -> dict[int, int]:
        """The offset after the last record of each partition."""
        consumer = self._consumer()
        try:
            partitions = consumer.list_topics(self.topic, 10).topics[self.topic].partitions
            return {
                each: consumer.get_watermark_offsets(TopicPartition(self.topic, each), 10)[1]
                for each in partitions
            }
        finally:
            consumer.close()

    def record_count(self) -> int:
        return sum(self.ends().values())

    def wait_for_records(self, count: int, seconds: float = 30) -> None:
        consumer = self._consumer()
        try:
            partitions = consumer.list_topics(self.topic, 10).topics[self.topic].partitions
            places = [TopicPartition(self.topic, each) for each in partitions]
            wait_until(
                lambda: (
                    sum(consumer.get_watermark_offsets(each, 10)[1] for each in places) >= count
                ),
                seconds,
                f"{count} records",
            )
        finally:
            consumer.close()

    def values(self, partition: int, first: int, last: int) -> Iterator[bytes]:
        """The values of the records from `first` to `last`."""
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self.topic, partition, first)])
            at = first - 1
            while at < last:
                record = consumer.poll(10)
                assert record is not None and record.error() is None
                at = record.offset() or 0
                yield record.value() or b""
        finally:
            consumer.close()

    def produce(self, records: list[Foreign]) -> list[int]:
        """Put these into partition 0, in order. Returns their offsets."""
        offsets: dict[int, int] = {}
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "linger.ms": 5})
        for number, each in enumerate(records):
            producer.produce(
                self.topic,
                each.value,
                each.key,
                0,
                on_delivery=lambda error, record, number=number: (  # type: ignore[misc]
                    offsets.update({number: record.offset()})
                ),
                headers=each.headers,  # type: ignore[arg-type]
            )
        assert producer.flush(30) == 0
        return [offsets[number] for number in range(len(records))]

    def _consumer(self) -> Consumer:
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": f"{self.topic}-look"})


class Foreign(NamedTuple):
    """A record as any program may produce it."""

    key: bytes | None = None
    value: bytes | None = None
    headers: list[tuple[str, bytes | None]] | None = None


# -- disks -------------------------------------------------------------------------------------


@contextlib.contextmanager
def small_disk(path: Path, size: int) -> Iterator[None]:
    """A file system of `size` bytes at `path`; the test is skipped where none can be mounted."""
    path.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(options, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no program called mount")
    if mounted.returncode != 0:
        pytest.skip(f"a tmpfs cannot be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def fill(path: Path) -> None:
    """Make a file that leaves no space at all."""
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


# -- files -------------------------------------------------------------------------------------


def random_file(path: Path, size: int, seed: int = 1) -> Path:
    """A file of `size` bytes that does not compress, and no two MiB of which are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = random.Random(seed)
    block = generator.randbytes(MIB)
    with open(path, "wb") as file:
        for start in range(0, size, MIB):
            file.write((b"%016d" % start + block[16:])[: size - start])
    return path


def digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(root: Path) -> dict[str, int]:
    """Every file below `root`, by relative name, with its mtime in ns; without the spool."""
    found = {}
    for directory, names, files in os.walk(os.fsencode(root)):
        if directory == os.fsencode(root):
            names[:] = [each for each in names if each != b".openmsi"]
        for name in files:
            path = os.path.join(directory, name)
            relative = os.path.relpath(path, os.fsencode(root)).decode(errors="backslashreplace")
            found[relative] = os.lstat(path).st_mtime_ns
    return found


def assert_same_tree(source: Path, target: Path) -> None:
    """`diff -r` is empty, and every mtime is the same to the ns."""
    differ = subprocess.run(["diff", "-r", source, target], capture_output=True, check=False)
    assert (differ.returncode, differ.stdout[-2000:], differ.stderr[-2000:]) == (0, b"", b"")
    sent, rebuilt = tree(source), tree(target)
    assert {name: rebuilt.get(name) for name in sent} == sent


def printed(label: str, **numbers: object) -> None:
    """A measurement, for whoever runs pytest with -s or -rP."""
    print(f"\n[measured] {label}: " + ", ".join(f"{name} {each}" for name, each in numbers.items()))


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
