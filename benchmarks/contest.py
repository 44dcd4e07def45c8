"""Running contestants alternately, and measuring each as a whole process."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Run:
    """One process from start to end: seconds of the clock and of the processor, peak bytes."""

    seconds: float
    cpu: float
    rss: int


@dataclass
class Contestant:
    """`command` is given the number of the repeat, for names that must be new each time; `after`
    runs when its process has ended, outside the measured time.

    Nothing may delete many files before the last repeat: ext4 avoids their inodes for a while, and
    making files takes ten times as long meanwhile.
    """

    name: str
    command: Callable[[int], Sequence[str | Path]]
    after: Callable[[int], None] = lambda _: None
    runs: list[Run] = field(default_factory=list)

    def median(self) -> float:
        return statistics.median(each.seconds for each in self.runs)


def contest(contestants: Sequence[Contestant], repeats: int) -> None:
    """Let each run once, then each again, so that what disturbs the machine meets all of them."""
    for number in range(repeats):
        for each in contestants:
            each.runs.append(measured(each.command(number)))
            print(f"  {each.name}: {each.runs[-1].seconds:.2f} s", file=sys.stderr)
            each.after(number)


def measured(command: Sequence[str | Path]) -> Run:
    """Run it to its end. Raises RuntimeError, with what it said, when it fails."""
    os.sync()  # nobody pays for what another one wrote
    began = time.monotonic()
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        shown = said.decode(errors="replace")[-2000:]
        raise RuntimeError(f"exit code {process.returncode}: {command}\n{shown}")
    rss = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(seconds, usage.ru_utime + usage.ru_stime, rss)


def remove(path: Path) -> None:
    """A file or a tree, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
