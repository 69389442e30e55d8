"""Sources read at their pace, by a clock that the test moves."""

import asyncio
import logging
from collections.abc import Mapping

import pytest

from exporter.errors import KernmeshError, NoData
from exporter.testing import FakeClock
from exporter.usage.sampler import Sample, Sampler, Stopped, at_pace, pause_until
from exporter.usage.series import Series

A, B = Series("a.x", "gauge"), Series("b.x", "gauge")


class Source:
    def __init__(self, values: Mapping[Series, float], error: Exception | None = None) -> None:
        self.values, self.error = values, error

    def __call__(self, now: float) -> Mapping[Series, float]:
        if self.error is not None:
            raise self.error
        return self.values


def test_a_tick_has_what_every_source_knows_and_when_it_was() -> None:
    clock = FakeClock(monotonic=5.0, wall=77.0)
    sampler = Sampler(clock, {"a": Source({A: 1.0}), "b": Source({B: 2.0})})
    assert sampler.tick() == Sample(5.0, 77.0, {A: 1.0, B: 2.0})


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FileNotFoundError(2, "No such file or directory", "/proc/x"),
         "/proc/x: No such file or directory"),
        (KernmeshError("/proc/x: no cpu line"), "/proc/x: no cpu line"),
        (ValueError("not utf-8"), "not utf-8"),
        (IndexError("nobody thought of it"), "IndexError: nobody thought of it"),
    ],
)  # fmt: skip
def test_a_source_that_fails_takes_only_its_own_along_and_is_said_once(
    caplog: pytest.LogCaptureFixture, error: Exception, reason: str
) -> None:
    caplog.set_level(logging.INFO)
    source = Source({A: 1.0})
    sampler = Sampler(FakeClock(), {"a": source, "b": Source({B: 2.0})})
    sampler.tick()
    source.error = error
    for _ in range(3):
        assert sampler.tick().values == {B: 2.0}
    said = [(r.message, vars(r)["source"], vars(r).get("reason")) for r in caplog.records]
    assert said == [("usage: cannot be read", "a", reason)]
    source.error = KernmeshError("another reason")
    sampler.tick()
    source.error = None
    assert sampler.tick().values == {A: 1.0, B: 2.0}
    assert [r.message for r in caplog.records[1:]] == [
        "usage: cannot be read",
        "usage: is read again",
    ]


def test_a_source_that_has_nothing_of_the_kind_here_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sampler = Sampler(FakeClock(), {"a": Source({}, NoData("no pods")), "b": Source({B: 2.0})})
    assert sampler.tick().values == {B: 2.0}
    assert caplog.records == []


class TestPace:
    """By a `pause` that notes what it is asked for and moves the clock."""

    def pace(self, interval: float, extra: list[float]) -> list[float]:
        """When ticks happened; pause n takes extra[n] seconds longer than asked for."""
        clock, ticks = FakeClock(monotonic=0.0), list[float]()
        pauses = iter(extra)

        async def pause(seconds: float) -> None:
            longer = next(pauses, None)
            if longer is None:
                raise Stopped
            clock.advance(seconds + longer)

        asyncio.run(at_pace(clock, interval, lambda: ticks.append(clock.monotonic()), pause, "t"))
        return ticks

    @pytest.mark.parametrize(
        ("interval", "extra", "ticks"),
        [
            (10.0, [0.0] * 4, [0.0, 1.0, 11.0, 21.0, 31.0]),
            (0.5, [0.0] * 3, [0.0, 0.5, 1.0, 1.5]),
            (10.0, [0.0, 2.0, 0.0], [0.0, 1.0, 13.0, 21.0]),
            (10.0, [0.0, 3600.0, 0.0], [0.0, 1.0, 3611.0, 3621.0]),
        ],
        ids=[
            "the second comes early",
            "a short interval is kept from the start",
            "a late tick does not move the ones after it",
            "a machine that slept gets one tick and not all that it missed",
        ],
    )
    def test_ticks_keep_to_their_grid(
        self, interval: float, extra: list[float], ticks: list[float]
    ) -> None:
        assert self.pace(interval, extra) == ticks

    def test_a_tick_that_fails_is_said_and_the_next_one_comes(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        pauses = iter([0, 0])
        ticks: list[int] = []

        async def pause(seconds: float) -> None:
            if next(pauses, None) is None:
                raise Stopped

        def act() -> None:
            ticks.append(1)
            raise LookupError("nobody thought of it")

        asyncio.run(at_pace(FakeClock(), 10.0, act, pause, "usage slow"))
        assert len(ticks) == 3
        assert [record.getMessage() for record in caplog.records] == ["usage slow: tick failed"] * 3

    def test_it_ends_when_the_agent_stops(self) -> None:
        async def run() -> int:
            ticks: list[int] = []
            stop = asyncio.Event()
            loop = asyncio.get_running_loop()

            def act() -> None:
                ticks.append(1)
                if len(ticks) == 3:
                    loop.call_soon_threadsafe(stop.set)

            async with asyncio.timeout(30):
                await at_pace(FakeClock(), 0.0001, act, pause_until(stop), "t")
            return len(ticks)

        assert asyncio.run(run()) >= 3
