"""A file is handed out when its writer is done with it: not before, and always at last."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openmsi.send.files import Identity
from openmsi.send.settle import COARSE_TICK_SECONDS, TICK_SECONDS, Settler, tick_seconds

QUIET = 2.0
WALL_NS = 1_700_000_000_123_456_789


class World:
    """A clock, one file, and a finder that looks at the file as the real one does."""

    def __init__(self, quiet: float) -> None:
        self.now = 1000.0
        self.settler = Settler(quiet)
        self.size = 0
        self.written_at = self.now
        self.handed_out: list[float] = []

    def wall_ns(self, at: float) -> int:
        return WALL_NS + round(at * 1e9)

    def identity(self) -> Identity:
        touched = self.wall_ns(self.written_at)
        return Identity(self.size, touched, 1, touched)

    def write(self) -> None:
        self.size += 1
        self.written_at = self.now

    def look(self) -> None:
        self.settler.seen("file", self.identity(), self.now, self.wall_ns(self.now))

    def take(self) -> bool:
        candidate = self.settler.due(self.now)
        if candidate is None:
            return False
        native, expected = candidate
        if expected is not None and expected != self.identity():
            self.settler.seen(native, self.identity(), self.now, self.wall_ns(self.now))
            return False
        self.handed_out.append(self.now)
        return True


steps = st.lists(st.sampled_from(["write", "look", 0.1, 0.7, QUIET - 0.01, QUIET, 5.0]))


@settings(deadline=None)
@given(steps)
def test_a_file_is_never_handed_out_before_it_was_quiet(script: list[str | float]) -> None:
    world = World(QUIET)
    for step in script:
        if isinstance(step, float):
            world.now += step
        elif step == "write":
            world.write()
        else:
            world.look()
        if world.take():
            assert world.now - world.written_at >= QUIET - 1e-6


@settings(deadline=None)
@given(steps)
def test_a_file_that_rests_is_always_handed_out_at_last(script: list[str | float]) -> None:
    world = World(QUIET)
    for step in script:
        if isinstance(step, float):
            world.now += step
        elif step == "write":
            world.write()
        else:
            world.look()
        world.take()
    world.write()
    rested = world.now
    world.look()
    for _ in range(3):  # one look at what changed since, and one period of quiet
        world.now += QUIET
        if world.take():
            break
    assert world.handed_out and world.handed_out[-1] > rested


def test_an_old_file_is_handed_out_at_once() -> None:
    world = World(QUIET)
    world.now += 3600
    world.look()
    assert world.take()


def test_a_fresh_file_waits_for_the_quiet_period_from_the_look_on() -> None:
    world = World(QUIET)
    world.write()
    world.look()
    world.now += QUIET - 0.001
    assert not world.take()
    world.now += 0.002
    assert world.take()


def test_a_file_whose_time_of_change_lies_in_the_future_waits_like_a_fresh_one() -> None:
    settler = Settler(QUIET)
    future = Identity(1, WALL_NS + 10**18, 1, WALL_NS + 10**18)
    settler.seen("file", future, 0.0, WALL_NS)
    assert settler.due(0.0) is None
    assert settler.due(QUIET) == ("file", future)


def test_a_closed_file_waits_for_one_tick_of_the_clock_only() -> None:
    settler = Settler(QUIET)
    settler.closed("file", 0.0)
    assert settler.due(TICK_SECONDS / 2) is None
    assert settler.due(TICK_SECONDS) == ("file", None)


def test_a_file_that_was_just_sent_must_be_quiet_even_when_it_is_closed() -> None:
    settler = Settler(QUIET)
    settler.sent("log", 0.0)
    settler.closed("log", 0.1)
    assert settler.due(QUIET) is None
    assert settler.due(0.1 + QUIET) == ("log", None)


def test_each_close_of_a_busy_file_starts_the_quiet_period_anew() -> None:
    settler = Settler(QUIET)
    settler.sent("log", 0.0)
    for tenth in range(1, 50):
        settler.closed("log", tenth / 10)
        assert settler.due(tenth / 10) is None
    assert settler.due(4.9 + QUIET) == ("log", None)


def test_a_file_is_handed_out_once_however_often_it_was_told() -> None:
    settler = Settler(QUIET)
    for _ in range(5):
        settler.closed("file", 0.0)
    assert len(settler) == 1
    assert settler.due(10.0) == ("file", None)
    assert settler.due(10.0) is None
    assert len(settler) == 0


def test_files_come_in_the_order_of_their_time() -> None:
    settler = Settler(QUIET)
    for name, seconds in (("c", 3.0), ("a", 1.0), ("b", 2.0)):
        settler.again(name, 0.0, seconds)
    assert settler.next_due() == 1.0
    found = [settler.due(10.0) for _ in range(3)]
    assert [each[0] for each in found if each] == ["a", "b", "c"]
    assert settler.next_due() is None


def test_what_was_sent_long_ago_is_not_remembered_for_ever() -> None:
    settler = Settler(QUIET)
    for number in range(30_000):
        settler.sent(f"file {number}", float(number))
    assert len(settler._busy) <= 10_001


@pytest.mark.parametrize(
    ("touched_ns", "seconds"),
    [(1_700_000_000_000_000_001, TICK_SECONDS), (1_700_000_000_000_000_000, COARSE_TICK_SECONDS)],
)
def test_a_whole_second_is_taken_for_a_coarse_clock(touched_ns: int, seconds: float) -> None:
    assert tick_seconds(Identity(1, 0, 1, touched_ns)) == seconds


def test_it_is_known_since_when_the_first_of_them_waits() -> None:
    settler = Settler(QUIET)
    assert settler.waiting_since() is None
    settler.again("a", 5.0, 1.0)
    settler.again("b", 6.0, 1.0)
    settler.again("a", 7.0, 1.0)  # put off again: it waits since it was seen first
    assert settler.waiting_since() == 5.0
    assert settler.due(8.0) and settler.due(8.0)
    assert settler.waiting_since() is None
