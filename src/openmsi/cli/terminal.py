"""The progress display on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.filesize import decimal
from rich.live import Live
from rich.table import Table
from rich.text import Text

from openmsi import events
from openmsi.cli.show import SUMMARIES, Doing, clean, sentence
from openmsi.events import Event, Report

# Told above the display; single files are not.
_TELLING = (
    events.FileFailed,
    events.FileSkipped,
    events.FileChanged,
    events.FileKept,
    events.VersionStale,
    events.DeadLetter,
    events.Waiting,
    events.Resumed,
    events.Notice,
    events.Started,
    *SUMMARIES,
)


@contextmanager
def live(doing: Callable[[], Doing | None]) -> Iterator[Report]:
    """A way to report events above a progress display of what `doing` returns."""
    console = Console()
    display = Live(console=console, get_renderable=lambda: _picture(doing()), refresh_per_second=5)

    def report(event: Event) -> None:
        if isinstance(event, _TELLING):
            console.print(Text(clean(sentence(event))))

    with display:
        yield report


def _picture(doing: Doing | None) -> Table | Text:
    if doing is None:
        return Text("")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(Text(doing.headline, style="bold"))
    for name, done, size in doing.files[:6]:
        share = f"{100 * done // size:3d} %" if size else ""
        bar = "━" * (20 * done // size) if size else ""
        line = f"  {bar:<20} {share:>5} {decimal(done):>9}  {clean(name)}"
        grid.add_row(Text(line, overflow="ellipsis", no_wrap=True))
    return grid
