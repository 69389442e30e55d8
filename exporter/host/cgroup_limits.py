"""What one cgroup may take, by its own files of v1, v2 or both (hybrid).

The rule: where there is no limit, or no file says, it is None, never 0 and never a huge number.

Kernel: Documentation/admin-guide/cgroup-v2.rst; scheduler/sched-bwc.rst; cgroup-v1/ memory and
blkio-controller.rst.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from exporter.host.cgroup_stat import Layout
from exporter.host.open_files import read_once

T = TypeVar("T")

# v1's "no limit": the most pages that a counter holds, in bytes (mm/page_counter.c); whole pages
# of any size are above this.
_V1_UNLIMITED = 1 << 62
_V2_IO_LIMITS = {
    "rbps": ("read", "bytes"),
    "wbps": ("write", "bytes"),
    "riops": ("read", "operations"),
    "wiops": ("write", "operations"),
}
_V1_IO_LIMITS = (
    ("blkio.throttle.read_bps_device", "read", "bytes"),
    ("blkio.throttle.write_bps_device", "write", "bytes"),
    ("blkio.throttle.read_iops_device", "read", "operations"),
    ("blkio.throttle.write_iops_device", "write", "operations"),
)


class IoLimit(NamedTuple):
    """`device` is "major:minor", `operation` "read" or "write", `unit` "bytes" or "operations"
    (per second)."""

    device: str
    operation: str
    unit: str
    rate: int


class Limits(NamedTuple):
    """What a cgroup may take; None where it has no limit or no file says."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None
    io: tuple[IoLimit, ...] = ()


def read_limits(layout: Layout, path: str) -> Limits:
    """The limits of the cgroup's own files; what is above it may limit it further. A text that
    makes no sense costs that limit."""
    return Limits(
        _told(_cpu_limit, layout, path),
        _told(_memory_limit, layout, path),
        _told(_io_limits, layout, path) or (),
    )


def _told(limit: Callable[[Layout, str], T], layout: Layout, path: str) -> T | None:
    try:
        return limit(layout, path)
    except (ValueError, ZeroDivisionError):
        return None


def _cpu_limit(layout: Layout, path: str) -> float | None:
    if not layout.cpu:
        return None
    folder = f"{layout.cpu}{path}/"
    if "cpu" in layout.v2:
        words = (read_once(f"{folder}cpu.max") or b"").split()
    else:
        names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        words = [read_once(folder + name) or b"" for name in names]
    if len(words) != 2 or words[0] in (b"max", b"") or not words[1]:
        return None
    quota = int(words[0])
    return quota / int(words[1]) if quota > 0 else None


def _memory_limit(layout: Layout, path: str) -> int | None:
    if not layout.memory:
        return None
    file = "memory.max" if "memory" in layout.v2 else "memory.limit_in_bytes"
    text = read_once(f"{layout.memory}{path}/{file}")
    if not text or text.startswith(b"max"):
        return None
    limit = int(text)
    return limit if limit < _V1_UNLIMITED else None


def _io_limits(layout: Layout, path: str) -> tuple[IoLimit, ...]:
    if not layout.io:
        return ()
    folder = f"{layout.io}{path}/"
    found = []
    if "io" in layout.v2:
        for line in (read_once(f"{folder}io.max") or b"").decode().splitlines():
            device, *words = line.split()
            for word in words:
                key, _, rate = word.partition("=")
                if key in _V2_IO_LIMITS and rate != "max":
                    found.append(IoLimit(device, *_V2_IO_LIMITS[key], int(rate)))
    else:
        for file, operation, unit in _V1_IO_LIMITS:
            for line in (read_once(folder + file) or b"").decode().splitlines():
                device, rate = line.split()
                found.append(IoLimit(device, operation, unit, int(rate)))
    return tuple(found)
