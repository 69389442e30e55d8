"""Faults of a machine, seen from the gauges: clocks that jump, processors that go, many cgroups."""

import json
from pathlib import Path

import pytest

from exporter.config.agent import Usage
from exporter.host.open_files import Descriptors
from exporter.testing import fake_host
from exporter.usage.gauges import USAGE
from exporter.usage.node import CpuReader, LoadReader
from exporter.usage.pods import Kubepods, Offline, PodUsage
from exporter.usage.statistics import statistics_json
from tests.usage.cgroup_trees import machine as machine_of
from tests.usage.test_history import Machine

DAY = 86_400.0


@pytest.mark.parametrize("step", [DAY, -DAY])
def test_a_wall_clock_a_day_off_moves_no_gauge_and_no_restart_after_it(
    step: float, tmp_path: Path
) -> None:
    steady, jumped = (
        Machine(tmp_path / name, Usage(state_dir=str(tmp_path / name / "state")))
        for name in ("steady", "jumped")
    )
    for tick in range(80):
        if tick == 40:
            jumped.clock.set_wall(jumped.clock.wall() + step)
        for each in (steady, jumped):
            each.tick(90.0 if tick < 35 else 10.0)
    assert jumped.history.values() == steady.history.values()
    assert jumped.history.values()["cpu_usage_max_avg_1d"] == 90.0
    for each in (steady, jumped):
        each.history.close()
        each.history = each.start()
        each.tick(10.0)
        each.tick(10.0)
    shown = json.loads(statistics_json(jumped.history))
    assert shown == json.loads(statistics_json(steady.history))
    assert shown["cpu_usage_max_avg_1d"] == 90.0


def stat(total: int, idle: int, cpus: int) -> str:
    lines = [f"cpu  {total - idle} 0 0 {idle} 0 0 0 0 0 0"]
    lines += [f"cpu{number} 1 0 0 1 0 0 0 0 0 0" for number in range(cpus)]
    return "\n".join((*lines, "ctxt 5", "procs_running 1", "procs_blocked 0", ""))


def test_processors_that_are_unplugged_cost_no_more_than_one_value(tmp_path: Path) -> None:
    """Where the totals are of those online (lxcfs) they fall with them; the kernel's own are of
    all that are possible (fs/proc/stat.c show_stat) and go on."""
    steps = [(8000, 4000, 4), (8400, 4200, 4), (5000, 2300, 2), (5200, 2350, 2), (5600, 2350, 4)]
    host = fake_host(tmp_path, {"proc/loadavg": "2.00 1.00 1.00 1/100 1\n"})
    cpu, load = CpuReader(host), LoadReader(host)
    found = []
    for now, step in enumerate(steps):
        (host.proc / "stat").write_text(stat(*step))
        values = {**cpu(float(now)), **load(float(now))}
        found.append((values.get(USAGE["cpu"]), values[CpuReader.ONLINE], values[USAGE["load"]]))
    assert found == [
        (None, 4, 50.0),
        (50.0, 4, 50.0),
        (None, 2, 100.0),
        (75.0, 2, 100.0),
        (100.0, 4, 50.0),
    ]


def test_ten_thousand_cgroups_of_pods_are_all_read_with_few_files_open(tmp_path: Path) -> None:
    host = machine_of(tmp_path, "v1")
    top = host.cgroup / "cpu,cpuacct/kubepods"
    for number in range(5000):
        folder = top / f"pod00000000-0000-0000-0000-{number:012x}" / ("a" * 64)
        folder.mkdir(parents=True)
        (folder / "cpuacct.usage").write_text(f"{number}000000000\n")
    kubepods = Kubepods(host)
    kubepods.budget = Descriptors(700)
    usage = PodUsage(kubepods, None, Offline([]))
    rows = usage.rows(0.0)
    assert len(rows) == 5000
    assert sum(row.usage.cpu_seconds or 0.0 for row in rows) == sum(range(5000))
    assert len(usage.read(410.0)) == 5000
    assert kubepods.budget.left == 0
