"""Finds the files that are settled and not in the ledger: scan, hints and patience together."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from openmsi.events import FileSkipped, Notice, Report
from openmsi.send.files import Identity, identity_of, skip_reason
from openmsi.send.job import SendJob, SendStats
from openmsi.send.ledger import BASELINE, SENT, Entry, Ledger, split
from openmsi.send.names import shown
from openmsi.send.scan import Found, Skipped, Step, Unchanged, scan
from openmsi.send.settle import Settler, tick_seconds
from openmsi.send.watch import Hint, Watcher

MAX_CANDIDATES = 20_000  # then the scan pauses
SCAN_STEPS = 2_000  # entries a turn
RETRY_SECONDS, MAX_RETRY_SECONDS = 10.0, 600.0
# A quiet tree is scanned again after so many seconds, or so many times what the scan took.
RESCAN_SECONDS, RESCAN_FACTOR = 10.0, 200
POLL_SECONDS, POLL_FACTOR = 2.0, 20  # where the system gives no file events
IDLE_SECONDS = 0.25


class Settled(NamedTuple):
    """A file to look into now. `identity` is None when it is gone; `problem` says why it cannot
    even be looked at."""

    native: str
    identity: Identity | None
    problem: str = ""


class Finder:
    """Hands out settled files, one at a time.

    Args:
        on_unchanged: is told of each file that the scan finds sent already.
    """

    def __init__(
        self,
        job: SendJob,
        ledger: Ledger,
        report: Report,
        stats: SendStats,
        on_unchanged: Callable[[Entry], None] | None,
    ) -> None:
        self._on_unchanged = on_unchanged
        self._job = job
        self._ledger = ledger
        self._report = report
        self._stats = stats
        self._settler = Settler(0.0 if job.once else job.settle)
        self._watcher: Watcher | None = None
        self._has_events = False
        self._scans: deque[Iterator[Step]] = deque()
        self._full_scan: Iterator[Step] | None = None
        self._scan_seconds = 0.0  # without what was sent meanwhile
        self._next_scan = 0.0
        self._scanned_once = False
        self._told: set[str] = set()
        self._retry: dict[str, tuple[float, float]] = {}

    def begin(self) -> None:
        """Start to watch, before the first scan, so that nothing falls between."""
        if not self._job.once:
            self._watcher = Watcher(self._job.root)
            why = self._watcher.start()
            self._has_events = not why
            if why:
                text = f"{self._job.root}: no file events ({why}); it is scanned often instead"
                self._report(Notice(text))
        if self._job.new_only and self._ledger.meta("baseline") is None:
            self._take_baseline()

    def stop(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()

    def _take_baseline(self) -> None:
        for step in scan(self._job.root, "", self._job.filter, self._ledger.directory):
            if isinstance(step, Found):
                self._ledger.note(Entry(*split(step.native), BASELINE, *step.identity.kept()))
        self._ledger.flush()
        self._ledger.set_meta("baseline", str(time.time()))

    # -- what the sender asks --------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """For a job to be done once: everything was handed out."""
        return self._job.once and self._scanned_once and not len(self._settler)

    @property
    def scanning(self) -> bool:
        return bool(self._scans)

    @property
    def has_settled(self) -> bool:
        """Is there a file to hand out now?"""
        due = self._settler.next_due()
        return due is not None and due <= time.monotonic()

    def waiting(self) -> int:
        """How many files are known to wait."""
        return len(self._settler)

    def waiting_since(self) -> float | None:
        """Since when the first of them waits, by the monotonic clock; for any thread."""
        return self._settler.waiting_since()

    def listen(self, idle: bool) -> None:
        """Take the hints there are; when `idle`, wait a little for the first."""
        if self._watcher is None:
            return
        now = time.monotonic()
        due = self._settler.next_due()
        until = min(self._next_scan, now + IDLE_SECONDS, now + IDLE_SECONDS if due is None else due)
        wait = max(0.0, until - now) if idle and not self._scans else 0.0
        for hint in self._watcher.take(wait):
            self._take_hint(hint)

    def advance(self) -> None:
        """Go on with the scan for a while, or begin the next when it is time."""
        now = time.monotonic()
        if not self._scans:
            if (self._job.once and self._scanned_once) or now < self._next_scan:
                return
            self._scan_seconds = 0.0
            self._full_scan = self._all_files()
            self._scans.append(self._full_scan)
        ended = self._scan_some(now)
        self._scan_seconds += time.monotonic() - now
        if ended:
            self._scan_ended()

    def next_settled(self) -> Settled | None:
        """The next file whose time has come."""
        now = time.monotonic()
        while (candidate := self._settler.due(now)) is not None:
            native, expected = candidate
            try:
                stat = os.lstat(os.path.join(self._job.root, native))
            except (FileNotFoundError, NotADirectoryError):
                return Settled(native, None)
            except OSError as error:
                return Settled(native, None, error.strerror or str(error))
            if skip_reason(stat.st_mode):
                continue
            identity = identity_of(stat)
            age = (time.time_ns() - identity.touched_ns) / 1e9
            if expected is not None and identity != expected:
                self._settler.seen(native, identity, now, time.time_ns())
            elif 0 <= age < tick_seconds(identity):
                self._settler.again(native, now, tick_seconds(identity) - age)
            else:
                return Settled(native, identity)
        return None

    def growing(self, least: int) -> Iterator[Settled]:
        """The files that are not settled but have `least` bytes already."""
        now = time.monotonic()
        for native in self._settler.unsettled():
            if self._retry.get(native, (now, 0))[0] > now:
                continue
            try:
                stat = os.lstat(os.path.join(self._job.root, native))
            except OSError:
                continue
            if not skip_reason(stat.st_mode) and stat.st_size >= least:
                yield Settled(native, identity_of(stat))

    def started(self, native: str) -> None:
        """A version of the file is being read."""
        self._settler.sent(native, time.monotonic())

    def again(self, native: str, seconds: float) -> None:
        """Hand out the file again after `seconds`."""
        self._settler.again(native, time.monotonic(), seconds)

    def look_at(self, native: str) -> bool:
        """Hand out the file when it is quiet. Returns False when there is none."""
        try:
            stat = os.lstat(os.path.join(self._job.root, native))
        except OSError:
            return False
        if not skip_reason(stat.st_mode):
            self._settler.seen(native, identity_of(stat), time.monotonic(), time.time_ns())
        return True

    def failed(self, native: str) -> bool:
        """The file failed: try it again, each time later. Returns whether it is the first time."""
        first = native not in self._retry
        delay = min(2 * self._retry.get(native, (0.0, RETRY_SECONDS / 2))[1], MAX_RETRY_SECONDS)
        self._retry[native] = (time.monotonic() + delay, delay)
        return first

    def succeeded(self, native: str) -> None:
        self._retry.pop(native, None)

    # -- hints -----------------------------------------------------------------------------

    def _take_hint(self, hint: Hint) -> None:
        now = time.monotonic()
        if hint.kind == "scan":
            if not hint.native or self._job.filter.enters(hint.native):
                walk = scan(self._job.root, hint.native, self._job.filter, self._known)
                self._scans.append(walk)
        elif not self._job.filter.takes_all(hint.native):
            return
        elif hint.kind == "closed":
            self._retry.pop(hint.native, None)
            self._settler.closed(hint.native, now)
        else:
            self.look_at(hint.native)

    # -- the scan --------------------------------------------------------------------------

    def _known(self, directory: str) -> dict[str, Entry]:
        entries = self._ledger.directory(directory)
        if self._job.new_only:
            return entries
        return {name: each for name, each in entries.items() if each.state != BASELINE}

    def _all_files(self) -> Iterator[Step]:
        if self._job.only is None:
            return scan(self._job.root, "", self._job.filter, self._known)
        return self._named_files(self._job.only)

    def _named_files(self, names: frozenset[str]) -> Iterator[Step]:
        # A file that is named is sent, whatever the default filters say of its name.
        for name in sorted(names):
            try:
                stat = os.lstat(os.path.join(self._job.root, name))
            except OSError as error:
                yield Skipped(name, f"it cannot be looked at: {error.strerror}")
                continue
            reason = skip_reason(stat.st_mode)
            identity = identity_of(stat)
            known = self._ledger.entry(name)
            if reason:
                yield Skipped(name, reason)
            elif known is not None and known.state == SENT and known.describes(identity):
                yield Unchanged(known)
            else:
                yield Found(name, identity)

    def _scan_some(self, now: float) -> bool:
        """Returns whether the walk is at its end."""
        for _ in range(SCAN_STEPS):
            if len(self._settler) >= MAX_CANDIDATES:
                return False
            try:
                step = next(self._scans[0])
            except StopIteration:
                return True
            self._take_step(step, now)
        return False

    def _scan_ended(self) -> None:
        if self._scans.popleft() is not self._full_scan:
            return
        self._full_scan = None
        self._scanned_once = True
        now = time.monotonic()
        least, factor = (
            (RESCAN_SECONDS, RESCAN_FACTOR) if self._has_events else (POLL_SECONDS, POLL_FACTOR)
        )
        self._next_scan = now + max(least, factor * self._scan_seconds)

    def _take_step(self, step: Step, now: float) -> None:
        if isinstance(step, Found):
            if self._retry.get(step.native, (now, 0))[0] <= now:
                self._settler.seen(step.native, step.identity, now, time.time_ns())
        elif isinstance(step, Skipped):
            if step.native not in self._told:
                self._told.add(step.native)
                self._stats.skipped += 1
                self._report(FileSkipped(shown(step.native), step.reason))
        elif isinstance(step, Unchanged):
            if not self._scanned_once:
                self._stats.already_sent += 1
            if self._on_unchanged is not None and step.entry.state == SENT:
                self._on_unchanged(step.entry)
