"""How events look: progress bars on a terminal, plain lines otherwise, JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec
from rich.filesize import decimal

from openmsi import events
from openmsi.events import Event, Report


class Doing(NamedTuple):
    """What a progress display shows: one headline, and a line for each file on its way."""

    headline: str
    files: Sequence[tuple[str, int, int | None]]  # name, bytes done, bytes in all if known


def clean(text: str) -> str:
    """`text` on one line, without anything that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def sentence(event: Event) -> str:
    """One line for a person."""
    match event:
        case events.FileSent():
            return f"sent      {event.path}  ({decimal(event.size)}, {event.seconds:.2f} s)"
        case events.FileRebuilt():
            return f"rebuilt   {event.path}  ({decimal(event.size)})"
        case events.FileFailed():
            more = "; it will be tried again" if event.retry else ""
            return f"failed    {event.path}: {one_line(event.reason)}{more}"
        case events.FileVanished():
            return f"vanished  {event.path}: it was gone before it was settled"
        case events.FileSkipped():
            return f"skipped   {event.path}: {event.reason}"
        case events.FileChanged():
            return f"changed   {event.path}: {event.reason}; it is sent again when settled"
        case events.FileMoved():
            return f"moved     {event.path} to {event.to}"
        case events.FileDeleted():
            return f"deleted   {event.path}"
        case events.FileKept():
            return f"kept      {event.path}: {event.reason}"
        case events.VersionAborted():
            return f"aborted   {event.path}: {event.reason}"
        case events.VersionStale():
            return f"stale     {event.path}: nothing came for a long time; it is not complete"
        case events.DeadLetter():
            where = f"{event.topic}[{event.partition}] at {event.first_offset}"
            return f"dead letter {where}: {event.reason}: {event.detail}"
        case events.Waiting():
            return f"waiting   {one_line(event.reason)}"
        case events.Resumed():
            return "resumed"
        case events.Notice():
            return f"note      {event.text}"
        case events.Started():
            group = f", group {event.group}" if event.group else ""
            return f"started   {event.directory} with topic {event.topic}{group}"
        case events.Restarting():
            return f"failed    {one_line(event.reason)}; started again in {event.seconds:g} s"
        case events.Stopped():
            return "stopped"
        case events.SendSummary():
            return _send_summary(event)
        case events.ReceiveSummary():
            return _receive_summary(event)
    raise AssertionError(f"no sentence for {event!r}")


def one_line(text: str) -> str:
    """An error's cure stands on a line of its own; here it follows."""
    return text.replace("\n  ", ". ")


def _send_summary(event: events.SendSummary) -> str:
    parts = [f"{event.sent} sent ({decimal(event.bytes)} in {event.seconds:.1f} s)"]
    if event.already_sent:
        parts.append(f"{event.already_sent} already in the topic")
    if event.skipped:
        parts.append(f"{event.skipped} skipped")
    parts.append(f"{event.failed} failed")
    return "files: " + ", ".join(parts)


def _receive_summary(event: events.ReceiveSummary) -> str:
    parts = [f"{event.rebuilt} rebuilt ({decimal(event.bytes)} in {event.seconds:.1f} s)"]
    if event.incomplete:
        parts.append(f"{event.incomplete} incomplete")
    parts.append(f"{event.dead_letters} dead letters")
    return "files: " + ", ".join(parts)


SUMMARIES = (events.SendSummary, events.ReceiveSummary)


def report_json(event: Event) -> None:
    sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    sys.stdout.flush()


def report_plain(event: Event) -> None:
    stamp = "" if isinstance(event, SUMMARIES) else time.strftime("%H:%M:%S ")
    sys.stdout.write(stamp + clean(sentence(event)) + "\n")
    sys.stdout.flush()


@contextmanager
def shown(as_json: bool, doing: Callable[[], Doing | None]) -> Iterator[Report]:
    """A way to report events; on a terminal with a progress display of what `doing` returns."""
    if as_json or not sys.stdout.isatty():
        yield report_json if as_json else report_plain
        return
    from openmsi.cli.terminal import live  # half of `rich`, which others need not load

    with live(doing) as report:
        yield report


class Rate:
    """Bytes a second over the last few seconds."""

    def __init__(self) -> None:
        self._marks = [(time.monotonic(), 0)]

    def __call__(self, total: int) -> str:
        now = time.monotonic()
        self._marks = [mark for mark in self._marks if mark[0] > now - 5] or self._marks[-1:]
        since, before = self._marks[0]
        self._marks.append((now, total))
        return decimal(int((total - before) / max(now - since, 0.1))) + "/s"
