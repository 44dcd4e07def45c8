"""openmsi commands as processes that may be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil  # type: ignore[import-untyped]

Event = dict[str, Any]
BROKER_AWAY = 4  # the exit code of a program that finds no broker when it starts


class Told(NamedTuple):
    """One event, the run of the program that told it, and when it was read here."""

    run: int
    at: float
    event: Event


class Failed(AssertionError):
    """Something that the crash tests promise did not come true."""


def wait_until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Raises Failed when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.05)


class Program:
    """One command. Its events are kept over all its runs.

    Args:
        name: for messages.
        arguments: what comes after `openmsi`.
        logs: an existing directory of its own.
    """

    def __init__(
        self, name: str, arguments: list[str], logs: Path, environment: Mapping[str, str]
    ) -> None:
        self.name = name
        self.run = 0
        self.peak_rss = 0
        self.killed_at: dict[int, float] = {}  # run -> when
        self.refused = 0  # starts that found no broker
        self._arguments = arguments
        self._logs = logs
        self._environment = {**os.environ, **environment}
        self._process: subprocess.Popen[bytes] | None = None
        self._read = 0
        self._told: list[Told] = []

    def start(self) -> Program:
        assert self._process is None, f"{self.name} runs already"
        self.events()  # all of the run before
        self.run += 1
        self._read = 0
        with open(self._file("out"), "wb") as out, open(self._file("err"), "wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "openmsi", *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment,
                start_new_session=True,
            )
        threading.Thread(target=self._sample, args=(self._process,), daemon=True).start()
        return self

    def _sample(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(psutil.Error):
            watched = psutil.Process(process.pid)
            while process.returncode is None:
                self.peak_rss = max(self.peak_rss, watched.memory_info().rss)
                time.sleep(0.1)

    def _file(self, kind: str) -> Path:
        return self._logs / f"{self.run:03}.{kind}"

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def stderr(self) -> str:
        return self._file("err").read_text(errors="replace") if self.run else ""

    def kill(self) -> None:
        """Without warning. Does nothing when it does not run."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGKILL)
                self.killed_at[self.run] = time.monotonic()
            self._process.wait()
            self._process = None

    def stop(self, seconds: float = 60) -> None:
        """As a service manager does. Raises Failed when it does not end with exit code 0."""
        assert self._process is not None, f"{self.name} does not run"
        self._process.send_signal(signal.SIGTERM)
        self.wait(seconds)

    def wait(self, seconds: float, code: int = 0) -> None:
        """Until it ends by itself. Raises Failed for another exit code."""
        assert self._process is not None
        try:
            found = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} does not end in {seconds:.0f} s") from None
        self._process = None
        if found != code:
            raise Failed(f"{self.name} ended with code {found}, not {code}: {self.stderr}")

    def look_after(self) -> str:
        """Start it again when it ended by itself. Returns what is wrong with that: nothing, if
        it found no broker at its start."""
        if self._process is None or self._process.poll() is None:
            return ""
        code, self._process = self._process.returncode, None
        excused = code == BROKER_AWAY and not self.at_work()
        self.refused += excused
        fault = "" if excused else f"{self.name} run {self.run} ended, {code}: {self.stderr}"
        self.start()
        return fault

    # -- events ----------------------------------------------------------------------------

    def told(self, kind: str = "", **fields: object) -> list[Told]:
        self._take()
        return [
            each
            for each in self._told
            if (not kind or each.event["event"] == kind)
            and all(each.event.get(name) == value for name, value in fields.items())
        ]

    def events(self, kind: str = "", **fields: object) -> list[Event]:
        return [each.event for each in self.told(kind, **fields)]

    def at_work(self) -> bool:
        """Did this run tell that it started?"""
        return any(each.run == self.run for each in self.told("started"))

    def until(self, kind: str, count: int = 1, seconds: float = 60, **fields: object) -> Event:
        """Wait for `count` such events; returns the last of them."""
        deadline = time.monotonic() + seconds
        while len(found := self.events(kind, **fields)) < count:
            if time.monotonic() > deadline or not self.runs:
                raise Failed(
                    f"{self.name}: {len(found)} of {count} {kind} {fields} in {seconds:.0f} s;"
                    f" runs: {self.runs}; {self.stderr}\n{self.events()[-5:]}"
                )
            time.sleep(0.05)
        return found[count - 1]

    def _take(self) -> None:
        if not self.run:
            return
        with open(self._file("out"), "rb") as out:
            out.seek(self._read)
            data = out.read()
        whole = data[: data.rfind(b"\n") + 1]  # a killed program may leave half a line
        self._read += len(whole)
        now = time.monotonic()
        self._told += [Told(self.run, now, json.loads(line)) for line in whole.splitlines()]


def run_once(arguments: list[str], environment: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a command to its end: its exit code, what it printed, what it complained of."""
    done = subprocess.run(
        [sys.executable, "-m", "openmsi", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env={**os.environ, **environment},
        timeout=900,
        check=False,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr
