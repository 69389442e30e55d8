"""cfs-throttling against the cgroup's own cpu.stat."""

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, numbers
from tests.kernel.tasks import CpuCgroup, by_way, cpu_cgroup, ending, last_cpu, python_task

pytestmark = pytest.mark.bpf

PINNED = f"os.sched_setaffinity(0, {{{last_cpu()}}})"
# of 20 ms, a quarter: throttled some 40 times
QUOTA_US, PERIOD_US = 5000, 20_000
WORK = "until = time.process_time() + 0.2\nwhile time.process_time() < until: pass"


class Throttled(NamedTuple):
    times: int
    us: float


def limit(cgroup: CpuCgroup) -> None:
    if (cgroup.path / "cpu.max").exists():
        (cgroup.path / "cpu.max").write_text(f"{QUOTA_US} {PERIOD_US}")
    else:
        (cgroup.path / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (cgroup.path / "cpu.cfs_quota_us").write_text(str(QUOTA_US))


def said(cgroup: CpuCgroup) -> Throttled:
    """By cpu.stat. Its nr_throttled are periods, whatever the number of CPUs."""
    stat = dict(line.split() for line in (cgroup.path / "cpu.stat").read_text().splitlines())
    us = float(stat.get("throttled_usec", 0)) or int(stat.get("throttled_time", 0)) / 1000
    return Throttled(int(stat["nr_throttled"]), us)


def found(running: KernelProgram, cgroup: CpuCgroup) -> Throttled:
    *slots, sum_us = numbers(running, "cfs_throttling_seconds")[cgroup.key]
    return Throttled(sum(slots), sum_us)


@pytest.mark.parametrize("way", ["switched_btf", "switched_raw"])
def test_each_throttling_on_one_cpu_agrees_with_cpu_stat_in_number_and_time(
    shipped: Path, loaded: Load, way: str
) -> None:
    running = loaded(by_way(shipped, "cfs-throttling", way))
    task = python_task(PINNED, WORK)
    with cpu_cgroup() as cgroup, ending(task):
        limit(cgroup)
        cgroup.add(task)
        task.work()
        told, counted = said(cgroup), found(running, cgroup)
    assert told.times >= 10
    # It counts periods, and a throttling may last longer than one.
    assert 0.5 * told.times <= counted.times <= told.times
    assert counted.us == pytest.approx(told.us, abs=counted.times)  # each is rounded to a µs
    assert running.refused_updates() == {"cfs_throttling_seconds": 0, "cfs_throttled": 0}


@pytest.mark.parametrize("way", ["switched_btf", "switched_raw"])
def test_tasks_on_all_cpus_sum_up_to_cpu_stats_time(shipped: Path, loaded: Load, way: str) -> None:
    running = loaded(by_way(shipped, "cfs-throttling", way))
    tasks = [python_task("", WORK) for _ in range(3)]
    with cpu_cgroup() as cgroup, ending(*tasks):
        limit(cgroup)
        for task in tasks:
            cgroup.add(task)
        for task in tasks:
            task.start()
        for task in tasks:
            task.done()
        told, counted = said(cgroup), found(running, cgroup)
    # What ended on a CPU where none of the tasks has run again since is not seen yet.
    unseen = 2 * PERIOD_US * len(os.sched_getaffinity(0))
    assert counted.times >= 10
    assert told.us - unseen <= counted.us <= told.us + counted.times


def test_timed_by_switches_a_throttling_is_at_least_as_long_as_cpu_stat_says(
    shipped: Path, loaded: Load
) -> None:
    running = loaded(by_way(shipped, "cfs-throttling", "switched_timed_raw"))
    task = python_task(PINNED, WORK)
    with cpu_cgroup() as cgroup, ending(task):
        limit(cgroup)
        cgroup.add(task)
        before = task.switches_against_its_will()
        task.work()
        told, counted = said(cgroup), found(running, cgroup)
        switches = task.switches_against_its_will() - before
    # From 6.18 on a task runs on to its return to user space, and may be switched out and in again,
    # for others' sake, before the time that the kernel counts begins.
    assert 0.5 * told.times <= counted.times <= switches
    assert counted.us >= 0.95 * told.us


def test_what_is_never_throttled_has_no_row(shipped: Path, loaded: Load) -> None:
    running = loaded(by_way(shipped, "cfs-throttling", "switched_btf"))
    task = python_task(PINNED, WORK)
    with cpu_cgroup() as cgroup, ending(task):
        cgroup.add(task)
        task.work()
        assert cgroup.key not in numbers(running, "cfs_throttling_seconds")
