"""What processes use, as the kernel counts it: CPU seconds and resident memory, by pid.

MB are 10^6 bytes, here and in every table: the goals' unit, which say KiB and GiB where they mean
powers of two (the kernel's own kB are KiB). Every benchmark reads CPU and memory by these.
"""

import os
import resource
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_BUSY = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq, steal (proc_stat(5))."""


def cpu_seconds(pid: int) -> float:
    """User and system of all its threads, in ticks of 10 ms (proc_pid_stat(5)). Of this process
    time.process_time() is finer."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def children_cpu_seconds() -> float:
    """Of all that this process, or a child of it, has waited for (getrusage(2))."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def machine_cpu_seconds() -> float:
    """Of all processors, whoever used them; of others' virtual machines what they took."""
    fields = Path("/proc/stat").read_text().partition("\n")[0].split()[1:]
    return sum(int(fields[index]) for index in _BUSY) / _TICKS


def resident_mb(pid: int | None = None) -> float:
    """Now; of this process where none is given."""
    return _status_mb("VmRSS", pid)


def peak_mb(pid: int | None = None) -> float:
    """The most that was ever resident."""
    return _status_mb("VmHWM", pid)


def children_peak_mb() -> float:
    """Of the largest that was waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6


def _status_mb(key: str, pid: int | None) -> float:
    for line in Path(f"/proc/{pid or 'self'}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(f"/proc/{pid}/status has no {key}: the process has ended")
