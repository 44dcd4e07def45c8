"""A topic, directories, and programs between them that are killed again and again."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from crash.programs import Failed, Program, run_once, wait_until
from crash.proxy import Proxy
from crash.tree import files_below
from openmsi.broker import LocalBroker

SETTLE = "0.5"


@dataclass(frozen=True)
class Scale:
    """How much a run does. `full` has the sizes and times of the promise, else CI's."""

    full: bool
    kills: int
    seed: int

    def random(self, purpose: str) -> random.Random:
        """Random numbers of its own for each purpose."""
        return random.Random(f"{self.seed} {purpose}")

    def choose(self, full: int, short: int) -> int:
        return full if self.full else short


@dataclass(frozen=True)
class Hub:
    """A broker, the address for clients, and what may lie between."""

    broker: LocalBroker
    bootstrap: str
    proxy: Proxy | None = None


class World:
    """One topic, a source, destinations, and the programs between; all gone afterwards."""

    def __init__(self, hub: Hub, directory: Path, topic: str) -> None:
        self.hub = hub
        self.topic = topic
        self.directory = directory
        self.source = directory / "source"
        self.target = directory / "target"
        self.logs = directory / "logs"
        self.source.mkdir()
        self.logs.mkdir()
        self.programs: list[Program] = []
        self.topic_made = False
        self._elsewhere: list[Path] = []
        self.states: dict[str, Path] = {}  # of programs whose state lies elsewhere

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self.programs:
            each.kill()
        for path in self._elsewhere:
            shutil.rmtree(path)
        self._tell_logs()
        if self.topic_made and self.hub.broker.status().nodes[0].answers:
            admin = self.admin()
            admin.delete_topics([self.topic])[self.topic].result(60)

    def temporary(self, parent: Path) -> Path:
        """A directory on another file system, gone afterwards."""
        made = Path(tempfile.mkdtemp(prefix="openmsi-crash-", dir=parent))
        self._elsewhere.append(made)
        return made

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.hub.bootstrap, "log_level": 0})

    def _tell_logs(self) -> None:
        for log in sorted(self.logs.glob("*/*.err")):
            text = log.read_text(errors="replace")
            if text:  # shown by pytest when the test fails
                print(f"--- {log.parent.name}/{log.name}\n{text[-2000:]}")

    def create_topic(self, partitions: int = 3, copies: int = 1, **settings: str) -> None:
        """A dot in the name of a setting is written as an underscore."""
        config = {name.replace("_", "."): value for name, value in settings.items()}
        new = NewTopic(self.topic, partitions, copies, config=config)
        admin = self.admin()  # its requests end with it
        admin.create_topics([new])[self.topic].result(60)
        self.topic_made = True

    # -- programs --------------------------------------------------------------------------

    @property
    def environment(self) -> dict[str, str]:
        return {"OPENMSI_BOOTSTRAP_SERVERS": self.hub.bootstrap}

    def program(self, name: str, verb: str, *arguments: str | Path) -> Program:
        """A program with a state directory of its own."""
        named = [verb, *map(str, arguments), "--topic", self.topic, "--json"]
        if "--state-dir" in named:
            self.states[name] = Path(named[named.index("--state-dir") + 1])
        else:
            named += ["--state-dir", str(self.state_of(name))]
        logs = self.logs / f"{len(self.programs):02}-{name}"
        logs.mkdir()
        program = Program(name, named, logs, self.environment)
        self.programs.append(program)
        return program

    def sender(self, *options: str | Path) -> Program:
        return self.program("sender", "watch", self.source, "--settle", SETTLE, *options)

    def receiver(self, name: str = "receiver", *options: str | Path) -> Program:
        target = self.target if name == "receiver" else self.directory / f"target-{name}"
        return self.program(name, "download", target, *options)

    def state_of(self, name: str) -> Path:
        return self.states.get(name) or self.directory / f"state-{name}"

    def run(self, verb: str, *arguments: str | Path, state: str = "") -> tuple[int, str, str]:
        """A command to its end."""
        named = [*verb.split(), *map(str, arguments)]
        if state:
            named += ["--state-dir", str(self.state_of(state))]
        return run_once(named, self.environment)

    def verify(self) -> tuple[int, str, str]:
        """verify --deep of the source, with the sender's ledger."""
        named = (self.source, "--topic", self.topic, "--deep", "--json")
        return self.run("verify", *named, state="sender")

    # -- waiting ---------------------------------------------------------------------------

    def wait_for_sent(self, seconds: float) -> None:
        """Until `openmsi status` says that all of the source is sent."""
        self._wait(
            lambda: self.run("status", self.source, "--json", state="sender"),
            lambda answer: answer[0] == 0,
            seconds,
            "all is sent",
        )

    def wait_for_arrival(self, seconds: float, *targets: Path) -> None:
        """Until every file of the source lies in one of the targets with its size."""
        self._wait(
            lambda: missing(self.source, *(targets or (self.target,))),
            lambda answer: not answer,
            seconds,
            "all arrived",
        )

    def _wait(
        self,
        ask: Callable[[], object],
        good: Callable[[object], bool] | Callable[..., bool],
        seconds: float,
        what: str,
    ) -> None:
        deadline = time.monotonic() + seconds
        while not good(answer := ask()):
            for each in self.programs:
                fault = each.look_after()
                if fault:
                    raise Failed(fault)
            if time.monotonic() > deadline:
                raise Failed(f"not within {seconds:.0f} s: {what}; {str(answer)[-3000:]}")
            time.sleep(0.5)


def missing(source: Path, *targets: Path) -> list[str]:
    """Files of the source that lie in no target with their size."""
    arrived = [files_below(each) for each in targets]
    lacking = []
    for name, path in files_below(source).items():
        size = path.stat().st_size
        if not any(name in each and _size(each[name]) == size for each in arrived):
            lacking.append(name)
    return lacking


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return -1


@dataclass
class Killer:
    """Kills the sender, the receiver and the broker of a world, at random moments."""

    world: World
    sender: Program
    receiver: Program
    random: random.Random
    kills: dict[str, int] = field(default_factory=lambda: {"sender": 0, "receiver": 0, "broker": 0})
    faults: list[str] = field(default_factory=list)
    _restart: threading.Thread | None = None
    _problem: BaseException | None = None

    def run(self, count: int) -> None:
        """`count` kills, a third of each, with the programs started again after each."""
        order = (["sender", "receiver", "broker"] * (count // 3 + 1))[:count]
        self.random.shuffle(order)
        for victim in order:
            self._pause()
            self.kills[victim] += 1
            if victim == "broker":
                self._kill_broker()
            else:
                program = self.sender if victim == "sender" else self.receiver
                program.kill()
                time.sleep(self.random.uniform(0, 0.5))
                program.start()
        self._broker_is_back()
        self.look_after()

    def _pause(self) -> None:
        """Often until both work, and then a random time more."""
        if self.random.random() < 0.5:
            wait_until(self._both_work, 300, "sender and receiver are at work")
        until = time.monotonic() + self.random.uniform(0.05, 2.0)
        while time.monotonic() < until:
            self.look_after()
            time.sleep(0.05)

    def _both_work(self) -> bool:
        self.look_after()
        return self.sender.at_work() and self.receiver.at_work()

    def look_after(self) -> None:
        """Start again what ended by itself; a fault unless it found no broker at its start."""
        for each in (self.sender, self.receiver):
            if each.runs:
                continue
            fault = each.look_after()
            if fault:
                self.faults.append(fault)

    def _kill_broker(self) -> None:
        self._broker_is_back()
        self.world.hub.broker.kill_node(1)
        self._restart = threading.Thread(
            target=self._start_broker, args=(self.random.uniform(0, 1.5),)
        )
        self._restart.start()

    def _start_broker(self, after: float) -> None:
        time.sleep(after)
        try:
            self.world.hub.broker.start_node(1)
        except BaseException as problem:  # noqa: BLE001 - raised again by _broker_is_back
            self._problem = problem

    def _broker_is_back(self) -> None:
        while self._restart is not None and self._restart.is_alive():
            self.look_after()
            self._restart.join(0.1)
        self._restart = None
        if self._problem is not None:
            raise self._problem
