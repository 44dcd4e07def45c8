"""Tables for people, JSON for programs, plots if matplotlib is there."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from pathlib import Path

from rich.console import Console
from rich.table import Table as Shown

from benchmarks.lab import Table


def show(table: Table) -> None:
    shown = Shown(title=table.title, caption=table.note or None, title_justify="left")
    shown.add_column("")
    for column in table.columns:
        shown.add_column(column, justify="right")
    for name, *values in table.rows:
        shown.add_row(str(name), *(_number(float(each)) for each in values))
    Console().print(shown)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def write(tables: dict[str, Table], directory: Path) -> None:
    """Each table as JSON, with what it was measured on; and as a plot of its first column."""
    directory.mkdir(parents=True, exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.platform()}, Python {platform.python_version()}"
    for name, table in tables.items():
        content = {"machine": machine, **dataclasses.asdict(table)}
        (directory / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        _plot(table, directory / f"{name}.png")


def _plot(table: Table, file: Path) -> None:
    try:
        from matplotlib import pyplot
    except ImportError:
        return
    names = [str(row[0]) for row in table.rows]
    values = [float(row[1]) for row in table.rows]
    figure, axes = pyplot.subplots(figsize=(7, 0.6 + 0.5 * len(names)))
    bars = axes.barh(names, values, color=["#1f6f8b"] + ["#b8c4c9"] * (len(names) - 1))
    axes.bar_label(bars, [_number(each) for each in values], padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(table.columns[0])
    axes.set_title(table.title, loc="left")
    axes.margins(x=0.15)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)
