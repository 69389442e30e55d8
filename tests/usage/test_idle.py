"""Idle resources: histograms against exact percentiles, days against what they left idle."""

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.errors import NoData
from exporter.testing import FakeClock
from exporter.usage.idle import (
    FIRST_CPU,
    HALF_LIFE,
    MARGIN,
    RATIO,
    DecayingHistogram,
    Idle,
    Prediction,
    Reserve,
)
from exporter.usage.node import CpuReader, MemoryReader
from exporter.usage.prediction import NAME, OFFLINE_CPU, OFFLINE_MEMORY, IdleResources
from exporter.usage.sampler import Sample
from exporter.usage.series import Series
from exporter.usage.statedir import StateDir

DAY = 86400.0
GIB = 2.0**30


def exact(samples: Sequence[tuple[float, float]], share: float, now: float) -> float:
    """Weighted percentile of (value, at), a sample weighing half as much for each day of age."""
    weighed = sorted((value, 2 ** ((at - now) / HALF_LIFE)) for value, at in samples)
    total, reached = math.fsum(weight for _, weight in weighed), 0.0
    for value, weight in weighed:
        reached += weight
        if reached >= share * total:
            return value
    raise AssertionError


def day_and_night(at: float) -> float:
    """Cores in use: 2 by night, 12 by day, and some noise."""
    return 7.0 - 5.0 * math.cos(2 * math.pi * at / DAY) + random.Random(at).gauss(0, 0.3)


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.99])
@pytest.mark.parametrize("days", [0.02, 1.0, 3.3, 14.0])
def test_percentiles_of_synthetic_days_are_the_exact_ones_within_a_bucket(
    share: float, days: float
) -> None:
    samples = [(day_and_night(at), at) for at in range(0, int(days * DAY), 120)]
    histogram = DecayingHistogram(FIRST_CPU)
    for value, at in samples:
        histogram.add(value, 1.0, at)
    found = histogram.percentile(share)
    want = exact(samples, share, days * DAY)
    assert found is not None
    assert want <= found <= want * RATIO + FIRST_CPU


def test_yesterday_counts_half_of_today() -> None:
    histogram = DecayingHistogram(FIRST_CPU)
    histogram.add(10.0, 1.0, 0.0)
    histogram.add(1.0, 1.0, DAY)
    assert histogram.percentile(0.66) == pytest.approx(1.0, rel=0.06)
    assert histogram.percentile(0.67) == pytest.approx(10.0, rel=0.06)


def test_of_nothing_no_percentile_is_known() -> None:
    assert DecayingHistogram(FIRST_CPU).percentile(0.8) is None


def test_years_of_uptime_overflow_nothing() -> None:
    histogram = DecayingHistogram(FIRST_CPU)
    for at in range(3000):
        histogram.add(2.0 + at % 2, 1.0, at * DAY)
    found = histogram.percentile(0.9)
    assert found is not None and 3.0 <= found <= 3.0 * RATIO + FIRST_CPU


def test_the_reserve_is_the_smaller_of_an_amount_and_a_share() -> None:
    assert Reserve(1.0, 0.1).of(4.0) == 0.4
    assert Reserve(1.0, 0.1).of(64.0) == 1.0


def test_three_samples_are_wanted_before_anything_is_said() -> None:
    prediction = Prediction()
    for at in (10.0, 20.0):
        prediction.add_cpu(1.0, 10.0, at)
        prediction.add_memory(GIB, at)
        assert prediction.idle(16.0, 64 * GIB) == (None, None)
    prediction.add_cpu(1.0, 10.0, 30.0)
    idle = prediction.idle(16.0, 64 * GIB)
    assert idle.cpu_cores == pytest.approx(16 - 1 * (1 + MARGIN) - 1, abs=0.06)
    assert idle.memory_bytes == pytest.approx((64 - 1 * (1 + MARGIN) - 2) * GIB, rel=0.01)
    assert prediction.idle(None, None) == (None, None)


def test_a_node_that_is_used_up_has_nothing_idle_and_not_less() -> None:
    prediction = Prediction()
    for at in range(5):
        prediction.add_cpu(16.0, 10.0, 10.0 * at)
        prediction.add_memory(63 * GIB, 10.0 * at)
    assert prediction.idle(16.0, 64 * GIB) == Idle(0.0, 0.0)


def test_a_day_has_one_memory_peak_which_counts_as_soon_as_it_is_there() -> None:
    prediction = Prediction()
    for minute in range(0, 2 * 1440, 5):
        at = 60.0 * minute
        prediction.add_cpu(1.0, 300.0, at)
        prediction.add_memory((8 if minute < 1440 else 4) * GIB + minute, at)
    idle = prediction.idle(16.0, 64 * GIB).memory_bytes
    # Two days' peaks: 8 GiB at half the weight of 4 GiB, so the 90th percentile is the older.
    assert idle == pytest.approx((64 - 8 * (1 + MARGIN) - 2) * GIB, rel=0.01)
    before = idle
    prediction.add_memory(32 * GIB, 2 * DAY - 1)
    assert prediction.idle(16.0, 64 * GIB).memory_bytes == pytest.approx(
        (64 - 32 * (1 + MARGIN) - 2) * GIB, rel=0.06
    )
    assert before is not None


class Node:
    """Samples every 10 s: `busy` and `offline` cores, `used` and `offline_used` bytes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.idle = IdleResources(clock)
        self.busy = self.offline = 0.0

    def run(
        self, ticks: int, busy: float, offline: float | None = None, used: float = 4 * GIB
    ) -> Mapping[str, float]:
        for _ in range(ticks):
            self.clock.advance(10)
            self.busy += 10 * busy
            values: dict[Series, float] = {
                CpuReader.BUSY: self.busy,
                CpuReader.ONLINE: 16,
                MemoryReader.KEYS["MemTotal"]: 64 * GIB,
                MemoryReader.KEYS["MemAvailable"]: 64 * GIB - used,
            }
            if offline is not None:
                self.offline += 10 * offline
                values |= {OFFLINE_CPU: self.offline, OFFLINE_MEMORY: used / 2}
            self.idle.put(Sample(self.clock.monotonic(), self.clock.wall(), values))
        return self.idle.values()


CORES, MEMORY = "kernmesh_node_idle_cpu_cores", "kernmesh_node_idle_memory_bytes"


def test_offline_work_uses_what_is_idle_and_takes_nothing_from_it() -> None:
    alone = Node(FakeClock()).run(100, busy=3.0)
    shared = Node(FakeClock()).run(100, busy=13.0, offline=10.0, used=8 * GIB)
    assert shared == pytest.approx(alone)
    assert alone[CORES] == pytest.approx(16 - 3 * (1 + MARGIN) - 1, abs=0.2)


def test_totals_that_begin_anew_cost_a_sample() -> None:
    node = Node(FakeClock())
    node.run(10, busy=3.0)
    node.busy = 0.0
    before = node.idle.values()
    assert node.run(1, busy=3.0)[CORES] == before[CORES]
    assert node.run(10, busy=3.0)[CORES] == pytest.approx(before[CORES])


def test_the_gauges_are_missing_until_enough_is_known() -> None:
    node = Node(FakeClock())
    with pytest.raises(NoData):
        list(node.idle.collect())
    node.run(10, busy=3.0)
    registry = CollectorRegistry()
    registry.register(node.idle)
    assert registry.get_sample_value(CORES) == node.idle.values()[CORES]
    assert registry.get_sample_value(MEMORY) == node.idle.values()[MEMORY]


@pytest.mark.parametrize("step", [0.0, -DAY], ids=["at once", "the clock was set back"])
def test_a_restart_changes_nothing(tmp_path: Path, step: float) -> None:
    clock = FakeClock()
    first, state = Node(clock), StateDir(str(tmp_path))
    shown = first.run(500, busy=3.0)
    first.run(500, busy=9.0, used=16 * GIB)
    shown = first.run(1, busy=2.0, used=4 * GIB)
    first.idle.save(state)
    clock.set_wall(clock.wall() + step)
    second = Node(FakeClock(monotonic=5.0, wall=clock.wall()))
    second.idle.load(state)
    second.run(1, busy=2.0)
    assert second.run(1, busy=2.0) == pytest.approx(shown, rel=1e-3)
    state.close()


def test_after_days_of_being_off_what_was_before_weighs_less(tmp_path: Path) -> None:
    clock = FakeClock()
    first, state = Node(clock), StateDir(str(tmp_path))
    first.run(1000, busy=9.0)
    first.idle.save(state)
    later = FakeClock(monotonic=5.0, wall=clock.wall() + 5 * DAY)
    second = Node(later)
    second.idle.load(state)
    shown = second.run(300, busy=2.0)
    assert shown[CORES] == pytest.approx(16 - 2 * (1 + MARGIN) - 1, abs=0.2)
    state.close()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b'{"wall": "x"}', b'{"x":' + b"[" * 5000,
        b'{"wall":-1,"samples":1,"cpu":{},"memory":{},"peak":0,"peak_age":0}',
        b'{"wall":1,"samples":9,"cpu":{"0":1e308,"1":1e308},"memory":{},"peak":0,"peak_age":0}',
        b'{"wall":1,"samples":9,"cpu":{"99999":1},"memory":{},"peak":0,"peak_age":0}',
        b'{"wall":1,"samples":9,"cpu":{},"memory":{"-1":1},"peak":0,"peak_age":0}',
    ],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    state = StateDir(str(tmp_path))
    idle = IdleResources(FakeClock())
    idle.load(state)
    assert idle.values() == {}
    assert (tmp_path / f"{NAME}.bad").read_bytes() == content
    [record] = caplog.records
    assert record.getMessage().startswith(f"usage: {NAME}: not trusted (")
    idle.save(state)
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    state.close()
