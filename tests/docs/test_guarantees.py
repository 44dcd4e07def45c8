"""docs/guarantees.md and compatibility.md name tests that exist, and every promise names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
COMPATIBILITY = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE + COMPATIBILITY)


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)))
def test_a_named_test_exists(file: str, test: str) -> None:
    assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.M)


def test_every_promise_is_shown_by_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| Promise ")]
    assert len(promises) > 10
    for row in promises:
        assert "::test_" in row.split("|")[3], row


def test_every_trouble_of_the_older_programs_has_a_test() -> None:
    _, _, section = COMPATIBILITY.partition("| With the older programs |")
    rows = [line for line in section.splitlines()[2:] if line.startswith("| ")]
    assert len(rows) > 10
    for row in rows:
        assert "::test_" in row.split("|")[2], row
