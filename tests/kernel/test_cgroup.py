"""The program `cgroup` against each task's own count of migrations."""

import os
from pathlib import Path

import pytest

from tests.kernel.conftest import Load, counts
from tests.kernel.tasks import Task, by_way, cpu_cgroup, ending, python_task

pytestmark = pytest.mark.bpf

CPUS = sorted(os.sched_getaffinity(0))
HOPS = 400
HOP = f"""\
for _ in range({HOPS} // 2):
    os.sched_setaffinity(0, {{{CPUS[0]}}})
    os.sched_setaffinity(0, {{{CPUS[-1]}}})"""


def migrations(task: Task) -> int:
    """kernel/sched/core.c, set_task_cpu(): counted where the tracepoint is."""
    for line in Path(f"/proc/{task.pid}/sched").read_text().splitlines():
        if line.startswith("se.nr_migrations"):
            return int(line.split(":")[1])
    raise AssertionError("/proc/<pid>/sched says nothing of se.nr_migrations")


@pytest.mark.parametrize("way", ["migrated_btf", "migrated_raw"])
def test_moves_of_a_cgroups_tasks_agree_with_the_tasks_own_counts(
    shipped: Path, loaded: Load, way: str
) -> None:
    assert len(CPUS) > 1, "want two CPUs, to move tasks between them"
    running = loaded(by_way(shipped, "cgroup", way))
    tasks = [python_task(f"os.sched_setaffinity(0, {{{CPUS[0]}}})", HOP) for _ in range(2)]
    with cpu_cgroup() as cgroup, ending(*tasks):
        for task in tasks:
            task.rest()
        before = sum(map(migrations, tasks))
        for task in tasks:
            cgroup.add(task)
            task.work()
        moved = sum(map(migrations, tasks)) - before
        counted = counts(running, "cgroup_sched_migrations_total")[cgroup.key]
    assert moved >= 2 * (HOPS - 1)
    assert counted == moved
