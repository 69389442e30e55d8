"""preemptions against nonvoluntary_ctxt_switches of /proc/<pid>/status."""

from pathlib import Path

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts
from tests.kernel.tasks import (
    WATCHDOG_SECONDS,
    CpuCgroup,
    by_way,
    cpu_cgroup,
    ending,
    last_cpu,
    python_task,
)
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

PINNED = f"os.sched_setaffinity(0, {{{last_cpu()}}})"
# is preempted while it runs, and gives way of its own will too
WORK = """\
for _ in range(10):
    until = time.process_time() + 0.01
    while time.process_time() < until: pass
    select.select([], [], [], 0.0005)"""


def of_victim(running: KernelProgram, victim: CpuCgroup) -> dict[bytes, int]:
    """By whom, how often."""
    found = counts(running, "preemptions_total")
    return {key[8:]: value for key, value in found.items() if key[:8] == victim.key}


@pytest.mark.parametrize("way", ["switch_btf", "switch_raw"])
def test_every_switch_against_a_victims_will_names_who_ran_next(
    shipped: Path, loaded: Load, way: str
) -> None:
    running = loaded(by_way(shipped, "preemptions", way))
    victim, rival = python_task(PINNED, WORK), python_task(PINNED, "while True: pass")
    with cpu_cgroup() as victims, cpu_cgroup() as rivals, ending(victim, rival):
        victims.add(victim)
        rivals.add(rival)
        victim.work()
        rival.start()
        before = sum(of_victim(running, victims).values())
        switches_before = victim.switches_against_its_will()
        found: dict[bytes, int] = {}

        def works_and_is_preempted() -> bool:
            victim.work()
            found.update(of_victim(running, victims))
            return found.get(rivals.key, 0) >= 10

        # others want this CPU too: how often it is the rival that gets it is up to the scheduler
        assert eventually(works_and_is_preempted, WATCHDOG_SECONDS)
        switches = victim.switches_against_its_will() - switches_before
    assert sum(found.values()) - before == switches
    assert victims.key not in found
    assert running.refused_updates() == {"preemptions_total": 0}


def test_yielding_to_a_task_of_the_same_cgroup_is_a_pair_of_its_own(
    shipped: Path, loaded: Load
) -> None:
    running = loaded(by_way(shipped, "preemptions", "switch_btf"))
    yielding = "for _ in range(500): os.sched_yield()"
    one, other = python_task(PINNED, yielding), python_task(PINNED, "while True: pass")
    with cpu_cgroup() as cgroup, ending(one, other):
        cgroup.add(one)
        cgroup.add(other)
        other.start()

        def yields_to_the_other() -> bool:
            one.work()
            return of_victim(running, cgroup).get(cgroup.key, 0) >= 10

        assert eventually(yields_to_the_other, WATCHDOG_SECONDS)
