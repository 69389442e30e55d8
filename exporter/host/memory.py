"""/proc/meminfo: how much of the node's memory is in use.

Pure: text in, numbers out. Kernel: fs/proc/meminfo.c, mm/show_mem.c si_mem_available().
"""

from typing import NamedTuple

from exporter.errors import KernmeshError
from exporter.host.text import is_count


class Memory(NamedTuple):
    """Bytes. `available` is the kernel's estimate of what new work can have without swapping:
    free memory and the part of the page cache and slabs that can be had back."""

    total: int
    available: int


def parse_memory(text: str, place: str = "/proc/meminfo") -> Memory:
    """From the text of /proc/meminfo. Raises KernmeshError where MemTotal or MemAvailable
    (Linux 3.14 and later) are missing or make no sense."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, rest = line.partition(":")
        if key in ("MemTotal", "MemAvailable"):
            parts = rest.split()
            if len(parts) != 2 or not is_count(parts[0]) or parts[1] != "kB":
                raise KernmeshError(f"{place}: {key}: got {rest.strip()!r}, want a number of kB")
            found[key] = int(parts[0]) * 1024
    missing = [key for key in ("MemTotal", "MemAvailable") if key not in found]
    if missing:
        raise KernmeshError(f"{place}: no {' and no '.join(missing)} line (Linux before 3.14?)")
    memory = Memory(found["MemTotal"], found["MemAvailable"])
    if not 0 <= memory.available <= memory.total or memory.total == 0:
        raise KernmeshError(
            f"{place}: MemAvailable {memory.available} of MemTotal {memory.total} makes no sense"
        )
    return memory


def parse_meminfo(text: str) -> dict[str, int]:
    """All of /proc/meminfo that is bytes, by its keys; what is not in kB is left out."""
    lines = (line.partition(":") for line in text.splitlines())
    fields = ((key, rest.split()) for key, _, rest in lines)
    return {
        key: int(rest[0]) * 1024
        for key, rest in fields
        if len(rest) == 2 and rest[1] == "kB" and is_count(rest[0])
    }


class Reclaim(NamedTuple):
    """Events since boot: allocations that had to reclaim or to compact memory themselves before
    they got any, and pages read back soon after they were reclaimed (`refaults`), of which those
    that were in use all along (`activated`) mean that the working set does not fit. None for
    compactions on a kernel that does none."""

    direct_reclaims: int
    direct_compactions: int | None
    refaults: int
    activated: int


def parse_reclaim(text: str, place: str = "/proc/vmstat") -> Reclaim:
    """From the text of /proc/vmstat. Kernels name these per zone and, since 5.9, per kind of
    page: all of a stem are added up. mm/vmstat.c vmstat_text. Raises KernmeshError where a stem
    is not there at all."""
    stems = ("allocstall", "compact_stall", "workingset_refault", "workingset_activate")
    sums: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith(stems):
            key, _, value = line.partition(" ")
            stem = next(stem for stem in stems if key.startswith(stem))
            if not is_count(value):
                raise KernmeshError(f"{place}: {key}: got {value!r}, want a number")
            sums[stem] = sums.get(stem, 0) + int(value)
    missing = [stem for stem in stems if stem not in sums and stem != "compact_stall"]
    if missing:
        raise KernmeshError(f"{place}: no {' and no '.join(missing)} line")
    return Reclaim(
        sums["allocstall"],
        sums.get("compact_stall"),
        sums["workingset_refault"],
        sums["workingset_activate"],
    )


def used_percent(memory: Memory) -> float:
    """Share of memory that is not available to new work, 0 to 100: MemTotal − MemAvailable,
    which is what node-metrics and crane's Prometheus rules call mem_usage_active."""
    return 100.0 * (memory.total - memory.available) / memory.total
