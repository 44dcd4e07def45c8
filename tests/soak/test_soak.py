"""An agent over simulated hours: nothing in it grows.

One instrument writes a file every ten seconds, which the agent sends and rebuilds. Brokers go away,
files change while they are read, names are refused, the part fails and is started again. Time is
that of a fake clock; files, ledger, journal, log and status are real, Kafka is in memory.

pytest tests/soak               2 simulated hours, seconds
pytest tests/soak -m slow -s    24 simulated hours, minutes; prints the numbers
"""

from __future__ import annotations

import gc
import logging
import os
import random
import sys
import threading
import time as real_time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psutil  # type: ignore[import-untyped]
import pytest

from openmsi.agent import Agent, Task
from openmsi.agent import agent as agent_module
from openmsi.agent import part as part_module
from openmsi.agent.agent import Hooks
from openmsi.cli import agent_log
from openmsi.config import read_agent
from openmsi.errors import LocalDiskError
from openmsi.receive import receiver as receiving
from openmsi.receive.job import ReceiveJob
from openmsi.receive.journal import Journal
from openmsi.receive.receiver import Receiver
from openmsi.send import finder, ledger, outbox, reading, sender
from openmsi.send.filters import Filter
from openmsi.send.job import SendJob
from openmsi.sinks import DirectorySink
from openmsi.testing import FakeClock, MemoryBroker

HOUR = 3600.0
STEP_SECONDS = 0.25
FILE_SECONDS = 10.0
LOG_BYTES, OLD_LOGS = 100_000, 3
TOPIC, GROUP = "scans", "group"
_PATCHED = (finder, ledger, outbox, reading, sender, receiving, agent_module, part_module)


class Sizes(NamedTuple):
    """What must not grow."""

    hour: float
    rss_mib: float
    objects: int
    handles: int
    threads: int
    log_bytes: int


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The time of all that sends, receives and supervises; only the instrument moves it on."""
    clock = FakeClock(real_time.time())
    fake = SimpleNamespace(
        monotonic=clock.monotonic,
        time=clock.time,
        time_ns=lambda: int(clock.time() * 1e9),
        sleep=lambda _: real_time.sleep(0.001),
        strftime=real_time.strftime,
        localtime=real_time.localtime,
    )
    for module in _PATCHED:
        monkeypatch.setattr(module, "time", fake)
    monkeypatch.setattr(finder, "IDLE_SECONDS", 0.0)
    for name in ("BACKOFF_SECONDS", "MAX_BACKOFF_SECONDS", "MAX_WAIT_SECONDS"):
        monkeypatch.setattr(part_module, name, 0.01)
    monkeypatch.setattr(agent_log, "FILE_BYTES", LOG_BYTES)
    monkeypatch.setattr(agent_log, "OLD_FILES", OLD_LOGS)
    return clock


class Instrument:
    """The directory, Kafka, and what goes wrong; moves the clock at each turn of the sender."""

    def __init__(self, folder: Path, clock: FakeClock, hours: float) -> None:
        self.folder = folder
        self.source, self.target = folder / "source", folder / "target"
        self.source.mkdir()
        self.clock = clock
        self.until = hours * HOUR
        self.broker = MemoryBroker()
        self.broker.admin().create_topic(TOPIC, 2, {})
        self.sizes: list[Sizes] = []
        self.written = 0
        self.starts = 0
        self._random = random.Random(7)
        self._file_due = self._hour_due = 0.0
        self._fail_due = 4 * HOUR / 3
        self.done = threading.Event()

    # -- the part's work -----------------------------------------------------------------------

    def work(self, task: Task) -> None:
        """Send and receive in one thread, so that the fake clock has one owner."""
        self.starts += 1
        self.pass_time()
        if self.broker.away:  # it begins again and again, and here nobody else moves the clock
            self.clock.advance(30)
        info = self.broker.admin().describe_topic(TOPIC)
        job = SendJob(self.source, info, 1024, Filter(), "soak")
        book = ledger.Ledger(self.folder / "ledger.sqlite", {}, [])
        journal = Journal(self.folder / "journal.sqlite", {}, [])
        sink = DirectorySink(self.target)
        receiver = Receiver(
            ReceiveJob(info, GROUP),
            lambda notice: self.broker.consumer(TOPIC, GROUP, notice),
            sink,
            journal,
            task.report,
        )
        receiver._consumer.subscribe(receiver)

        def stop() -> bool:
            receiver._turn()
            self.pass_time()
            return task.stop() or self.done.is_set()

        try:
            sender.Sender(
                job, book, lambda notice: self.broker.producer(TOPIC, notice), task.report
            ).run(stop)
        finally:
            receiver._close()
            journal.close()
            book.close()
        while not task.stop():
            real_time.sleep(0.01)

    def pass_time(self) -> None:
        self.clock.advance(STEP_SECONDS)
        now = self.clock.monotonic()
        if now >= self._hour_due:
            self._hour_due += HOUR / 2
            self.sizes.append(measured(now / HOUR, self.folder))
            self._tidy_up()
        if now >= self._file_due:
            self._file_due += FILE_SECONDS
            self._write()
        self.broker.away = now % (3 * HOUR) < 600 and now > HOUR  # ten minutes in three hours
        if now >= self.until:
            self.done.set()
        elif now >= self._fail_due:
            self._fail_due += 4 * HOUR / 3
            raise LocalDiskError(str(self.source), "it was unplugged")

    def _write(self) -> None:
        self.written += 1
        name = f"{self.written:06d}.dat"
        if self.written % 50 == 0:
            name = f"{self.written:06d}.tmp"  # left out
        if self.written % 70 == 0 and sys.platform == "linux":
            name = os.fsdecode(b"%06d\xff.dat" % self.written)  # refused
        content = self._random.randbytes(self._random.randrange(5000))
        (self.source / name).write_bytes(content)

    def _tidy_up(self) -> None:
        """As people and Kafka do: what is old goes."""
        for directory in (self.source, self.target):
            for name in sorted(os.listdir(os.fsencode(directory)))[:-20]:
                if name != b".openmsi":
                    os.unlink(os.path.join(os.fsencode(directory), name))
        for partition in (0, 1):
            end = self.broker._topic(TOPIC).logs[partition].end
            self.broker.delete_records(TOPIC, partition, max(0, end - 100))


def measured(hour: float, folder: Path) -> Sizes:
    gc.collect()
    me = psutil.Process()
    logs = sum(each.stat().st_size for each in folder.glob("agent.log*"))
    handles = me.num_fds() if hasattr(me, "num_fds") else me.num_handles()
    rss = me.memory_info().rss / 2**20
    return Sizes(
        hour, round(rss, 1), len(gc.get_objects()), handles, threading.active_count(), logs
    )


@pytest.fixture
def quiet_logs() -> Iterator[None]:
    before = list(logging.getLogger().handlers)
    yield
    for each in logging.getLogger().handlers:
        if each not in before:
            logging.getLogger().removeHandler(each)
            with suppress(OSError):
                each.close()


@pytest.mark.parametrize("hours", [2.0, pytest.param(24.0, marks=pytest.mark.slow)])
def test_nothing_grows(hours: float, tmp_path: Path, clock: FakeClock, quiet_logs: object) -> None:
    instrument = Instrument(tmp_path, clock, hours)
    (tmp_path / "agent.toml").write_text(
        "[kafka]\nbootstrap_servers = 'localhost:9'\n[[watch]]\ndirectory = 'source'\n"
        f"topic = '{TOPIC}'\n[agent]\nlog = 'json'\nlog_file = 'agent.log'\n"
    )
    settings = read_agent(tmp_path / "agent.toml")
    for handler in list(logging.getLogger().handlers):
        logging.getLogger().removeHandler(handler)  # pytest's own keep every record in memory
    agent_log.set_up(settings.general.log, settings.general.log_file)

    def turned(agent: Agent) -> None:
        assert agent.healthy()
        if instrument.done.is_set():
            agent.stop()

    hooks = Hooks(turned=turned)
    agent = Agent(settings, tmp_path / "state", instrument.work, agent_log.tell, hooks)
    began = real_time.monotonic()
    assert agent.run()
    took = real_time.monotonic() - began
    (part,) = agent.status().parts
    for each in instrument.sizes:
        print(each, flush=True)
    print(f"{hours:g} simulated hours in {took:.0f} s; {part.files}, {part.restarts} restarts")
    assert part.files["sent"] >= 0.9 * instrument.written
    assert part.files["rebuilt"] >= 0.9 * instrument.written
    assert part.restarts == instrument.starts - 1 >= hours // 2 - 1
    first, last = instrument.sizes[2], instrument.sizes[-1]
    lately = instrument.sizes[-4:]  # the threads that sync files come and go
    assert min(each.handles for each in lately) <= first.handles
    assert min(each.threads for each in lately) <= first.threads
    assert max(each.log_bytes for each in instrument.sizes) <= (OLD_LOGS + 1) * LOG_BYTES * 1.05
    assert last.rss_mib <= first.rss_mib + 10
