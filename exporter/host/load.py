"""/proc/loadavg, and what /proc/stat says about tasks that run and wait.

Pure: text in, numbers out. Kernel: fs/proc/loadavg.c, fs/proc/stat.c show_stat().
"""

from typing import NamedTuple

from exporter.errors import KernmeshError
from exporter.host.text import is_count


class Load(NamedTuple):
    """Tasks that run, could run, or wait uninterruptibly (for a disk, mostly): mean over so many
    minutes, older ones weighing less."""

    one: float
    five: float
    fifteen: float


class Tasks(NamedTuple):
    """`running` includes those that wait for a processor; `blocked` wait uninterruptibly."""

    running: int
    blocked: int
    cpus: int
    """Processors that are online: the cpuN lines."""
    switches: int
    """Context switches since boot."""


def parse_loadavg(text: str, place: str = "/proc/loadavg") -> Load:
    """Raises KernmeshError where it does not begin with three numbers."""
    try:
        one, five, fifteen = map(float, text.split()[:3])
    except ValueError:
        raise KernmeshError(f"{place}: got {text.strip()!r}, want three numbers first") from None
    return Load(one, five, fifteen)


def parse_tasks(text: str, place: str = "/proc/stat") -> Tasks:
    """From the text of /proc/stat. Raises KernmeshError where a line is missing."""
    found: dict[str, int] = {}
    for line in text[text.rfind("\nctxt ") + 1 :].splitlines():
        key, _, value = line.partition(" ")
        if key in ("ctxt", "procs_running", "procs_blocked") and is_count(value):
            found[key] = int(value)
    if len(found) < 3:
        raise KernmeshError(f"{place}: no ctxt, procs_running and procs_blocked lines")
    cpus = text.count("\ncpu")
    return Tasks(found["procs_running"], found["procs_blocked"], cpus, found["ctxt"])
