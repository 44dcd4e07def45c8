"""File events as hints: sooner than a scan, and never the only way to notice something."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from watchdog.events import DirMovedEvent, FileCreatedEvent, FileMovedEvent

from openmsi.send import watch
from openmsi.send.watch import Hint, Watcher

linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems tell other events")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def watcher(root: Path) -> Iterator[Watcher]:
    watcher = Watcher(root)
    assert watcher.start() == ""
    yield watcher
    watcher.stop()


def hints(watcher: Watcher, wanted: Hint, seconds: float = 5) -> list[Hint]:
    """What is told until `wanted` is."""
    told: list[Hint] = []
    deadline = time.monotonic() + seconds
    while wanted not in told:
        assert time.monotonic() < deadline, f"{wanted} was not told: {told}"
        told += watcher.take(0.2)
    return told


@linux
def test_a_file_is_told_when_it_is_closed(watcher: Watcher, root: Path) -> None:
    (root / "a.csv").write_text("a")
    told = hints(watcher, Hint("closed", "a.csv"))
    assert told.index(Hint("touched", "a.csv")) < told.index(Hint("closed", "a.csv"))


@linux
def test_a_file_that_is_only_read_is_not_told(watcher: Watcher, root: Path) -> None:
    (root / "a.csv").write_text("a")
    hints(watcher, Hint("closed", "a.csv"))
    (root / "a.csv").read_text()
    os.listdir(root)
    (root / "last").write_text("last")
    told = hints(watcher, Hint("closed", "last"))
    assert {each.native for each in told} == {"last"}


@linux
def test_a_file_that_is_renamed_is_told_under_its_new_name(watcher: Watcher, root: Path) -> None:
    (root / "a.tmp").write_text("a")
    os.rename(root / "a.tmp", root / "a.csv")
    hints(watcher, Hint("closed", "a.csv"))


@linux
def test_a_file_that_is_renamed_in_from_outside_is_told(
    watcher: Watcher, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("x")
    os.rename(tmp_path / "outside", root / "inside")
    told = hints(watcher, Hint("closed", "inside"))
    assert told


@linux
def test_a_file_that_is_renamed_out_is_not_told(
    watcher: Watcher, root: Path, tmp_path: Path
) -> None:
    (root / "gone").write_text("x")
    hints(watcher, Hint("closed", "gone"))
    (tmp_path / "root-beside").mkdir()
    os.rename(root / "gone", tmp_path / "root-beside" / "gone")
    (root / "last").write_text("last")
    told = hints(watcher, Hint("closed", "last"))
    assert {each.native for each in told} == {"last"}


@linux
def test_a_new_directory_is_to_be_scanned_and_watched(watcher: Watcher, root: Path) -> None:
    (root / "run 1").mkdir()
    hints(watcher, Hint("scan", "run 1"))
    (root / "run 1" / "a.csv").write_text("a")
    hints(watcher, Hint("closed", "run 1/a.csv"))


@linux
def test_a_directory_that_is_moved_in_is_to_be_scanned(
    watcher: Watcher, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside" / "deep").mkdir(parents=True)
    os.rename(tmp_path / "outside", root / "inside")
    hints(watcher, Hint("scan", "inside"))


@linux
@pytest.mark.parametrize("name", ["new\nline", "tab\t", "é 日本語 🔬", "-rf", "a\\b", " "])
def test_any_name_is_told_as_it_is(watcher: Watcher, root: Path, name: str) -> None:
    (root / name).write_text("x")
    hints(watcher, Hint("closed", name))


@linux
def test_a_name_that_is_not_valid_unicode_is_told_too(watcher: Watcher, root: Path) -> None:
    with open(os.fsencode(root) + b"/\xff", "wb") as file:
        file.write(b"x")
    hints(watcher, Hint("closed", "\udcff"))


def test_too_many_events_become_one_scan_of_everything(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "MAX_HINTS", 10)
    watcher = Watcher(root)
    for number in range(1000):
        watcher.dispatch(FileCreatedEvent(str(root / str(number))))
    told = watcher.take(0)
    assert len(told) <= 12
    assert told[-1] == Hint("scan", "")
    assert watcher.take(0) == []


def test_what_is_moved_is_told_at_its_destination(root: Path) -> None:
    watcher = Watcher(root)
    watcher.dispatch(FileMovedEvent(str(root / "a"), str(root / "sub" / "b")))
    watcher.dispatch(DirMovedEvent(str(root / "c"), str(root / "d")))
    assert watcher.take(0) == [Hint("closed", "sub/b"), Hint("scan", "d")]


def test_an_event_of_a_directory_beside_the_root_is_not_ours(root: Path) -> None:
    watcher = Watcher(root)
    watcher.dispatch(FileCreatedEvent(f"{root}-beside{os.sep}x"))
    assert watcher.take(0) == []


def test_a_root_that_cannot_be_watched_gives_the_reason(tmp_path: Path) -> None:
    watcher = Watcher(tmp_path / "gone")
    why = watcher.start()
    assert why
    watcher.stop()


def test_taking_waits_for_the_first_hint_only(root: Path) -> None:
    watcher = Watcher(root)
    began = time.monotonic()
    assert watcher.take(0.05) == []
    assert 0.04 < time.monotonic() - began < 2
    watcher.dispatch(FileCreatedEvent(str(root / "a")))
    began = time.monotonic()
    assert watcher.take(10) == [Hint("touched", "a")]
    assert time.monotonic() - began < 2


@pytest.mark.skipif(os.name != "posix", reason="it sends itself signals")
def test_waiting_for_hints_ends_in_time_although_signals_come(root: Path) -> None:
    script = f"""
import os, pathlib, random, signal, threading, time
from openmsi.send.watch import Watcher
signal.signal(signal.SIGTERM, lambda *_: None)
def knock():
    while True:
        time.sleep(random.uniform(0.0009, 0.0011))
        os.kill(os.getpid(), signal.SIGTERM)
watcher = Watcher(pathlib.Path({str(root)!r}))
threading.Thread(target=knock, daemon=True).start()
for _ in range(1000):
    watcher.take(0.001)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=30)
