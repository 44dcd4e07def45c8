"""The plot of one part, 700 px wide where it is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.results import Bars, Lines, Report, number

_OURS, _OTHERS = "#1f6f8b", "#b8c4c9"
_LINES = ("#1f6f8b", "#d0743c", "#5b8c5a", "#7d5ba6")
_TEXT = "#333333"
_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": _TEXT,
    "text.color": _TEXT,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "grid.color": "#e4e4e4",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_WIDTH = 7.0  # inches of 100 px; drawn twice as fine


def plot(report: Report, file: Path) -> None:
    """Raises ImportError without matplotlib: pip install 'openmsi[benchmarks]'."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = report.result.panels
    across = 2 if len(panels) > 1 and all(isinstance(each, Lines) for each in panels) else 1
    rows = [panels[at : at + across] for at in range(0, len(panels), across)]
    heights = [max(map(_height, row)) for row in rows]
    with pyplot.rc_context(_STYLE):
        figure, grid = pyplot.subplots(
            len(rows),
            across,
            figsize=(_WIDTH, sum(heights)),
            height_ratios=heights,
            squeeze=False,
            layout="constrained",
        )
        for row, axes in zip(rows, grid, strict=True):
            for panel, each in zip(row, axes, strict=False):
                _bars(each, panel) if isinstance(panel, Bars) else _lines(each, panel)
            for each in axes[len(row) :]:
                each.set_visible(False)
        # Without the date and the program's version that it would have, so that it can be compared.
        figure.savefig(file, dpi=200, metadata={"Software": None})
        pyplot.close(figure)


def _height(panel: Bars | Lines) -> float:
    return 0.75 + 0.32 * len(panel.bars) if isinstance(panel, Bars) else 2.6


def _bars(axes: Any, panel: Bars) -> None:
    names = [each.name for each in panel.bars]
    values = [each.median for each in panel.bars]
    ours = any("openmsi" in name for name in names)
    colours = [_OURS if "openmsi" in name or not ours else _OTHERS for name in names]
    whiskers = [
        [each.median - each.least for each in panel.bars],
        [each.most - each.median for each in panel.bars],
    ]
    axes.barh(
        names,
        values,
        color=colours,
        height=0.66,
        xerr=whiskers,
        error_kw={"ecolor": "#555555", "elinewidth": 1, "capsize": 3},
    )
    for at, each in enumerate(panel.bars):
        axes.annotate(
            number(each.median),
            (each.most, at),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_xlim(0, 1.14 * max(each.most for each in panel.bars))
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(panel.unit)
    axes.set_title(panel.title)


def _lines(axes: Any, panel: Lines) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    for (name, points), colour in zip(panel.lines.items(), _LINES, strict=False):
        x, y = zip(*points, strict=True)
        axes.plot(x, y, marker="o", markersize=4, color=colour, label=name)
    most = max(y for points in panel.lines.values() for _, y in points)
    least = min(y for points in panel.lines.values() for _, y in points)
    if panel.log and most > 10 * least:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    else:
        axes.set_ylim(0, 1.2 * most or 1)
    if panel.names:
        axes.set_xticks(range(len(panel.names)), panel.names)
        axes.margins(x=0.08)
    elif not panel.time:
        sizes = sorted({x for points in panel.lines.values() for x, _ in points})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{each:,.0f}" for each in sizes])
        axes.set_xticks([], minor=True)
        axes.margins(x=0.1)
    axes.grid(True)
    if len(panel.lines) > 1:
        axes.legend()
    axes.set_xlabel(panel.across)
    axes.set_ylabel(panel.unit)
    axes.set_title(panel.title)
