"""What each way to load a program costs: how soon it counts, and what memory that takes.

The same program, loaded alone in a process of its own, by libbpf with the kernel's BTF, with a BTF
file and with types from tracefs while the kernel's BTF is hidden, and by bcc.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.process import children_peak_mb, peak_mb, resident_mb
from benchmarks.tables import NO_GOALS, Table, show

RUNS = 5
KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
HIDDEN = ("sh", "-ec", 'mount -t tmpfs none /sys/kernel/btf; exec "$@"', "sh")
PROGRAMS = ("timers", "raw-tracepoints", "syscalls", "oomkill", "uprobe", "runqlat")


class Way(NamedTuple):
    """`around` is what the process is started by; `options` are of kernel.Options."""

    name: str
    programs: Sequence[str]
    options: dict[str, str]
    around: Sequence[str] = ()


class Cost(NamedTuple):
    """`resident` after, less before; `most` of this process and of a child at any time; MB."""

    seconds: float
    resident: float
    most: float
    child_most: float


def tables() -> Iterator[Table]:
    with tempfile.TemporaryDirectory() as folder:
        file = shutil.copy(KERNEL_BTF, folder)
        ways = (
            Way("core, kernel BTF", PROGRAMS, {"backend": "core"}),
            Way("core, BTF file", PROGRAMS, {"backend": "core", "custom_btf": str(file)}, HIDDEN),
            Way("core, BTF from tracefs", ("timers", "syscalls"), {"backend": "core"}, HIDDEN),
            Way("bcc", PROGRAMS, {"backend": "bcc"}),
        )
        rows = [_row(way, programs) for way in ways for programs in _sets(way)]
    yield Table(
        "Backends: how soon a program counts, and the memory that takes",
        ("way", "programs", "seconds", "RSS added", "its peak", "peak of bcc's process"),
        tuple(rows),
        (
            f"Medians of {RUNS} processes that load what is named, one after the other, and "
            "nothing else; objects and headers are in the page cache. RSS added: when all are "
            "loaded, over that of the process that has imported the loader. bcc's own process has "
            f"ended by then. {NO_GOALS}",
        ),
    )


def _sets(way: Way) -> Sequence[Sequence[str]]:
    return (("timers",), way.programs)


def _row(way: Way, programs: Sequence[str]) -> tuple[str, ...]:
    costs = [_measured(way, programs) for _ in range(RUNS)]
    seconds, resident, most, child = (median(each) for each in zip(*costs, strict=True))
    what = programs[0] if len(programs) == 1 else f"{len(programs)}: {', '.join(programs)}"
    in_child = f"{child:.0f} MB" if way.options["backend"] == "bcc" else "none"
    return way.name, what, f"{seconds:.3f}", f"{resident:.1f} MB", f"{most:.1f} MB", in_child


def _measured(way: Way, programs: Sequence[str]) -> Cost:
    from tests.kernel.beside import IN_PRIVATE  # not in the memory of what is measured

    asked = json.dumps([programs, way.options])
    done = subprocess.run(
        [*IN_PRIVATE, *way.around, sys.executable, "-m", "benchmarks.backends", asked],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Cost(*json.loads(done.stdout))


def _load(programs: Sequence[str], options: dict[str, str]) -> Cost:
    """In the process that is measured."""
    from exporter.ebpf.backends import load
    from exporter.ebpf.kernel import Options
    from exporter.ebpf.objectfile import SHIPPED
    from exporter.ebpf.spec import read_program

    folder = next(each for each in SHIPPED if each.is_dir())
    read = [read_program(folder / f"{name}.yaml") for name in programs]
    how = Options(**options)  # type: ignore[arg-type]
    before = resident_mb()
    started = time.monotonic()
    running = [load(program, how) for program in read]
    took = time.monotonic() - started
    after = resident_mb()
    for each in running:
        each.close()
    return Cost(took, after - before, peak_mb(), children_peak_mb())


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(_load(*json.loads(sys.argv[1]))))
    else:
        show(tables())
