"""A program that runs until it is stopped, and the events that it tells with --json."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.contest import Command, peak_rss

_decode = msgspec.json.Decoder().decode


class Watching:
    """Stopped when the context ends. `events` has, for each kind, when it came and what it said."""

    def __init__(self, command: Command) -> None:
        self._command = [*map(str, command), "--json"]
        self.events: dict[str, list[tuple[float, dict[str, Any]]]] = defaultdict(list)

    def __enter__(self) -> Watching:
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            at = time.monotonic()
            event = _decode(line)
            self.events[event["event"]].append((at, event))

    def wait_for(self, kind: str, count: int = 1, seconds: float = 600) -> float:
        """Until so many events of a kind came; the time of the last of them."""
        deadline = time.monotonic() + seconds
        while (came := self.count(kind)) < count:
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"{came} of {count} {kind} events: {self._command}")
            time.sleep(0.005)
        return self.events[kind][count - 1][0]

    def count(self, kind: str) -> int:
        """How many came. Raises RuntimeError if the program has ended by itself."""
        if self.process.poll() is not None:
            raise RuntimeError(f"it ended with {self.process.returncode}: {self._command}")
        return len(self.events[kind])

    def cpu(self) -> float:
        """Seconds of the processor so far. Linux only."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_rss(self) -> int:
        """Bytes until now. Linux only."""
        return peak_rss(self.process.pid)
