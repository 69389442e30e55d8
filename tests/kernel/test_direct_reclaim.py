"""direct-reclaim and shrinklat against delay accounting and the kernel's own trace buffer."""

import re
import sys
import time
from pathlib import Path

import pytest

from exporter.ebpf.kernel import Options
from tests.kernel.conftest import Load, numbers
from tests.kernel.tasks import Task, by_way, ending, python_task
from tests.kernel.taskstats import Reclaims, delay_accounting, reclaims
from tests.kernel.tracing import tracing
from tests.kernel.workloads import MemoryCgroup, memory_cgroup

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
    with delay_accounting(), memory_cgroup(24 << 20) as cgroup:
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
    assert running.maps["direct_reclaim_starts"].read().count == 0


def passes(lines: list[str]) -> int:
    """How many changes of node or priority there are within reclaims, and their first passes."""
    found = 0
    at: tuple[str, str] | None = None
    for line in lines:
        if "reclaim_begin" in line:
            found, at = found + 1, None
        elif said := re.search(r"\bnid[=: ]+(\d+).*\bpriority[=: ]+(\d+)", line):
            node_and_priority = (said[1], said[2])
            if at and node_and_priority != at:
                found += 1
            at = node_and_priority
    return found


def test_passes_over_a_node_agree_with_the_kernels_trace_and_their_time_with_delay_accounting(
    shipped: Path, loaded: Load, tmp_path: Path
) -> None:
    with delay_accounting(), memory_cgroup(24 << 20) as cgroup:
        task = writer(tmp_path)
        with ending(task), tracing(tmp_path / "tracing", task.pid, *BEGIN, *SAID) as trace:
            running = loaded(by_way(shipped, "shrinklat", *PASSES_WAY))
            told, seconds = reclaimed(task, cgroup)
            ((*slots, sum_us),) = numbers(running, "shrink_node_latency_seconds").values()
            traced = passes(trace.lines())
    assert traced >= 10
    # Others reclaim only if memory is short on this machine: then there are a few more.
    assert traced <= sum(slots) <= traced + 10
    assert told.ns / 1000 - sum(slots) <= sum_us <= seconds * 1e6
    assert running.maps["shrink_passes"].read().count == 0
