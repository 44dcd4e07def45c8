"""How much may be sent now, when somebody wants less than all that the line takes. Pure."""

from __future__ import annotations

BURST_SECONDS = 1.0


class Pace:
    """Spreads bytes over time. Times are monotonic seconds.

    Args:
        rate: bytes a second, on average; None for no limit. After a pause up to a second's worth
            may go at once, and a chunk is never divided.
    """

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._paid_until = float("-inf")

    def spent(self, size: int, now: float) -> None:
        """`size` bytes are on their way."""
        if self._rate is not None:
            begin = max(self._paid_until, now - BURST_SECONDS)
            self._paid_until = begin + size / self._rate

    def wait(self, now: float) -> float:
        """Seconds until more may be sent; 0 for at once."""
        return max(0.0, self._paid_until - now)
