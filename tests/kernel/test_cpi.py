"""cpi where there are hardware counters, and its reason where there are none; and the way that it
counts by cgroup, by clocks that every machine has."""

from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.ebpf.spec import HookSpec
from exporter.errors import BpfError
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.interference.sources.counters import CounterReader
from exporter.usage.subjects import Subject
from tests.kernel.conftest import Load, counts, program, shipped_program
from tests.kernel.tasks import CpuCgroup, cpu_cgroup, ending, python_task
from tests.kernel.test_llcstat import PMUS

pytestmark = pytest.mark.bpf

BURN = """\
until = time.process_time() + 2
while time.process_time() < until: pass"""
TICK = 10_000_000  # nanoseconds; a hundred a second


def test_cycles_are_counted_or_it_is_said_that_there_is_no_pmu(shipped: Path, loaded: Load) -> None:
    cpi = shipped_program(shipped, "cpi")
    if not any(pmu.exists() for pmu in PMUS):
        with pytest.raises(BpfError, match=r"cpi: hook 'hardware counters' (.|\n)*no PMU"):
            loaded(cpi)
        return
    running = loaded(cpi)
    task = python_task("", BURN)
    with cpu_cgroup() as cgroup, ending(task):
        cgroup.add(task)
        task.work()
        cycles, instructions = (
            counts(running, f"cgroup_{name}_total")[cgroup.key]
            for name in ("cycles", "instructions")
        )
    assert cycles > 1e8
    assert 0.1 < cycles / instructions < 10


def test_what_an_interrupt_finds_running_is_charged_to_its_cgroup(
    compiled: Path, loaded: Load
) -> None:
    hooks = [HookSpec("clocks", (("cycles", "instructions"),))]
    running = loaded(program(compiled, "cpi_by_clocks", hooks))
    worker, rival = python_task("", BURN), python_task("", "while True: pass")
    with cpu_cgroup() as cgroup, cpu_cgroup("job") as other, ending(worker, rival):
        cgroup.add(worker)
        other.add(rival)
        rival.start()
        worker.work()
        ran = worker.schedstat()[0]
        found = {
            name: counts(running, f"cgroup_{name}_total") for name in ("cycles", "instructions")
        }
        chosen = [Subject(relative(each), "online") for each in (cgroup, other)]
        reader = CounterReader(
            HostFs(), SystemClock(), lambda _, name: running.maps.get(name), lambda: chosen
        )
        values = {series.name: value for series, value in reader(0.0).items()}
    for counted in found.values():
        # each tick that it ran is one sample, but for those that a busy host merges into one
        assert 0.5 * ran < counted[cgroup.key] < 1.1 * ran + 10 * TICK
        assert counted[other.key] > 0
    assert values[f"cgroup/{relative(cgroup)}.cycles"] >= found["cycles"][cgroup.key]
    assert values[f"cgroup/{relative(other)}.instructions"] >= found["instructions"][other.key]


def relative(cgroup: CpuCgroup) -> str:
    place = next(mount.folder for mount in cgroup_mounts(HostFs()) if "cpu" in mount.controllers)
    return str(cgroup.path.relative_to(place))
