"""One cgroup's usage and limits, read from v1, v2 or both (hybrid), each fact where it is.

The rule: what a hierarchy does not have is None, never 0. Knows paths below a hierarchy's mount,
nothing of pods.

Kernel: Documentation/admin-guide/cgroup-v2.rst; cgroup-v1/ cpuacct, memory, blkio-controller and
pids.rst; kernel/sched/core.c cpu_cfs_stat_show() and cpu_extra_stat_show().
"""

from collections.abc import Sequence
from typing import NamedTuple

from exporter.errors import NoData
from exporter.host.mounts import CgroupMount
from exporter.host.open_files import Descriptors, OpenFiles, read_once

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


class Usage(NamedTuple):
    """Totals since the cgroup was made, and what it has now; below it included, but for periods
    and throttling, which are its own quota's. None: this machine does not say.

    `working_set_bytes` is usage less inactive_file, as kubelet reckons it. I/O is what block
    devices were asked for; v1 does not see written-back pages. `tasks` are threads."""

    cpu_seconds: float | None = None
    periods: int | None = None
    throttled_periods: int | None = None
    throttled_seconds: float | None = None
    memory_bytes: int | None = None
    working_set_bytes: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    reads: int | None = None
    writes: int | None = None
    tasks: int | None = None


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


class Layout(NamedTuple):
    """Where the facts are: a hierarchy's folder ending in "/", "" for none.

    `cpu` has cpu.stat, `cpuacct` v1's usage. `listing` is the one to look for cgroups in."""

    listing: str
    cpu: str
    cpuacct: str
    memory: str
    io: str
    pids: str
    pressure: str
    v2: frozenset[str]
    """Which of cpu, memory, io are v2's."""


def layout_of(mounts: Sequence[CgroupMount]) -> Layout:
    """Raises NoData where no hierarchy that accounts anything is mounted."""
    having: dict[str, CgroupMount] = {}
    for mount in mounts:  # v2 first
        for controller in mount.controllers:
            having.setdefault({"blkio": "io"}.get(controller, controller), mount)
    unified = next((mount for mount in mounts if mount.version == 2), None)
    if unified is not None and not having.keys() & {"cpu", "cpuacct"}:
        having["cpu"] = unified  # its cpu.stat has usage without the controller, too
    folders = {name: f"{mount.folder}/" for name, mount in having.items()}
    listing = next((each for each in ("cpu", "cpuacct", "memory") if each in having), None)
    if listing is None:
        raise NoData("no cgroup hierarchy accounts for cpu or memory here")
    return Layout(
        listing=folders[listing],
        cpu=folders.get("cpu", ""),
        cpuacct=folders.get("cpuacct", ""),
        memory=folders.get("memory", ""),
        io=folders.get("io", ""),
        pids=folders.get("pids", ""),
        pressure="" if unified is None else f"{unified.folder}/",
        v2=frozenset(name for name in ("cpu", "memory", "io") if _is_v2(having.get(name))),
    )


def _is_v2(mount: CgroupMount | None) -> bool:
    return mount is not None and mount.version == 2


class UsageReader:
    """Reads one cgroup's usage again and again; `path` is below the mounts."""

    __slots__ = ("_files", "_parse")

    def __init__(self, layout: Layout, path: str, budget: Descriptors) -> None:
        cpu2, memory2, io2 = (name in layout.v2 for name in ("cpu", "memory", "io"))
        names = (
            (layout.cpu, "cpu.stat"),
            ("" if cpu2 else layout.cpuacct, "cpuacct.usage"),
            (layout.memory, "memory.current" if memory2 else "memory.usage_in_bytes"),
            (layout.memory, "memory.stat"),
            (layout.io, "io.stat" if io2 else "blkio.throttle.io_service_bytes_recursive"),
            ("" if io2 else layout.io, "blkio.throttle.io_serviced_recursive"),
            (layout.pids, "pids.current"),
        )
        paths = [f"{folder}{path}/{name}" if folder else "" for folder, name in names]
        self._files = OpenFiles(paths, budget)
        self._parse = (cpu2, b"\ninactive_file " if memory2 else b"\ntotal_inactive_file ", io2)

    def read(self) -> Usage:
        """Raises Gone where the cgroup is no more."""
        cpu_stat, cpuacct, memory, memory_stat, io, io_ops, tasks = self._files.read()
        cpu2, inactive, io2 = self._parse
        cpu_seconds = periods = throttled = throttled_seconds = None
        if cpu_stat is not None:
            words = cpu_stat.split()
            stat = dict(zip(words[::2], words[1::2], strict=False))
            if b"nr_periods" in stat:
                periods, throttled = int(stat[b"nr_periods"]), int(stat[b"nr_throttled"])
                throttled_seconds = (
                    int(stat[b"throttled_usec"]) / 1e6
                    if cpu2
                    else int(stat[b"throttled_time"]) / 1e9
                )
            if cpu2:
                cpu_seconds = int(stat[b"usage_usec"]) / 1e6
        if cpuacct is not None:
            cpu_seconds = int(cpuacct) / 1e9
        used = None if memory is None else int(memory)
        working_set = None
        if used is not None and memory_stat is not None:
            at = memory_stat.find(inactive)
            if at >= 0:
                at += len(inactive)
                idle = int(memory_stat[at : memory_stat.find(b"\n", at)])
                working_set = max(used - idle, 0)  # two files, read one after the other
        reads: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
        if io2 and io is not None:
            reads = _io_v2(io)
        elif io is not None:
            reads = (*_io_v1(io), *(_io_v1(io_ops) if io_ops is not None else (None, None)))
        return Usage(
            cpu_seconds,
            periods,
            throttled,
            throttled_seconds,
            used,
            working_set,
            *reads,
            None if tasks is None else int(tasks),
        )

    def close(self) -> None:
        self._files.close()


def _io_v1(text: bytes) -> tuple[int, int]:
    """Reads and writes of all devices: lines "8:0 Read 4096"; "Total 0" where there were none."""
    read = written = 0
    if not text.startswith(b"Total"):
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3:
                if words[1] == b"Read":
                    read += int(words[2])
                elif words[1] == b"Write":
                    written += int(words[2])
    return read, written


def _io_v2(text: bytes) -> tuple[int, int, int, int]:
    """Bytes read and written, reads and writes of all devices: lines
    "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0", none where there were none."""
    totals = {b"rbytes": 0, b"wbytes": 0, b"rios": 0, b"wios": 0}
    if text:
        for word in text.split():
            key, equals, number = word.partition(b"=")
            if equals and key in totals:
                totals[key] += int(number)
    return totals[b"rbytes"], totals[b"wbytes"], totals[b"rios"], totals[b"wios"]


def read_limits(layout: Layout, path: str) -> Limits:
    """The limits of the cgroup's own files; what is above it may limit it further."""
    return Limits(_cpu_limit(layout, path), _memory_limit(layout, path), _io_limits(layout, path))


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
