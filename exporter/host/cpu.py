"""/proc/stat's `cpu` line, and how busy the processors were between two readings of it.

Pure: text in, numbers out; knows no clock. Kernel: fs/proc/stat.c show_stat(),
Documentation/filesystems/proc.rst 1.7.
"""

from typing import NamedTuple

from exporter.errors import KernmeshError
from exporter.host.text import is_count


class CpuTimes(NamedTuple):
    """Time spent since boot, all processors together, in clock ticks (USER_HZ).

    The line's last two fields, guest and guest_nice, are left out: the kernel has them inside
    user and nice already (kernel/sched/cputime.c account_guest_time())."""

    user: int
    nice: int
    system: int
    idle: int
    iowait: int
    irq: int
    softirq: int
    steal: int


def parse_cpu_times(text: str, place: str = "/proc/stat") -> CpuTimes:
    """From the text of /proc/stat. `place` is how the file is called in errors.

    Raises KernmeshError where there is no such line or it has under eight numbers (Linux 2.6.11
    and later write steal)."""
    line = text.partition("\n")[0]  # the first of a file that may have a megabyte
    if not line.startswith("cpu "):
        raise KernmeshError(f"{place}: no line begins with 'cpu ': is this a /proc of Linux?")
    numbers = line.split()[1 : 1 + len(CpuTimes._fields)]
    if len(numbers) < len(CpuTimes._fields) or not all(map(is_count, numbers)):
        raise KernmeshError(f"{place}: cpu line: got {line!r}, want eight numbers or more")
    return CpuTimes(*map(int, numbers))


def busy_percent(before: CpuTimes, after: CpuTimes) -> float | None:
    """Share of the time between two readings in which processors worked, 0 to 100.

    Waiting for I/O is not work: idle = idle + iowait. Time stolen by the hypervisor is neither
    ours nor idle; it counts as busy, since this node could not have used it.

    None where the readings do not tell: no tick passed, or a counter went back, which happens
    when processors are unplugged or a container's view of /proc moves. iowait alone may go back
    on a healthy machine (proc.rst says so); it then counts as 0 for this interval.
    """
    spent = _spent(before, after)
    if spent is None:
        return None
    total = sum(spent)
    return 100.0 * (total - spent.idle - spent.iowait) / total


def stolen_percent(before: CpuTimes, after: CpuTimes) -> float | None:
    """Share of the time that the hypervisor kept from processors that had work, 0 to 100; None
    as for `busy_percent`."""
    spent = _spent(before, after)
    return None if spent is None else 100.0 * spent.steal / sum(spent)


def _spent(before: CpuTimes, after: CpuTimes) -> CpuTimes | None:
    spent = CpuTimes(*(new - old for new, old in zip(after, before, strict=True)))
    spent = spent._replace(iowait=max(spent.iowait, 0))
    return None if min(spent) < 0 or sum(spent) == 0 else spent
