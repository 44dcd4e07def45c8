"""docs/doctor.md tells every check that `openmsi doctor` makes, and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# The first argument of a Finding that is a plain text, or the choice between two of them.
_CHECK = re.compile(r'Finding\(\s*"([^"]+)"|"(?:state|log)": "(\w+)"')


def test_every_check_is_described() -> None:
    found = set()
    for file in (ROOT / "src" / "openmsi" / "doctor").glob("*.py"):
        for one, other in _CHECK.findall(file.read_text(encoding="utf-8")):
            found.add(one or other)
    page = (ROOT / "docs" / "doctor.md").read_text(encoding="utf-8")
    table = page.partition("| Check | Is about |")[2].partition("\n\n")[0]
    assert len(found) > 10 and set(re.findall(r"^\| `([^`]+)`", table, re.M)) == found
