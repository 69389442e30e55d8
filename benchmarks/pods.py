"""Usage by pod: one pass over 500 pods of two containers each, as real cgroups of this machine.

    python -m benchmarks.pods [pods [containers]]

Whatever hierarchies are mounted are used; the cgroups are empty and removed afterwards.
"""

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

from benchmarks.tables import Table, markdown
from exporter.host.mounts import cgroup_mounts
from exporter.host.open_files import Descriptors
from exporter.hostfs import HostFs
from exporter.usage.pods import Kubepods, Offline, PodUsage

PASSES = 21


@contextmanager
def pods(count: int, containers: int) -> Iterator[None]:
    """Cgroups as kubelet's cgroupfs driver makes them, in every hierarchy that is mounted."""
    tops = [mount.folder / f"kubepods-bench-{uuid.uuid4()}" for mount in cgroup_mounts(HostFs())]
    folders: list[Path] = []
    below = [f"pod{uuid.uuid4()}" for _ in range(count)]
    names = [[f"{number:064x}" for number in range(containers)] for _ in range(count)]
    try:
        for top in tops:
            levels = (top, top / "burstable")
            for folder in levels:
                folder.mkdir()
                folders.append(folder)
            for pod, ids in zip(below, names, strict=True):
                made = (levels[1] / pod, *(levels[1] / pod / each for each in ids))
                for folder in made:
                    folder.mkdir()
                    folders.append(folder)
        yield
    finally:
        for folder in reversed(folders):
            with suppress(OSError):
                folder.rmdir()


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds of this thread's CPU, and of wall clock."""
    wall, cpu = time.perf_counter(), time.thread_time()
    run()
    return (time.thread_time() - cpu) * 1000, (time.perf_counter() - wall) * 1000


def passes(usage: PodUsage) -> list[tuple[float, float]]:
    return [timed(lambda: usage.rows(time.monotonic())) for _ in range(PASSES)]


def figures(times: list[tuple[float, float]]) -> tuple[str, str]:
    return f"{median(t[0] for t in times):.1f}", f"{median(t[1] for t in times):.1f}"


def measure(count: int, containers: int) -> Table:
    with pods(count, containers):
        kubepods = Kubepods(HostFs())
        usage = PodUsage(kubepods, None, Offline(["kubepods/besteffort"]))
        first = timed(lambda: usage.rows(time.monotonic()))
        rows = len(usage.rows(time.monotonic()))
        assert rows >= count * containers, rows
        kept = passes(usage)
        store = [timed(lambda: usage.read(time.monotonic())) for _ in range(PASSES)]
        opened = Descriptors().left - kubepods.budget.left
        poor = Kubepods(HostFs())
        poor.budget = Descriptors(0)
        without = passes(PodUsage(poor, None, Offline([])))
    return Table(
        f"Usage of {count} pods × {containers} containers",
        ("what", "CPU, ms", "wall, ms", "goal"),
        (
            ("one pass", *figures(kept), "≤ 30 ms"),
            ("one pass as the store's series", *figures(store), ""),
            ("the first pass, which finds them", *figures([first]), ""),
            ("one pass, every file opened anew", *figures(without), ""),
        ),
        (f"Medians of {PASSES} passes; {opened} files kept open.",),
    )


def main(count: int = 500, containers: int = 2) -> None:
    print(markdown(measure(count, containers)))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
