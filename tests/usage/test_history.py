"""Usage over time as a whole: a machine made of files, a clock that the test moves."""

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from exporter.config.agent import Usage
from exporter.config.scalars import Duration
from exporter.hostfs import HostFs
from exporter.testing import FakeClock, fake_host
from exporter.usage.gauges import USAGE
from exporter.usage.history import History
from exporter.usage.node import CpuReader, node_sources
from exporter.usage.statistics import UsageCollector, statistics_json

BOOT = "proc/sys/kernel/random/boot_id"


class Machine:
    """`user` and `idle` are clock ticks since boot, `memory` percent in use."""

    def __init__(self, folder: Path, settings: Usage) -> None:
        self.folder, self.settings = folder, settings
        self.clock = FakeClock()
        self.user, self.idle, self.memory = 9000, 1000, 25
        self.host = self.files("boot-1")
        self.history = self.start()

    def files(self, boot: str) -> HostFs:
        return fake_host(
            self.folder,
            {
                "proc/stat": f"cpu  {self.user} 0 0 {self.idle} 0 0 0 0 0 0\ncpu0 1 2 3\n"
                "ctxt 5\nprocs_running 1\nprocs_blocked 0\n",
                "proc/meminfo": f"MemTotal: 1000 kB\nMemAvailable: {1000 - 10 * self.memory} kB\n",
                BOOT: f"{boot}\n",
            },
        )

    def start(self) -> History:
        sources = [s for s in node_sources(self.host) if s.name in ("cpu", "memory")]
        history = History(self.clock, self.host, self.settings, sources)
        history.begin()
        return history

    def tick(self, busy: float, seconds: float = 10.0) -> None:
        """Time passes in which `busy` percent of the processors worked; then both tiers tick."""
        self.clock.advance(seconds)
        self.user += round(seconds * busy)
        self.idle += round(seconds * (100 - busy))
        self.files("boot-1")
        self.history.tick("slow")
        self.history.tick("fast")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, Usage(state_dir=str(tmp_path / "state")))


def test_before_the_first_sample_the_object_is_empty(machine: Machine) -> None:
    assert statistics_json(machine.history) == "{}"


def test_the_first_sample_knows_no_processor_usage_for_since_boot_is_not_now(
    machine: Machine,
) -> None:
    machine.history.tick("slow")
    assert set(json.loads(statistics_json(machine.history))) == {
        "mem_usage_active", "mem_usage_avg_5m", "mem_usage_max_avg_1h", "mem_usage_max_avg_1d",
    }  # fmt: skip


def test_the_second_has_node_metrics_keys_in_its_order(machine: Machine) -> None:
    machine.history.tick("slow")
    machine.tick(6.8)
    assert statistics_json(machine.history) == (
        '{"cpu_usage_active":6.80,"cpu_usage_avg_5m":6.80,"cpu_usage_max_avg_1h":6.80,'
        '"cpu_usage_max_avg_1d":6.80,"mem_usage_active":25.00,"mem_usage_avg_5m":25.00,'
        '"mem_usage_max_avg_1h":25.00,"mem_usage_max_avg_1d":25.00}'
    )


def test_the_number_on_metrics_is_the_one_that_statistics_shows(machine: Machine) -> None:
    for busy in (3.3, 33.33, 66.67, 17.123):
        machine.tick(busy)
    shown = json.loads(statistics_json(machine.history))
    registry = CollectorRegistry()
    registry.register(UsageCollector(machine.history))
    assert len(shown) == 8
    assert {name: registry.get_sample_value(f"node_{name}") for name in shown} == shown


def test_and_it_is_the_one_that_whoever_decides_reads(machine: Machine) -> None:
    for busy in (0, 33.3, 70.1):
        machine.tick(busy)
    stored = machine.history.window("slow", USAGE["cpu"], 60.0)
    assert round(stored.values[-1], 2) == machine.history.values()["cpu_usage_active"] == 70.1


def test_a_fully_busy_interval_stays(machine: Machine) -> None:
    machine.tick(0)
    machine.tick(100)
    assert machine.history.values()["cpu_usage_active"] == 100.0


def test_a_restarted_agent_shows_the_same_day(machine: Machine) -> None:
    for busy in [0, *[80] * 40, *[10] * 600]:
        machine.tick(busy)
    before = machine.history.values()
    machine.history.close()
    machine.history = machine.start()
    machine.history.tick("slow")  # no time has passed
    machine.tick(10)
    machine.tick(10)
    after = machine.history.values()
    assert after["cpu_usage_max_avg_1d"] == before["cpu_usage_max_avg_1d"] == 80.0
    assert after["cpu_usage_max_avg_1h"] == before["cpu_usage_max_avg_1h"] == 10.0


def test_configured_names_are_on_both_pages(tmp_path: Path) -> None:
    from exporter.config.agent import UsageMetric

    metrics = (UsageMetric("cpu_usage_p95_1h", Duration("3m")),)
    machine = Machine(tmp_path, Usage(state_dir=None, metrics=metrics))
    for busy in (0, 10, 20):
        machine.tick(busy)
    assert json.loads(statistics_json(machine.history))["cpu_usage_p95_1h"] == 19.5
    assert machine.history.values()["cpu_usage_p95_1h"] == 19.5


def test_any_window_can_be_asked_for_up_to_what_is_kept(machine: Machine) -> None:
    for busy in (0, *range(101)):
        machine.tick(busy)
    shown = json.loads(statistics_json(machine.history, "10m"))
    assert shown["cpu_usage_avg_10m"] == 70.5
    assert (shown["cpu_usage_min_10m"], shown["cpu_usage_max_10m"]) == (41.0, 100.0)
    assert shown["mem_usage_p95_10m"] == 25.0
    for text, reason in (("2d", "longer than what is kept"), ("soon", "no window")):
        with pytest.raises(ValueError, match=reason):
            statistics_json(machine.history, text)


def test_the_fast_tier_has_its_own_counters(machine: Machine) -> None:
    for _ in range(3):
        machine.tick(50, seconds=1.0)
    busy = machine.history.window("fast", CpuReader.BUSY, 900.0)
    assert list(busy.values) == pytest.approx([0.5, 0.5])
    assert machine.history.latest("fast")[CpuReader.BUSY] == machine.user / 100


def test_who_asks_after_the_end_gets_nothing(machine: Machine) -> None:
    machine.tick(10)
    machine.history.close()
    assert machine.history.window("slow", USAGE["mem"], 60.0).values == ()
    machine.history.tick("slow")
