"""A wall clock that is set moves no timestamp of ours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingmesh.wallclock import WallClock

S = 1_000_000_000


class Clocks:
    """Two clocks, in nanoseconds."""

    def __init__(self) -> None:
        self.monotonic, self.wall = 5_000 * S, 1_795_000_000 * S
        self.made = WallClock(lambda: self.wall, lambda: self.monotonic)

    def run(self, seconds: float, rate: float = 1.0) -> None:
        """Time passes; the wall clock at `rate`."""
        self.monotonic += int(seconds * S)
        self.wall += int(seconds * rate * S)


@pytest.mark.parametrize("step", [-86_400 * S, -2_000_000, 2_000_000, 3_600 * S])
def test_a_step_is_counted_once_and_taken_out(step: int) -> None:
    clocks = Clocks()
    before = clocks.made.now_ns()
    clocks.run(0.1)
    clocks.wall += step
    clocks.made.look()
    clocks.made.look()
    assert (clocks.made.jumps, clocks.made.jumped_ns) == (1, step)
    assert clocks.made.now_ns() - before == 0.1 * S


@pytest.mark.parametrize("rate", [0.9995, 1.0005])
def test_a_clock_that_is_slewed_did_not_jump(rate: float) -> None:
    clocks = Clocks()
    for _ in range(1_000):
        clocks.run(1.0, rate)
        clocks.made.look()
    assert clocks.made.jumps == 0


@given(st.lists(st.integers(-(10**15), 10**15).filter(lambda step: abs(step) > 10**8), max_size=8))
def test_however_often_it_is_set_time_goes_on_as_it_did(steps: list[int]) -> None:
    clocks = Clocks()
    before = clocks.made.now_ns()
    for step in steps:
        clocks.run(1.0)
        clocks.wall += step
        clocks.made.look()
    assert clocks.made.jumps == len(steps)
    assert clocks.made.now_ns() - before == len(steps) * S
