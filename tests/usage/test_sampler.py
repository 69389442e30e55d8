"""Samples over a folder of /proc files and a clock that the test moves."""

import asyncio
import logging
from pathlib import Path

import pytest

from exporter.hostfs import HostFs
from exporter.testing import FakeClock, fake_host
from exporter.usage.sampler import Latest, Sample, Sampler, Stopped, pause_until

MEMINFO = "MemTotal: 1000 kB\nMemAvailable: 750 kB\n"


def stat(user: int, idle: int) -> str:
    return f"cpu  {user} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n"


@pytest.fixture
def host(tmp_path: Path) -> HostFs:
    return fake_host(tmp_path, {"proc/stat": stat(9000, 1000), "proc/meminfo": MEMINFO})


def test_the_first_tick_knows_no_processor_usage_for_since_boot_is_not_now(host: HostFs) -> None:
    assert Sampler(FakeClock(), host).tick().values == {"mem_usage_active": 25.0}


def test_the_second_tick_has_the_usage_in_between(host: HostFs) -> None:
    clock = FakeClock(monotonic=5.0)
    sampler = Sampler(clock, host)
    sampler.tick()
    clock.advance(10)
    (host.proc / "stat").write_text(stat(9010, 1090))
    assert sampler.tick() == Sample(15.0, {"cpu_usage_active": 10.0, "mem_usage_active": 25.0})


def test_a_fully_busy_interval_stays(host: HostFs) -> None:
    sampler = Sampler(FakeClock(), host)
    sampler.tick()
    (host.proc / "stat").write_text(stat(9500, 1000))
    assert sampler.tick().values["cpu_usage_active"] == 100.0


def test_a_standstill_is_missing_and_not_zero(host: HostFs) -> None:
    sampler = Sampler(FakeClock(), host)
    sampler.tick()
    assert "cpu_usage_active" not in sampler.tick().values


def test_counters_that_began_anew_cost_one_sample(host: HostFs) -> None:
    sampler = Sampler(FakeClock(), host)
    sampler.tick()
    (host.proc / "stat").write_text(stat(10, 90))
    assert "cpu_usage_active" not in sampler.tick().values
    (host.proc / "stat").write_text(stat(60, 140))
    assert sampler.tick().values["cpu_usage_active"] == 50.0


@pytest.mark.parametrize(
    ("file", "missing", "left"),
    [("stat", "cpu_usage_active", "mem_usage_active"),
     ("meminfo", "mem_usage_active", "cpu_usage_active")],
)  # fmt: skip
def test_an_unreadable_file_takes_its_own_value_only_and_is_said_once(
    host: HostFs, caplog: pytest.LogCaptureFixture, file: str, missing: str, left: str
) -> None:
    caplog.set_level(logging.INFO)
    sampler = Sampler(FakeClock(), host)
    sampler.tick()
    path = host.proc / file
    good = path.read_text()
    path.unlink()
    for user in (9010, 9020, 9030):
        if file != "stat":
            (host.proc / "stat").write_text(stat(user, 1000))
        assert missing not in sampler.tick().values
    said = [(r.message, vars(r)["value"], vars(r).get("reason")) for r in caplog.records]
    gone = ("usage: value missing", missing, f"{path}: No such file or directory")
    assert said == [gone]
    path.write_text("nonsense")
    sampler.tick()
    assert [r.message for r in caplog.records] == ["usage: value missing"] * 2
    path.write_text(good)
    sampler.tick()
    (host.proc / "stat").write_text(stat(9990, 1010))
    assert set(sampler.tick().values) == {missing, left}
    assert [r.message for r in caplog.records[2:]] == ["usage: value is back"]


def test_a_file_that_was_gone_leaves_no_old_reading_to_compare_with(host: HostFs) -> None:
    sampler = Sampler(FakeClock(), host)
    sampler.tick()
    (host.proc / "stat").unlink()
    sampler.tick()
    (host.proc / "stat").write_text(stat(9999, 1001))
    assert "cpu_usage_active" not in sampler.tick().values


def test_a_file_of_bytes_that_are_no_text_is_an_unreadable_file(host: HostFs) -> None:
    (host.proc / "meminfo").write_bytes(b"\xff\xfe")
    assert Sampler(FakeClock(), host).tick().values == {}


def test_the_newest_sample_is_what_readers_get() -> None:
    latest = Latest()
    assert latest.values() == {}
    latest.put(Sample(1.0, {"mem_usage_active": 1.0}))
    latest.put(Sample(2.0, {"cpu_usage_active": 2.0}))
    assert latest.values() == {"cpu_usage_active": 2.0}


class TestRun:
    """The pace, by a `pause` that notes what it is asked for and moves the clock."""

    def pace(self, host: HostFs, interval: float, extra: list[float]) -> list[float]:
        """When ticks happened; pause n takes extra[n] seconds longer than asked for."""
        clock, ticks = FakeClock(monotonic=0.0), list[float]()
        pauses = iter(extra)

        async def pause(seconds: float) -> None:
            longer = next(pauses, None)
            if longer is None:
                raise Stopped
            clock.advance(seconds + longer)

        asyncio.run(Sampler(clock, host).run(interval, lambda s: ticks.append(s.at), pause))
        return ticks

    def test_two_readings_come_early_and_then_every_interval(self, host: HostFs) -> None:
        assert self.pace(host, 10.0, [0.0] * 4) == [0.0, 1.0, 11.0, 21.0, 31.0]

    def test_a_short_interval_is_kept_from_the_start(self, host: HostFs) -> None:
        assert self.pace(host, 0.5, [0.0] * 3) == [0.0, 0.5, 1.0, 1.5]

    def test_a_late_tick_does_not_move_the_ones_after_it(self, host: HostFs) -> None:
        assert self.pace(host, 10.0, [0.0, 2.0, 0.0]) == [0.0, 1.0, 13.0, 21.0]

    def test_a_machine_that_slept_gets_one_tick_and_not_all_that_it_missed(
        self, host: HostFs
    ) -> None:
        assert self.pace(host, 10.0, [0.0, 3600.0, 0.0]) == [0.0, 1.0, 3611.0, 3621.0]

    def test_it_ends_when_the_agent_stops(self, host: HostFs) -> None:
        async def run() -> list[Sample]:
            samples: list[Sample] = []
            stop = asyncio.Event()

            def sink(sample: Sample) -> None:
                samples.append(sample)
                if len(samples) == 3:
                    stop.set()

            async with asyncio.timeout(30):
                await Sampler(FakeClock(), host).run(0.0001, sink, pause_until(stop))
            return samples

        assert len(asyncio.run(run())) == 3
