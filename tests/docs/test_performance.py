"""docs/performance.md says what the results in docs/performance/ say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from benchmarks.document import PAGE, RESULTS, reports, written
from benchmarks.parts import PARTS
from benchmarks.report import read, write
from benchmarks.results import Bar, Bars, Fact, Report, Result, Run, Table

TEXT = PAGE.read_text(encoding="utf-8")


def measured(rate: float) -> Report:
    """As if a part had been run."""
    table = Table("Sent", ["MB/s", "of all"], [["openmsi", rate, 0.954], ["other", 1.26e3, 1]])
    result = Result(
        tables=[table],
        panels=[Bars("Sent", "MB/s", [Bar("openmsi", rate, rate, rate)])],
        facts=[Fact("A large file", "fast | enough")],
        notes=["A note."],
        runs={"openmsi": [Run(1.5, 0.5, 100_000_000)]},
    )
    machine = {"processor": "one", "cores": "2", "memory": "1 GiB", "file system": "ext4"}
    return Report(
        "large-send", "2026-01-01", 1.5, machine, {"openmsi": "1"}, {"repeats": 5}, result
    )


def test_the_page_is_what_the_results_say() -> None:
    page = written(TEXT, reports(RESULTS))
    assert page == TEXT, "run: python -m benchmarks.document"


def test_every_result_has_its_plot_and_is_of_a_part() -> None:
    results = {each.stem for each in RESULTS.glob("*.json")}
    assert results == {each.stem for each in RESULTS.glob("*.png")}
    assert results <= set(PARTS)


def test_another_result_changes_the_page(tmp_path: Path) -> None:
    write(measured(147.6), tmp_path)
    page = written(TEXT, reports(tmp_path))
    assert "| openmsi | 148 | 0.954 |\n| other | 1,260 | 1 |\n" in page
    assert "![Sent](performance/large-send.png)" in page
    assert "A note." in page
    assert (
        "2026-01-01, 5 repeats, 1.5 minutes; 2 cores, one, 1 GiB of memory, ext4; openmsi 1" in page
    )
    assert "| A large file | fast \\| enough |" in page
    again = written(page, {"large-send": measured(98.4)})
    assert "| openmsi | 98.4 | 0.954 |" in again
    assert "148" not in again.partition("<!-- large-send -->")[2].partition("<!-- end -->")[0]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    write(measured(147.6), tmp_path)
    assert read(tmp_path / "large-send.json") == measured(147.6)


def test_a_result_that_lacks_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latency.json").write_text('{"part": "latency"}')
    with pytest.raises(msgspec.ValidationError, match="date"):
        reports(tmp_path)


@pytest.mark.parametrize("change", [("<!-- idle -->", ""), ("<!-- idle -->", "<!-- idol -->")])
def test_every_part_has_its_place_on_the_page(change: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="idle"):
        written(TEXT.replace(*change), {})
