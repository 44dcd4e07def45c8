"""Decides when a file is settled: its writer is done with it. Pure; times are arguments.

Closed after writing (where the system tells), or unchanged for the quiet period. A file that
was sent a moment ago and is closed again is probably written in many small steps: for it,
being closed means nothing and the quiet period counts.
"""

from __future__ import annotations

import heapq

from openmsi.send.files import Identity

# A file system may round times: two writes within this share one mtime. So a file is read only
# when its last change is at least this old, and a change during the read cannot hide.
TICK_SECONDS = 0.015
COARSE_TICK_SECONDS = 2.0  # FAT and some network drives keep whole seconds only


class _Candidate:
    __slots__ = ("due", "identity", "since")

    def __init__(self, due: float, identity: Identity | None, since: float) -> None:
        self.due = due
        self.identity = identity
        self.since = since


class Settler:
    """Holds the files that wait to be settled.

    Args:
        quiet: seconds without change after which a file counts as settled.
    """

    def __init__(self, quiet: float) -> None:
        self._quiet = quiet
        self._waiting: dict[str, _Candidate] = {}
        self._heap: list[tuple[float, str]] = []
        self._busy: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def seen(self, native: str, identity: Identity, now: float, wall_ns: int) -> None:
        """The file was looked at. `now` is monotonic seconds, `wall_ns` the time of day in ns."""
        known = self._waiting.get(native)
        if known is not None and known.identity in (identity, None):
            return
        age = (wall_ns - identity.touched_ns) / 1e9
        fresh = known is not None or self._is_busy(native, now)
        quiet = 0.0 if age >= self._quiet and not fresh else self._quiet
        self._wait(native, now, quiet, identity)

    def closed(self, native: str, now: float) -> None:
        """The system told that a writer closed the file, or that it was renamed into place."""
        if self._is_busy(native, now):
            self._wait(native, now, self._quiet, None)
        else:
            self._wait(native, now, TICK_SECONDS, None)

    def again(self, native: str, now: float, seconds: float) -> None:
        """Look at the file again in `seconds`: it could not be read, or was too fresh."""
        self._wait(native, now, seconds, None)

    def sent(self, native: str, now: float) -> None:
        """A version of the file was just read."""
        if len(self._busy) > 10_000:
            self._busy = {each: until for each, until in self._busy.items() if until > now}
        self._busy[native] = now + 5 * self._quiet

    def _is_busy(self, native: str, now: float) -> bool:
        return self._busy.get(native, now) > now

    def _wait(self, native: str, now: float, seconds: float, identity: Identity | None) -> None:
        known = self._waiting.get(native)
        due = now + seconds
        self._waiting[native] = _Candidate(due, identity, known.since if known else now)
        heapq.heappush(self._heap, (due, native))

    def due(self, now: float) -> tuple[str, Identity | None] | None:
        """Take out one file whose time has come, with the identity it must still have (None:
        any); None when there is none."""
        while self._heap and self._heap[0][0] <= now:
            due, native = heapq.heappop(self._heap)
            candidate = self._waiting.get(native)
            if candidate is not None and candidate.due == due:
                del self._waiting[native]
                return native, candidate.identity
        return None

    def unsettled(self) -> list[str]:
        """The files that wait."""
        return list(self._waiting)

    def waiting_since(self) -> float | None:
        """When the first of the files that wait was seen first; None when none waits."""
        return min((each.since for each in list(self._waiting.values())), default=None)

    def next_due(self) -> float | None:
        """When the next file's time comes, at the earliest."""
        return self._heap[0][0] if self._heap else None


def tick_seconds(identity: Identity) -> float:
    """How old a change must be so that the next one gets another mtime."""
    coarse = identity.touched_ns % 1_000_000_000 == 0
    return COARSE_TICK_SECONDS if coarse else TICK_SECONDS
