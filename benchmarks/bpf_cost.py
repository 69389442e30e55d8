"""What recording one value costs inside the kernel: our per-CPU struct of slots against one hash
row per bucket with atomics, on one CPU and on two at once.

Time per run of the BPF function as the kernel measures it (kernel.bpf_stats_enabled), medians of
rounds in which the ways take turns. The load is getppid(2), called without pause by processes
pinned to a CPU each.
"""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.programs import compile_bpf
from benchmarks.tables import NO_GOAL, Table, met, show
from exporter.ebpf.kernel import Options, load
from exporter.ebpf.spec import HookSpec, Program, ProgramSpec
from tests.switched import switched_on

ROUNDS = 7
CALLS = 1_000_000
GOALS = {1: 0.7, 2: 0.5}
"""Of the ratio, by CPUs at it."""

STATISTICS = "kernel/bpf_stats_enabled"
"""The kernel's measuring of programs: Documentation/admin-guide/sysctl/kernel.rst."""
ROWS, NOTHING, OURS, SHARED = (
    "record_rows",
    "record_nothing",
    "record_slots_per_cpu",
    "record_slots_shared",
)
WAYS = {
    ROWS: "one hash row per bucket, atomics",
    OURS: "one per-CPU struct (HIST_MAP)",
    SHARED: "one shared struct, atomics (over the map budget)",
    NOTHING: "nothing (a value is made, no more)",
}
# waits for a byte, so that loads on several CPUs begin together
LOAD = """
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int count, char **words) {
    char start;
    if (read(0, &start, 1) != 1) return 1;
    for (long left = atol(words[1]); left > 0; left--) syscall(SYS_getppid);
    return 0;
}
"""


def compile_load(folder: Path) -> Path:
    target = folder / "load"
    subprocess.run(
        ["clang", "-O2", "-x", "c", "-", "-o", target], input=LOAD, text=True, check=True
    )
    return target


def cost_ns(target: Path, function: str, cpus: Sequence[int]) -> float:
    """ns per run of this function alone, while each of `cpus` makes CALLS calls."""
    others = tuple(name for name in WAYS if name != function)
    hooks = (
        HookSpec("way", ((function,),)),
        HookSpec("other ways", (("none", *others),), optional=True),
    )
    program = Program("recording", target, target, ProgramSpec(hooks=hooks))
    # a budget that the larger map exceeds at any number of CPUs, so that it is the shared way
    options = Options(budget_bytes=1 if function == SHARED else 1 << 30)
    with contextlib.closing(load(program, options)) as running:
        loads = [
            subprocess.Popen(
                ["taskset", "-c", str(cpu), target.parent / "load", str(CALLS)],
                stdin=subprocess.PIPE,
            )
            for cpu in cpus
        ]
        (before,) = running.functions()
        for each in loads:
            assert each.stdin is not None
            each.stdin.write(b"x")
            each.stdin.flush()
        for each in loads:
            each.wait()
            assert each.stdin is not None
            each.stdin.close()
        (after,) = running.functions()
    runs = (after.run_count or 0) - (before.run_count or 0)
    return ((after.run_time_ns or 0) - (before.run_time_ns or 0)) / runs


def measure() -> Table:
    """Needs root and two CPUs."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    found: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder, switched_on(STATISTICS):
        target = compile_bpf("recording", Path(folder))
        compile_load(Path(folder))
        for _ in range(ROUNDS):
            for count in range(1, len(cpus) + 1):
                for way in WAYS:
                    found.setdefault((way, count), []).append(cost_ns(target, way, cpus[:count]))
    head = ["recording one value into"]
    rows = [[title] for title in WAYS.values()]
    goals = list[str]()
    holds = True
    for count in range(1, len(cpus) + 1):
        head += [f"ns, {count} CPU{'s' if count > 1 else ''}", "ratio", "net ratio"]
        idle, peer = median(found[NOTHING, count]), median(found[ROWS, count])
        for row, way in zip(rows, WAYS, strict=True):
            ns = median(found[way, count])
            net = (ns - idle) / (peer - idle)
            row += [f"{ns:.0f}", f"{ns / peer:.2f}", f"{net:.2f}"]
        goals.append(f"{GOALS[count]:.2f}")
        holds &= median(found[OURS, count]) / peer <= GOALS[count]
    head += ["goal", "met"]
    for row, way in zip(rows, WAYS, strict=True):
        row += (f"ratio ≤ {', '.join(goals)}", met(holds)) if way == OURS else NO_GOAL
    return Table(
        "Kernel cost of recording into a histogram",
        tuple(head),
        tuple(tuple(row) for row in rows),
        (
            f"ns per event by the kernel's own count (run_time_ns / run_cnt), medians of {ROUNDS} "
            f"rounds of {CALLS:,} events per CPU. Each has the kernel's measuring in it, which is "
            "the last row; net is without that.",
        ),
    )


if __name__ == "__main__":
    show([measure()])
