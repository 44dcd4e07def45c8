"""The agent and its parts, with workers that do what the tests want. No Kafka."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmsi.agent import Agent, Counts, Task, read_status
from openmsi.agent import agent as agent_module
from openmsi.agent import part as part_module
from openmsi.agent.agent import Hooks
from openmsi.config import Part, read_agent
from openmsi.errors import BrokerUnreachable, InUse, LocalDiskError
from openmsi.events import Event, FileSent, Notice, Resumed, Started, Waiting

Work = Callable[[Task], None]


def wait_until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Stage:
    """An agent.toml with a part for each worker, and the agent that runs it in a thread."""

    def __init__(self, folder: Path, **workers: Work) -> None:
        self.folder = folder
        self.workers = workers
        self.events: list[tuple[str, Event]] = []
        self.told: list[Event] = []
        self.turns = 0
        self.result: bool | None = None
        self.write(*workers)
        settings = read_agent(folder / "agent.toml")
        hooks = Hooks(turned=self._turned, told=self.told.append)
        self.agent = Agent(settings, folder / "state", self._work, self._tell, hooks)
        self._thread = threading.Thread(target=self._run)

    def write(self, *names: str, more: str = "", settle: float = 2.0) -> None:
        lines = ["[kafka]", "bootstrap_servers = 'localhost:9'"]
        for each in names:
            lines += ["[[watch]]", f"directory = '{each}'", "topic = 't'", f"settle = {settle}"]
        (self.folder / "agent.toml").write_text("\n".join([*lines, "[agent]", more]))

    def _work(self, task: Task) -> None:
        self.workers[self.name(task.part)](task)

    def _tell(self, part: Part, event: Event) -> None:
        self.events.append((self.name(part), event))

    def _turned(self, _: Agent) -> None:
        self.turns += 1

    @staticmethod
    def name(part: Part) -> str:
        return Path(getattr(part, "directory", "")).name

    def _run(self) -> None:
        self.result = self.agent.run()

    @contextmanager
    def running(self) -> Iterator[Stage]:
        self._thread.start()
        try:
            yield self
        finally:
            self.agent.stop()
            self._thread.join(30)
            assert not self._thread.is_alive()

    def state(self, name: str) -> str:
        found = {Path(each.directory).name: each.state for each in self.agent.status().parts}
        return found.get(name, "")

    def reload(self) -> None:
        before = len(self.told)
        self.agent.reload()
        wait_until(lambda: len(self.told) > before)
        seen = self.turns
        wait_until(lambda: self.turns > seen)


def well(task: Task) -> None:
    """A worker that has nothing to do."""
    task.report(Started("", "t"))
    while not task.stop():
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent_module, "TURN_SECONDS", 0.01)
    monkeypatch.setattr(part_module, "BACKOFF_SECONDS", 0.05)
    monkeypatch.setattr(part_module, "MAX_BACKOFF_SECONDS", 0.2)


def failing(error: Exception) -> Work:
    def work(task: Task) -> None:
        raise error

    return work


def test_an_error_of_our_own_in_one_part_leaves_the_others_alone(tmp_path: Path) -> None:
    with Stage(tmp_path, good=well, bad=failing(ZeroDivisionError("x"))).running() as stage:
        wait_until(lambda: stage.state("bad") == "restarting" and stage.state("good") == "running")
        bad = next(each for each in stage.agent.status().parts if each.directory.endswith("bad"))
        assert bad.reason == "an error of openmsi itself: ZeroDivisionError('x')"
        wait_until(lambda: stage.agent.status().parts[1].restarts >= 4)
        assert stage.agent.status().parts[1].errors["ZeroDivisionError"] >= 4
        assert sum(name == "bad" for name, _ in stage.events) == 1, "told once, not each time"
        assert stage.agent.healthy()
    assert stage.result


def test_a_failure_that_passes_is_waiting(tmp_path: Path) -> None:
    error = BrokerUnreachable("Kafka at localhost:9", "no answer")
    with Stage(tmp_path, one=failing(error)).running() as stage:
        wait_until(lambda: stage.state("one") == "waiting")
    assert next(type(each) for name, each in stage.events if name == "one") is Waiting


def test_the_time_between_restarts_doubles_and_begins_anew_after_it_ran_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(part_module, "MAX_BACKOFF_SECONDS", 0.4)
    monkeypatch.setattr(part_module, "WELL_SECONDS", 0.5)
    starts: list[float] = []

    def work(task: Task) -> None:
        starts.append(time.monotonic())
        if len(starts) == 5:
            time.sleep(0.6)
        raise LocalDiskError("it", "is broken")

    with Stage(tmp_path, one=work).running():
        wait_until(lambda: len(starts) >= 6)
    gaps = [b - a for a, b in itertools.pairwise(starts)]
    for gap, least in zip(gaps[:4], (0.05, 0.1, 0.2, 0.4), strict=True):
        assert least <= gap < least + 0.15
    assert 0.6 <= gaps[4] < 0.8, "not 0.4 s after it ran well"


def test_what_happens_in_a_part_is_its_state_and_is_counted(tmp_path: Path) -> None:
    step = threading.Event()

    def work(task: Task) -> None:
        task.counts(lambda: Counts(3, 2, 1.5))
        task.report(Started("", "t"))
        task.report(FileSent("a", 10, "", "", "t", 0, 0, 0, 0.1))
        task.report(Waiting("the brokers are away"))
        step.wait(10)
        task.report(Resumed())
        well(task)

    with Stage(tmp_path, one=work).running() as stage:
        wait_until(lambda: stage.state("one") == "waiting")
        (one,) = stage.agent.status().parts
        assert one.reason == "the brokers are away"
        assert (one.files, one.bytes, one.errors) == ({"sent": 1}, 10, {"Waiting": 1})
        assert (one.waiting, one.in_flight, one.oldest_seconds) == (3, 2, 1.5)
        assert one.last_success is not None
        step.set()
        wait_until(lambda: stage.state("one") == "running")
        saved = read_status(tmp_path / "state", tmp_path / "agent.toml")
        assert saved is not None and saved.agent.startswith("process ")
    saved = read_status(tmp_path / "state", tmp_path / "agent.toml")
    assert saved is not None and saved.agent == ""
    assert saved.parts[0].state == "stopped" and saved.parts[0].files == {"sent": 1}


def test_a_loop_that_does_not_turn_is_not_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "HANG_SECONDS", 0.2)
    hang = threading.Event()

    def work(task: Task) -> None:
        task.stop()
        hang.wait(10)
        well(task)

    with Stage(tmp_path, good=well, bad=work).running() as stage:
        wait_until(lambda: stage.state("good") == "running")
        wait_until(lambda: not stage.agent.healthy())
        hang.set()
        wait_until(stage.agent.healthy)


def test_a_part_that_does_not_end_does_not_hold_up_the_agent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "STOP_SECONDS", 0.3)
    hang = threading.Event()
    with Stage(tmp_path, bad=lambda _: hang.wait(20)).running() as stage:  # type: ignore[arg-type]
        wait_until(lambda: stage.turns > 2)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    assert stage.result is False
    hang.set()


def test_a_reload_stops_starts_and_leaves_alone(tmp_path: Path) -> None:
    with Stage(tmp_path, one=well, two=well, three=well).running() as stage:
        wait_until(lambda: {stage.state("one"), stage.state("two")} == {"running"})
        threads = {each.name: each for each in threading.enumerate()}
        stage.write("one", "three")
        stage.reload()
        wait_until(lambda: stage.state("two") == "" and stage.state("three") == "running")
        after = {each.name: each for each in threading.enumerate()}
        same = f"watch {tmp_path / 'one'} -> t"
        assert after[same] is threads[same]
        assert [str(each) for each in stage.told if "was read again" in str(each)]


def test_a_part_that_changed_starts_when_the_former_one_has_ended(tmp_path: Path) -> None:
    finish = threading.Event()
    at_work: list[float] = []

    def work(task: Task) -> None:
        at_work.append(getattr(task.part, "settle", 0.0))
        task.report(FileSent("a", 10, "", "", "t", 0, 0, 0, 0.1))
        well(task)
        finish.wait(10)
        at_work.remove(getattr(task.part, "settle", 0.0))

    with Stage(tmp_path, one=work).running() as stage:
        wait_until(lambda: at_work == [2.0])
        stage.write("one", settle=3.0)
        stage.reload()
        time.sleep(0.1)
        assert at_work == [2.0], "two at work with one ledger"
        assert stage.state("one") == "stopping"
        finish.set()
        wait_until(lambda: at_work == [3.0])
        wait_until(lambda: stage.agent.status().parts[0].files == {"sent": 2})


def test_a_wrong_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    with Stage(tmp_path, one=well).running() as stage:
        wait_until(lambda: stage.state("one") == "running")
        for wrong in ("no toml", "[kafka]\nx = 1\n"):
            (tmp_path / "agent.toml").write_text(wrong)
            stage.reload()
            assert stage.state("one") == "running"
            assert "the changed file is not used: " in stage.agent.status().problem
        stage.write("one", more="state_dir = 'elsewhere'")
        stage.reload()
        assert "state_dir cannot change" in stage.agent.status().problem
        (tmp_path / "agent.toml").unlink()
        stage.reload()
        assert "No such file" in stage.agent.status().problem
        stage.write("one")
        stage.reload()
        assert stage.agent.status().problem == ""
        assert isinstance(stage.told[-1], Notice)


def test_a_second_agent_with_the_same_file_is_refused(tmp_path: Path) -> None:
    with Stage(tmp_path, one=well).running() as stage:
        wait_until(lambda: stage.turns)
        with pytest.raises(InUse, match=r"agent\.toml"):
            Agent(stage.agent.settings, tmp_path / "state", well, lambda *_: None).run()


def test_the_headline_names_what_is_wrong(tmp_path: Path) -> None:
    with Stage(tmp_path, good=well, bad=failing(LocalDiskError("/x", "is gone"))).running() as s:
        wait_until(lambda: s.state("bad") == "restarting" and s.state("good") == "running")
        headline = s.agent.status().headline
        assert headline.startswith("1 of 2 parts at work; watch ")
        assert "is restarting: /x: is gone" in headline and "\n" not in headline
