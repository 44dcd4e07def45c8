"""One part of an agent in a thread of its own: run, watched, and started again when it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from openmsi import events
from openmsi.agent.status import (
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
    STOPPING,
    WAITING,
    PartStatus,
)
from openmsi.config import AgentSettings, Heartbeat, Part
from openmsi.errors import OpenMSIError
from openmsi.events import Event, Report

log = logging.getLogger(__name__)

BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 60.0
# A broker that was away is found again within so many seconds.
MAX_WAIT_SECONDS = 5.0
REMIND_SECONDS = 3600.0
WELL_SECONDS = 60.0  # a part that ran so long begins again with the shortest backoff

# How an event counts, by its type; the others only tell.
_FILES = {
    events.FileSent: "sent",
    events.FileRebuilt: "rebuilt",
    events.FileFailed: "failed",
    events.FileSkipped: "skipped",
    events.FileVanished: "vanished",
    events.FileMoved: "moved",
    events.FileDeleted: "deleted",
    events.FileKept: "kept",
    events.DeadLetter: "dead-letter",
    events.VersionStale: "stale",
}


@dataclass(frozen=True)
class Counts:
    """What a part has before it now: files, their greatest age in seconds, records."""

    waiting: int = 0
    in_flight: int = 0
    oldest_seconds: float | None = None
    lag: int | None = None


@dataclass(frozen=True)
class Task:
    """What a worker gets.

    Args:
        report: hears of every file.
        stop: must be asked in every turn of the worker's loop; so it is known to be alive.
        counts: is given a function that tells at any time what the worker has before it.
    """

    part: Part
    settings: AgentSettings
    report: Report
    stop: Callable[[], bool]
    counts: Callable[[Callable[[], Counts]], None]


# Does the part's work until it is to stop. What it raises is told, and it is called again.
Worker = Callable[[Task], None]
Tell = Callable[[Part, Event], None]


class Supervised:
    """One part at work.

    Args:
        tell: hears of everything; called in the part's thread.
    """

    def __init__(self, part: Part, settings: AgentSettings, worker: Worker, tell: Tell) -> None:
        self.part = part
        self.settings = settings
        self._worker = worker
        self._tell = tell
        self._counts: Callable[[], Counts] = Counts
        self._stop = threading.Event()
        self._state, self._since, self._reason = STARTING, time.time(), ""
        self._turned: float | None = None
        self._told, self._told_at = "", 0.0
        self._restarts = 0
        self._files: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._bytes = 0
        self._last_success: float | None = None
        self._thread = threading.Thread(target=self._run, name=part.title, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask it to stop, and return at once."""
        if not self._stop.is_set():
            self._enter(STOPPING)
            self._stop.set()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, seconds: float) -> bool:
        """Wait until it has stopped. Returns whether it has."""
        self._thread.join(max(0.0, seconds))
        return not self.alive

    def silent_seconds(self) -> float:
        """For how long its loop did not turn; 0 while it is not in it."""
        turned = self._turned
        return 0.0 if turned is None else time.monotonic() - turned

    def take_over(self, former: Supervised) -> None:
        """Go on counting where `former`, with the same title, has stopped."""
        self._files, self._errors = former._files, former._errors
        self._bytes, self._last_success = former._bytes, former._last_success

    def status(self) -> PartStatus:
        counts = self._counts()
        part = self.part
        return PartStatus(
            part.title,
            type(part).__name__.lower(),
            part.topic,
            "" if isinstance(part, Heartbeat) else str(part.directory),
            self._state,
            self._since,
            self._reason,
            self._restarts,
            dict(self._files),
            self._bytes,
            dict(self._errors),
            self._last_success,
            counts.waiting,
            counts.in_flight,
            counts.oldest_seconds,
            counts.lag,
        )

    # -- in the part's thread ------------------------------------------------------------------

    def _run(self) -> None:
        backoff = BACKOFF_SECONDS
        while not self._stop.is_set():
            began = time.monotonic()
            error = self._work()
            self._turned = None
            self._counts = Counts
            passing = isinstance(error, OpenMSIError) and error.retriable
            if self._stop.is_set():
                if error is not None and not passing:
                    log.warning("stopped with an error: part=%r error=%s", self.part.title, error)
                break
            if time.monotonic() - began > WELL_SECONDS:
                backoff, self._told = BACKOFF_SECONDS, ""
            backoff = min(backoff, MAX_WAIT_SECONDS) if passing else backoff
            self._failed(error, passing, backoff)
            self._stop.wait(backoff)
            backoff = min(2 * backoff, MAX_BACKOFF_SECONDS)
        self._enter(STOPPED)
        self._tell(self.part, events.Stopped())

    def _work(self) -> Exception | None:
        if self._restarts == 0:
            self._enter(STARTING)
        task = Task(self.part, self.settings, self._hear, self._shall_stop, self._watch_counts)
        try:
            self._worker(task)
        except OpenMSIError as error:
            return error
        except Exception as error:
            log.error("part=%r error=%r", self.part.title, error, exc_info=True)
            return error
        return None

    def _failed(self, error: Exception | None, passing: bool, backoff: float) -> None:
        self._restarts += 1
        if error is None:
            reason = "it ended by itself"
        elif isinstance(error, OpenMSIError):
            reason = str(error)
        else:
            reason = f"an error of openmsi itself: {error!r}"
        self._errors[type(error).__name__ if error else "Ended"] += 1
        self._enter(WAITING if passing else RESTARTING, reason)
        # The same again and again, for days perhaps, is not told each time.
        now = time.monotonic()
        if reason != self._told or now - self._told_at > REMIND_SECONDS:
            self._told, self._told_at = reason, now
            event = events.Waiting(reason) if passing else events.Restarting(reason, backoff)
            self._tell(self.part, event)

    def _shall_stop(self) -> bool:
        stopping = self._stop.is_set()
        self._turned = None if stopping else time.monotonic()
        return stopping

    def _watch_counts(self, counts: Callable[[], Counts]) -> None:
        self._counts = counts

    def _hear(self, event: Event) -> None:
        if isinstance(event, events.Waiting):
            self._errors["Waiting"] += 1
            self._enter(WAITING, event.reason)
        elif isinstance(event, (events.Started, events.Resumed)):
            self._told = ""
            self._enter(RUNNING)
        if kind := _FILES.get(type(event)):
            self._files[kind] += 1
        if isinstance(event, (events.FileSent, events.FileRebuilt)):
            self._bytes += event.size
            self._last_success = time.time()
        elif isinstance(event, events.DeadLetter):
            self._errors[event.reason] += 1
        elif isinstance(event, (events.FileFailed, events.FileKept)):
            self._errors[type(event).__name__] += 1
        self._tell(self.part, event)

    def _enter(self, state: str, reason: str = "") -> None:
        if self._stop.is_set() and state != STOPPED:
            return
        if (state, reason) != (self._state, self._reason):
            self._state, self._reason, self._since = state, reason, time.time()
