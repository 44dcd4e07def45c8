"""What the benchmark says about a process is so."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from benchmarks.contest import Command, Contestant, compared, contest, measured
from benchmarks.results import Run, number

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it measures on Linux")

MB = 10**6


def python(text: str) -> Command:
    return [sys.executable, "-c", text]


def test_a_run_has_the_seconds_the_processor_time_and_the_memory_of_the_process() -> None:
    held = bytearray(300 * MB)  # which is ours, and not to be counted
    run = measured(python("import time; held = bytearray(50_000_000); time.sleep(0.5)"))
    assert len(held) > run.rss > 50 * MB
    assert 0.5 < run.seconds < 5
    assert 0 < run.cpu < 0.4


def test_a_run_that_is_ended_from_outside_lasts_until_it_has_finished(tmp_path: Path) -> None:
    file = tmp_path / "made"
    lasting = f"import time; open({str(file)!r}, 'w'); input(); time.sleep(1)"
    began = time.monotonic()
    run = measured(python(lasting), file.exists)
    assert run.seconds < 1 < time.monotonic() - began


def test_a_run_that_fails_says_what_it_said() -> None:
    with pytest.raises(RuntimeError, match=r"exit code 3[\s\S]*no such disk"):
        measured(python("import sys; print('no such disk', file=sys.stderr); sys.exit(3)"))


def test_a_program_that_ends_too_early_is_no_result() -> None:
    with pytest.raises(RuntimeError, match="ended by itself"):
        measured(python("pass"), lambda: False)


def test_no_program_is_left_when_the_benchmark_is_stopped(tmp_path: Path) -> None:
    pid = tmp_path / "pid"

    def stopped() -> bool:
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt
        return False

    text = f"import os, time; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(KeyboardInterrupt):
        measured(python(text), stopped)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_contestants_take_turns_and_change_places() -> None:
    turns: list[str] = []

    def contestant(name: str, seconds: float) -> Contestant:
        def run(number: int) -> Run:
            turns.append(f"{name}{number}")
            return Run(seconds + number, 0.5, MB)

        return Contestant(name, run, lambda number: turns.append(f"-{name}{number}"))

    one, other = contestant("one", 1), contestant("other", 3)
    contest([one, other], 3)
    assert " ".join(turns) == "one0 -one0 other0 -other0 other1 -other1 one1 -one1 " + (
        "one2 -one2 other2 -other2"
    )
    table = compared("Sent", [one, other], 60, "MB")
    assert table.rows[0][:5] == ["one", 30, 20, 60, 1]
    assert table.rows[1][:5] == ["other", 15, 12, 20, 2]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1234.5, "1,234"), (99.96, "100"), (12.34, "12.3"), (0.9512, "0.951"), ("5 MB", "5 MB")],
)
def test_numbers_have_three_digits(value: float | str, shown: str) -> None:
    assert number(value) == shown
