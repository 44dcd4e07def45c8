"""What a part found: tables for people, panels for its plot, and every single run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec


class Run(msgspec.Struct, frozen=True):
    """One process from start to end: seconds of the clock and of the processor, peak bytes."""

    seconds: float
    cpu: float
    rss: int


class Table(msgspec.Struct):
    """Each row is a contestant or a size, its name first. A number has its unit in the column's
    name; a cell that says nothing is empty."""

    title: str
    columns: list[str]
    rows: list[list[str | float]] = []


class Bar(msgspec.Struct, frozen=True):
    """A median, and how far the repeats went."""

    name: str
    median: float
    least: float
    most: float

    @classmethod
    def of(cls, name: str, values: Sequence[float]) -> Bar:
        return cls(name, statistics.median(values), min(values), max(values))

    def cells(self) -> list[str | float]:
        return [self.name, self.median, self.least, self.most]


class Bars(msgspec.Struct, tag="bars"):
    """A panel in which contestants are compared. Those whose name has openmsi in it are ours."""

    title: str
    unit: str
    bars: list[Bar]


class Lines(msgspec.Struct, tag="lines"):
    """A panel of numbers over a size, which is drawn logarithmically unless it is a `time`. Where
    `names` are given, x counts them from 0. `log`: y is logarithmic if it goes far enough."""

    title: str
    across: str
    unit: str
    lines: dict[str, list[tuple[float, float]]]
    names: list[str] = []
    log: bool = False
    time: bool = False


class Fact(msgspec.Struct, frozen=True):
    """A line of the table of what a user may expect."""

    what: str
    measured: str


class Result(msgspec.Struct):
    """`runs` has every repeat of every contestant; `samples` what else was measured one by one."""

    tables: list[Table]
    panels: list[Bars | Lines]
    facts: list[Fact] = []
    notes: list[str] = []
    runs: dict[str, list[Run]] = {}
    samples: dict[str, list[float]] = {}


def timed(
    title: str, amount: tuple[float, str], seconds: dict[str, list[float]], note: str
) -> Result:
    """What each was measured by: its seconds for an amount, in MB or files."""
    total, unit = amount
    bars = [Bar.of(name, [total / each for each in taken]) for name, taken in seconds.items()]
    return Result(
        tables=[Table(title, [f"{unit}/s", "min", "max"], [each.cells() for each in bars])],
        panels=[Bars(title, f"{unit}/s", bars)],
        notes=[note],
        samples=seconds,
    )


class Report(msgspec.Struct):
    """A result, and on what it was measured: what is kept as JSON."""

    part: str
    date: str
    minutes: float
    machine: dict[str, str]
    versions: dict[str, str]
    options: dict[str, object]
    result: Result


def number(value: str | float) -> str:
    """Three digits that count; all of them where there are more before the point."""
    if isinstance(value, str):
        return value
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return f"{value:.3g}"
