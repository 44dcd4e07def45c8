"""python -m benchmarks.document [--plots]: the results in docs/performance/ into the page.

In docs/performance.md, what stands between `<!-- PART -->` and `<!-- end -->` is the tables and the
plot of that part; after `<!-- expect -->`, one table of what all parts say to a user. --plots also
draws the plots again.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from benchmarks.parts import PARTS
from benchmarks.plot import plot
from benchmarks.report import read
from benchmarks.results import Report, Table, number

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
RESULTS = DOCS / "performance"
EXPECT = "expect"
_MACHINE = {"cores": "cores", "processor": "", "memory": "of memory", "file system": ""}

_BLOCK = re.compile(r"(<!-- ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def reports(directory: Path) -> dict[str, Report]:
    """Those that are there, in the order of the parts."""
    files = {part: directory / f"{part}.json" for part in PARTS}
    return {part: read(file) for part, file in files.items() if file.exists()}


def written(page: str, found: dict[str, Report]) -> str:
    """The page with the results in it.

    Raises:
        ValueError: it names a part that does not exist, or does not name one that does.
    """
    named = [name for _, name, _ in _BLOCK.findall(page)]
    if sorted(named) != sorted([*PARTS, EXPECT]):
        raise ValueError(f"the page has {named}, the parts are {[*PARTS, EXPECT]}")

    def block(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        text = _expect(found) if name == EXPECT else _part(name, found.get(name))
        return f"{begin}{text}\n{end}"

    return _BLOCK.sub(block, page)


def _expect(found: dict[str, Report]) -> str:
    facts = [fact for each in found.values() for fact in each.result.facts]
    if not facts:
        return "Nothing has been measured yet."
    return _markdown(["", "measured"], [[fact.what, fact.measured] for fact in facts])


def _part(name: str, report: Report | None) -> str:
    if report is None:
        return f"Not measured yet: `python -m benchmarks {name}`."
    tables = [_table(each, len(report.result.tables) > 1) for each in report.result.tables]
    image = f"![{report.result.tables[0].title}]({RESULTS.name}/{name}.png)"
    notes = " ".join(report.result.notes)
    versions = ", ".join(f"{key} {value}" for key, value in report.versions.items())
    machine = ", ".join(f"{report.machine[key]} {what}".strip() for key, what in _MACHINE.items())
    repeats = f"{report.options['repeats']} repeats, {number(report.minutes)} minutes"
    measured = f"<sub>{report.date}, {repeats}; {machine}; {versions}</sub>"
    return "\n\n".join([*tables, image, *([notes] if notes else []), measured])


def _table(table: Table, titled: bool) -> str:
    text = _markdown(["", *table.columns], table.rows)
    return f"**{table.title}**\n\n{text}" if titled else text


def _markdown(columns: list[str], rows: list[list[str | float]]) -> str:
    numbers = all(not isinstance(cell, str) for row in rows for cell in row[1:])
    lines = [columns, ["---"] + ["---:" if numbers else "---"] * (len(columns) - 1)]
    lines += [[number(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.document", description=__doc__)
    parser.add_argument("--plots", action="store_true", help="draw the plots again")
    found = reports(RESULTS)
    if parser.parse_args().plots:
        for part, each in found.items():
            plot(each, RESULTS / f"{part}.png")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    main()
