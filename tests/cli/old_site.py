"""A lab that runs the OpenMSI programs' commands: what its tests start and look at."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

CONFIG = """\
[broker]
bootstrap.servers = $LAB_BROKERS

[producer]
batch.size = 200000
linger.ms = 100
compression.type = lz4
key.serializer = StringSerializer
value.serializer = DataFileChunkSerializer

[consumer]
group.id = create_new
auto.offset.reset = earliest
enable.auto.commit = False
fetch.min.bytes = 1
key.deserializer = StringDeserializer
value.deserializer = DataFileChunkDeserializer
"""


class Site:
    """A lab that runs the older programs: a directory, a config folder, a topic."""

    def __init__(self, home: Path, bootstrap: str, topic: str) -> None:
        self.home = home
        self.topic = topic
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self.topics: list[str] = []
        self.create(topic)
        (home / "configs").mkdir()
        (home / "configs" / "prod.config").write_text(CONFIG)
        self.source = home / "stream"
        self.source.mkdir()
        self.environment = {
            **os.environ,
            "LAB_BROKERS": bootstrap,
            "OPENMSISTREAM_CONFIG_FILE_DIR": str(home / "configs"),
            "OPENMSI_STATE_DIR": str(home / "state"),
        }
        self.running: list[subprocess.Popen[str]] = []

    def create(self, topic: str, partitions: int = 2) -> None:
        self.admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)
        self.topics.append(topic)

    def options(self, topic: str = "") -> list[str]:
        return ["--config", "prod", "--topic_name", topic or self.topic]

    def start(self, name: str, *arguments: str | Path, stdin: int = subprocess.PIPE) -> Started:
        return Started(self, [script(name), *map(str, arguments)], stdin)

    def run(self, name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script(name), *map(str, arguments)],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def values(self, topic: str) -> list[tuple[str, dict[str, object]]]:
        """The records of a topic with one partition and small messages, as key and JSON."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"{topic}-look",
            }
        )
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), 10)
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[tuple[str, dict[str, object]]] = []
        while len(found) < end:
            record = consumer.poll(10)
            assert record is not None and record.error() is None
            key, value = record.key(), record.value()
            assert isinstance(key, bytes) and isinstance(value, bytes)
            found.append((key.decode(), json.loads(value)))
        consumer.close()
        return found

    def close(self) -> None:
        for each in self.running:
            each.kill()
            each.communicate()
        for topic in self.topics:
            self.admin.delete_topics([topic])[topic].result(30)
        del self.admin


class Started:
    """A program that runs, and what it has printed so far."""

    def __init__(self, site: Site, command: list[str], stdin: int) -> None:
        self._output = site.home / f"output-{len(site.running)}"
        with open(self._output, "w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=site.home,
                env=site.environment,
                stdin=stdin,
                stdout=file,
                stderr=subprocess.STDOUT,
                text=True,
            )
        site.running.append(self.process)

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8")

    def until(self, pattern: str) -> None:
        wait(lambda: re.search(pattern, self.output) is not None, lambda: self.output)

    def type(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def ended(self) -> int:
        return self.process.wait(20)


def script(name: str) -> str:
    return str(Path(sysconfig.get_path("scripts")) / name)


def wait(condition: Callable[[], bool], shown: Callable[[], str], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, shown()
        time.sleep(0.05)


class Terminal:
    """A program at a terminal of its own, in front of which somebody sits."""

    # The child makes the terminal its controlling one, as a login does.
    _AT = (
        "import fcntl, os, sys, termios;"
        "tty = os.open(sys.argv[1], os.O_RDWR);"
        "fcntl.ioctl(tty, termios.TIOCSCTTY, 0);"
        "[os.dup2(tty, each) for each in (0, 1, 2)];"
        "os.execv(sys.argv[2], sys.argv[2:])"
    )

    def __init__(self, site: Site, name: str, *arguments: str) -> None:
        import pty  # not there on Windows

        self._outside, self._inside = pty.openpty()
        command = [sys.executable, "-c", self._AT, os.ttyname(self._inside), script(name)]
        self.process = subprocess.Popen(
            [*command, *arguments], cwd=site.home, env=site.environment, start_new_session=True
        )
        self._seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._inside)
        os.close(self._outside)

    def settings(self) -> object:
        import termios

        return termios.tcgetattr(self._inside)

    @property
    def screen(self) -> str:
        import select

        while select.select([self._outside], [], [], 0)[0]:
            self._seen += os.read(self._outside, 4096)
        return self._seen.decode().replace("\r\n", "\n")

    def until(self, pattern: str) -> None:
        wait(lambda: re.search(pattern, self.screen) is not None, lambda: self.screen)

    def type(self, text: str) -> None:
        os.write(self._outside, text.encode())

    def ended(self) -> int:
        return self.process.wait(20)
