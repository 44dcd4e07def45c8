"""The finder looks through the tree again in time, however long sending takes."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from openmsi.kafka.seam import TopicInfo
from openmsi.send import finder as finding
from openmsi.send.filters import Filter
from openmsi.send.finder import Finder
from openmsi.send.job import SendJob, SendStats
from openmsi.send.ledger import SENT, Entry, Ledger, split
from openmsi.send.settle import TICK_SECONDS
from openmsi.testing import FakeClock

TOPIC = TopicInfo("t", "id", 1, 1, 1_048_588, None, None, "delete", 1)


def test_the_time_that_sending_takes_does_not_put_off_the_next_look_through_the_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a tree with more files than the scan hands out ahead,
    root = tmp_path / "root"
    root.mkdir()
    for number in range(5):
        (root / f"{number}.dat").write_bytes(b"data")
    monkeypatch.setattr(finding, "MAX_CANDIDATES", 1)
    clock = FakeClock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    job = SendJob(root, TOPIC, 1000, Filter(), "", settle=0.0)
    ledger = Ledger(tmp_path / "ledger.sqlite", {}, [])
    finder = Finder(job, ledger, lambda _: None, SendStats(), None)
    time.sleep(2 * TICK_SECONDS)
    # when sending each takes an hour,
    found = []
    for _ in range(10):
        finder.advance()
        clock.advance(3600)
        if (settled := finder.next_settled()) is not None:
            assert settled.identity is not None
            found.append(settled.native)
            ledger.note(Entry(*split(settled.native), SENT, *settled.identity.kept()))
    assert sorted(found) == [f"{number}.dat" for number in range(5)]
    # then a file that appears after the first look is found by the next one, soon.
    (root / "new.dat").write_bytes(b"data")
    time.sleep(2 * TICK_SECONDS)
    clock.advance(finding.RESCAN_SECONDS + 1)
    finder.advance()
    settled = finder.next_settled()
    assert settled is not None
    assert settled.native == "new.dat"
    ledger.close()
