"""Usage by pod: one pass over 500 pods of two containers each, as real cgroups of this machine.

    python -m benchmarks.pods [pods [containers]]

Whatever hierarchies are mounted are used. Each cgroup has a process; before a pass all of them
have run and taken memory, or none has. All is removed afterwards.
"""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median

from benchmarks.process import resident_mb
from benchmarks.tables import NO_GOAL, Table, at_most, show
from exporter.clock import SystemClock
from exporter.host.mounts import cgroup_mounts
from exporter.host.open_files import Descriptors
from exporter.hostfs import HostFs
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.usage.classes import ClassUsage
from exporter.usage.pod_families import PodsCollector
from exporter.usage.pod_pressure import PodPressure
from exporter.usage.podnames import LogNames
from exporter.usage.pods import Kubepods, Offline, PodUsage

PASSES = 21
SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
GOAL_MS = 30.0


class Pods:
    """Cgroups as kubelet's cgroupfs driver makes them, in every hierarchy that is mounted."""

    def __init__(self, count: int, containers: int) -> None:
        name = f"kernmesh-{uuid.uuid4()}"
        self._tops = [mount.folder / name for mount in cgroup_mounts(HostFs())]
        self._folders: list[Path] = []
        self._processes: list[int] = []
        for folder in ("", "kubepods", "kubepods/burstable"):
            self._make(folder)
        for _ in range(count):
            pod = f"kubepods/burstable/pod{uuid.uuid4()}"
            self._make(pod)
            for number in range(containers):
                self._make(f"{pod}/{number:064x}")
                self._inhabit(f"{pod}/{number:064x}")

    def _make(self, path: str) -> None:
        for top in self._tops:
            (top / path).mkdir()
            self._folders.append(top / path)

    def _inhabit(self, path: str) -> None:
        pid = os.fork()
        if pid:
            self._processes.append(pid)
            for top in self._tops:
                with suppress(OSError):  # a cpuset without CPUs takes nobody
                    (top / path / "cgroup.procs").write_text(str(pid))
            return
        try:
            kept: list[bytes] = []
            while True:
                if signal.sigwait(SIGNALS) == signal.SIGUSR2:
                    kept = [] if kept else [b"x" * 500_000]
        finally:
            os._exit(0)

    def work(self) -> None:
        """Each runs a little and rests again."""
        self._send(signal.SIGUSR1)

    def allocate(self) -> None:
        """Each takes memory or gives it back, and rests again."""
        self._send(signal.SIGUSR2)

    def _send(self, number: signal.Signals) -> None:
        for pid in self._processes:
            os.kill(pid, number)
        for pid in self._processes:
            while Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "S":
                time.sleep(0.01)

    def remove(self) -> None:
        for pid in self._processes:
            os.kill(pid, signal.SIGKILL)
        for pid in self._processes:
            os.waitpid(pid, 0)
        for folder in reversed(self._folders):
            with suppress(OSError):
                folder.rmdir()


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of this thread's CPU, and of wall clock."""
    wall, cpu = time.perf_counter(), time.thread_time()
    run()
    return (time.thread_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def often(
    run: Callable[[float], object],
    before: Callable[[], object] = lambda: None,
    goal: float | None = None,
) -> tuple[str, str, str, str]:
    """Medians, and the goal of the CPU's, as texts."""
    times = []
    for _ in range(PASSES):
        before()
        times.append(timed(lambda: run(time.monotonic())))
    cpu, wall = median(t[0] for t in times), median(t[1] for t in times)
    cells = NO_GOAL if goal is None else at_most(cpu, goal, "ms")
    return f"{cpu:.1f}", f"{wall:.1f}", *cells


def measure(pods: Pods, count: int, containers: int) -> Table:
    offline, clock = Offline(["kubepods/besteffort"]), SystemClock()
    before = resident_mb()
    kubepods = Kubepods(HostFs())
    usage = PodUsage(kubepods, LogNames(HostFs()), offline)
    first = timed(lambda: usage.rows(time.monotonic() - 600))  # pods that are not young any more
    found = [row.usage for row in usage.rows(time.monotonic())]
    assert len(found) >= count * containers
    assert all(each.cpu_seconds is not None for each in found)
    if kubepods.layout().memory:
        assert all(each.working_set_bytes is not None for each in found)
    rows = [
        ("one pass, all have run", *often(usage.rows, pods.work, GOAL_MS)),
        ("one pass, all have run and allocated", *often(usage.rows, pods.allocate, GOAL_MS)),
        ("one pass, none has run", *often(usage.rows, goal=GOAL_MS)),
        ("as the store's series, all have run", *often(usage.read, pods.work)),
    ]
    opened = Descriptors().left - kubepods.budget.left
    registry = Registry()
    registry.register(PodsCollector(usage, clock), "pods")
    rows.append(
        ("as text for a scrape, all have run", *often(lambda _: render(registry), pods.work))
    )
    after = resident_mb()
    pressure = PodPressure(kubepods, usage, clock)
    rows.append(("pressure of every pod", *often(pressure.reads("pod"), pods.work)))
    classes = ClassUsage(kubepods, offline, clock)
    rows.append(("usage by class (every second)", *often(classes.read, pods.work)))
    rows.append(
        ("the first pass, which finds them", f"{first[0]:.0f}", f"{first[1]:.0f}", *NO_GOAL)
    )
    poor = Kubepods(HostFs())
    poor.budget = Descriptors(0)
    unkept = PodUsage(poor, None, offline)
    rows.append(("every file opened anew, all have run", *often(unkept.rows, pods.work)))
    return Table(
        f"Usage of {count} pods × {containers} containers",
        ("what", "CPU, ms", "wall, ms", "goal", "met"),
        tuple(rows),
        (
            f"Medians of {PASSES} passes; {opened} files kept open; RSS grew by "
            f"{after - before:.1f} MB with the text of a scrape.",
        ),
    )


def main(count: int = 500, containers: int = 2) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    pods = Pods(count, containers)
    try:
        table = measure(pods, count, containers)
    finally:
        pods.remove()
    show([table])


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
