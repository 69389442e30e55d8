"""direct-reclaim and shrinklat against delay accounting and the kernel's own trace buffer."""

import re
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from exporter.ebpf.kernel import Options
from tests.kernel.conftest import Load, counts, numbers
from tests.kernel.tasks import Task, by_way, ending, python_task
from tests.kernel.taskstats import ACCOUNTING, Reclaims, reclaims
from tests.kernel.tracing import tracing
from tests.kernel.workloads import MemoryCgroup, memory_cgroup
from tests.switched import switched_on

pytestmark = pytest.mark.bpf

BEGIN = ("vmscan/mm_vmscan_memcg_reclaim_begin", "vmscan/mm_vmscan_direct_reclaim_begin")
SAID = ("vmscan/mm_vmscan_lru_shrink_inactive", "vmscan/mm_shrink_slab_start")
CGROUP_WAY = ("machine_begin", "machine_end", "cgroup_begin", "cgroup_end")
PASSES_WAY = (*CGROUP_WAY, "pages_shrunk", "slab_shrunk")


def writer(folder: Path) -> Task:
    """Writes a file far larger than its cgroup's limit, whose pages must go again and again."""
    before = f"file = os.open({str(folder / 'large')!r}, os.O_RDWR | os.O_CREAT)"
    work = "os.lseek(file, 0, 0)\nfor _ in range(100): os.write(file, bytes(1 << 20))"
    return python_task(before, work)


def reclaimed(task: Task, cgroup: MemoryCgroup) -> tuple[Reclaims, float]:
    """What it did, and the seconds that all of it took."""
    (cgroup.path / "cgroup.procs").write_text(str(task.pid))
    started = time.monotonic()
    task.work()
    return reclaims(task.pid), time.monotonic() - started


@pytest.mark.parametrize("options", [Options(), Options(budget_bytes=1)], ids=["per_cpu", "shared"])
def test_direct_reclaims_agree_with_the_kernels_trace_and_their_time_with_delay_accounting(
    shipped: Path, loaded: Load, tmp_path: Path, options: Options
) -> None:
    running = loaded(by_way(shipped, "direct-reclaim", *CGROUP_WAY), options)
    with switched_on(ACCOUNTING), memory_cgroup(24 << 20) as cgroup:
        task = writer(tmp_path)
        with ending(task), tracing(tmp_path / "tracing", task.pid, *BEGIN) as trace:
            told, seconds = reclaimed(task, cgroup)
            key = cgroup.id.to_bytes(8, sys.byteorder)
            *slots, sum_us = numbers(running, "direct_reclaim_seconds")[key]
            traced = len(trace.lines())
    # Delay accounting counts one that begins anew, as it found nothing, once more.
    assert 10 <= traced <= told.times
    assert sum(slots) == traced
    # Ours runs from just before to just after what delay accounting takes.
    assert told.ns / 1000 - sum(slots) <= sum_us <= seconds * 1e6
    assert running.refused_updates() == {"direct_reclaim_seconds": 0, "direct_reclaim_starts": 0}
    assert of_thread(task) not in counts(running, "direct_reclaim_starts")


def of_thread(task: Task) -> bytes:
    return task.pid.to_bytes(4, sys.byteorder)


def passes(lines: list[str]) -> Counter[int]:
    """By process: how many changes of node or priority there are within its reclaims, and their
    first passes."""
    found: Counter[int] = Counter()
    at: dict[int, tuple[str, str]] = {}
    for line in lines:
        process = int(re.search(r"-(\d+) +\[\d+\]", line)[1])  # type: ignore[index]
        if "reclaim_begin" in line:
            found[process] += 1
            at.pop(process, None)
        elif said := re.search(r"\bnid[=: ]+(\d+).*\bpriority[=: ]+(\d+)", line):
            node_and_priority = (said[1], said[2])
            found[process] += at.get(process, node_and_priority) != node_and_priority
            at[process] = node_and_priority
    return found


def test_passes_over_a_node_agree_with_the_kernels_trace_and_their_time_with_delay_accounting(
    shipped: Path, loaded: Load, tmp_path: Path
) -> None:
    with switched_on(ACCOUNTING), memory_cgroup(24 << 20) as cgroup:
        task = writer(tmp_path)
        with ending(task), tracing(tmp_path / "tracing", None, *BEGIN, *SAID) as trace:
            started = time.monotonic()
            running = loaded(by_way(shipped, "shrinklat", *PASSES_WAY))
            told, _ = reclaimed(task, cgroup)
            ((*slots, sum_us),) = numbers(running, "shrink_node_latency_seconds").values()
            seconds = time.monotonic() - started
            traced = passes(trace.lines())
    assert traced[task.pid] >= 10
    # Others may reclaim at the same time.
    assert traced[task.pid] <= sum(slots) <= traced.total()
    assert told.ns / 1000 - sum(slots) <= sum_us <= len(traced) * seconds * 1e6
    assert of_thread(task) not in numbers(running, "shrink_passes")
