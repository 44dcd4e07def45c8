"""Which bytes of a file are there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class Spans:
    """Ranges of bytes from a start to before an end, disjoint and in order."""

    def __init__(self, spans: list[tuple[int, int]] | None = None) -> None:
        self._starts = [start for start, _ in spans or ()]
        self._ends = [end for _, end in spans or ()]

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def extent(self) -> int:
        """The end of the last one; 0 when there is none."""
        return self._ends[-1] if self._ends else 0

    def reach(self, end: int) -> bool:
        """Is every byte there from the start of the file to before `end`, and none after it?"""
        return self._starts == [0] and self._ends == [end]

    def cover(self, start: int, end: int) -> bool:
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def add(self, start: int, end: int) -> None:
        first = bisect_left(self._ends, start)
        after = bisect_right(self._starts, end)
        if first < after:  # it touches these: they become one
            start = min(start, self._starts[first])
            end = max(end, self._ends[after - 1])
        self._starts[first:after] = [start]
        self._ends[first:after] = [end]

    def list(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._ends, strict=True))
