"""On average no more than the rate is sent, whatever the sizes; a second is caught up at most."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmsi.send.pace import BURST_SECONDS, Pace


def sent(pace: Pace, sizes: list[int], now: float) -> float:
    """Send these as soon as the pace allows each. Returns when the last one went."""
    for size in sizes:
        now += pace.wait(now)
        pace.spent(size, now)
    return now


@given(st.floats(1, 1e9), st.lists(st.integers(1, 2_000_000), min_size=2, max_size=50))
def test_on_average_no_more_than_the_rate_goes(rate: float, sizes: list[int]) -> None:
    took = sent(Pace(rate), sizes, now=50.0) - 50.0
    # What is under way when the last one goes was paid for, but for the burst.
    assert took == pytest.approx(max(0.0, _longest(sizes, rate)), rel=1e-6, abs=1e-6)


def _longest(sizes: list[int], rate: float) -> float:
    """When the last of `sizes` may go: all before it take their time, but the first second."""
    return sum(sizes[:-1]) / rate - BURST_SECONDS


def test_after_a_pause_a_second_and_one_chunk_are_caught_up_and_no_more() -> None:
    pace = Pace(1000.0)
    pace.spent(1, 0.0)
    at_once = 0
    while pace.wait(3600.0) == 0:
        pace.spent(100, 3600.0)
        at_once += 100
    assert at_once == 1000 * BURST_SECONDS + 100


def test_a_chunk_larger_than_a_second_goes_whole_and_is_waited_for() -> None:
    pace = Pace(1000.0)
    assert pace.wait(0.0) == 0
    pace.spent(10_000, 0.0)
    assert pace.wait(0.0) == pytest.approx(10 - BURST_SECONDS)


def test_without_a_rate_nothing_waits() -> None:
    pace = Pace(None)
    assert sent(pace, [10**12] * 5, now=7.0) == 7.0
