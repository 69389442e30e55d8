"""The node's own sources: processors, tasks, memory, disks, filesystems, network.

One table, SOURCES' worth of readers: each reads its files and gives series. Shares of a resource
(`node.<resource>.usage`, percent) are taken over the interval since the reader's last reading, so
its first has none: an average since boot would say nothing about now.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

from exporter.errors import KernmeshError
from exporter.host import disk, filesystems, kubelet, net
from exporter.host.cpu import CpuTimes, busy_percent, parse_cpu_times, stolen_percent
from exporter.host.disk import DiskTimes, looks_like_a_disk, parse_diskstats
from exporter.host.filesystems import Filesystem
from exporter.host.load import parse_loadavg, parse_tasks
from exporter.host.memory import parse_meminfo, parse_memory, parse_reclaim, used_percent
from exporter.host.mounts import cgroup_mounts
from exporter.host.net import NetTotals, parse_net_dev
from exporter.host.text import read_text
from exporter.hostfs import HostFs
from exporter.usage.gauges import USAGE
from exporter.usage.series import Kind, Series, Source

LOOK_AGAIN_SECONDS = 60.0  # for filesystems, disks and links that came or went
KUBELET_AVAILABLE = Series("node.mem.available_kubelet_bytes", "gauge")
T = TypeVar("T")
Values = dict[Series, float]


def node_sources(host: HostFs) -> tuple[Source, ...]:
    """The table."""
    return (
        Source("cpu", ("fast", "slow"), partial(CpuReader, host)),
        Source("load", ("slow",), partial(LoadReader, host)),
        Source("memory", ("fast", "slow"), partial(MemoryReader, host)),
        Source("reclaim", ("fast", "slow"), partial(ReclaimReader, host)),
        Source("kubelet memory", ("slow",), partial(KubeletReader, host)),
        Source("disks", ("fast", "slow"), partial(DiskReader, host)),
        Source("filesystems", ("slow",), partial(FilesystemReader, host)),
        Source("network", ("slow",), partial(NetReader, host)),
    )


def _table(thing: str, kind: Kind, names: Iterable[str]) -> tuple[Series, ...]:
    return tuple(Series(f"{thing}.{name}", kind) for name in names)


class Kept(Generic[T]):
    """What seldom changes, looked up anew once a minute."""

    def __init__(self, look: Callable[[], T]) -> None:
        self._look = look
        self._value: T | None = None
        self._until = 0.0

    def get(self, now: float) -> T:
        if self._value is None or now >= self._until:
            self._value = self._look()
            self._until = now + LOOK_AGAIN_SECONDS
        return self._value


class CpuReader:
    MODES = _table("node.cpu", "counter", (f"{name}_seconds" for name in CpuTimes._fields))
    BUSY = Series("node.cpu.busy_seconds", "counter")
    ONLINE = Series("node.cpu.online", "gauge")
    RUNNING, BLOCKED = _table("node.tasks", "gauge", ("running", "blocked"))
    SWITCHES = Series("node.tasks.switches", "counter")

    def __init__(self, host: HostFs) -> None:
        self._path = str(host.proc / "stat")
        self._before: CpuTimes | None = None
        self._tick = os.sysconf("SC_CLK_TCK")

    def __call__(self, now: float) -> Mapping[Series, float]:
        before, self._before = self._before, None  # a failed read leaves no baseline
        text = read_text(self._path)
        times = parse_cpu_times(text, self._path)
        self._before = times
        tick = self._tick
        values: Values = {
            series: spent / tick for series, spent in zip(self.MODES, times, strict=True)
        }
        values[self.BUSY] = (sum(times) - times.idle - times.iowait) / tick
        if before is not None:
            _note(values, USAGE["cpu"], busy_percent(before, times))
            _note(values, USAGE["steal"], stolen_percent(before, times))
        with suppress(KernmeshError):  # a container's /proc may leave these lines out
            tasks = parse_tasks(text, self._path)
            values[self.ONLINE] = tasks.cpus
            values[self.RUNNING] = tasks.running
            values[self.BLOCKED] = tasks.blocked
            values[self.SWITCHES] = tasks.switches
        return values


class LoadReader:
    MINUTES = _table("node.load", "gauge", ("1m", "5m", "15m"))

    def __init__(self, host: HostFs) -> None:
        self._stat, self._load = str(host.proc / "stat"), str(host.proc / "loadavg")

    def __call__(self, now: float) -> Mapping[Series, float]:
        load = parse_loadavg(read_text(self._load), self._load)
        values: Values = dict(zip(self.MINUTES, load, strict=True))
        cpus = read_text(self._stat).count("\ncpu")
        if cpus:
            values[USAGE["load"]] = 100.0 * load.one / cpus
        return values


class MemoryReader:
    KEYS: Mapping[str, Series] = {
        key: Series(f"node.mem.{name}_bytes", "gauge")
        for key, name in {
            "MemTotal": "total",
            "MemFree": "free",
            "MemAvailable": "available",
            "Buffers": "buffers",
            "Cached": "cached",
            "AnonPages": "anon",
            "Slab": "slab",
            "SwapTotal": "swap_total",
            "SwapFree": "swap_free",
            "Dirty": "dirty",
            "Writeback": "writeback",
        }.items()
    }

    def __init__(self, host: HostFs) -> None:
        self._path = str(host.proc / "meminfo")

    def __call__(self, now: float) -> Mapping[Series, float]:
        text = read_text(self._path)
        memory = parse_memory(text, self._path)
        found = parse_meminfo(text)
        values: Values = {series: found[key] for key, series in self.KEYS.items() if key in found}
        values[USAGE["mem"]] = used_percent(memory)
        return values


class ReclaimReader:
    EVENTS = _table(
        "node.vm", "counter", ("direct_reclaims", "direct_compactions", "refaults", "activated")
    )

    def __init__(self, host: HostFs) -> None:
        self._path = str(host.proc / "vmstat")

    def __call__(self, now: float) -> Mapping[Series, float]:
        values: Values = {}
        counts = parse_reclaim(read_text(self._path), self._path)
        for series, count in zip(self.EVENTS, counts, strict=True):
            _note(values, series, count)
        return values


class KubeletReader:
    """v1 where its memory controller is mounted (hybrid too, as kubelet does), v2 where that has
    it. On a machine with neither there is nothing to reckon, which is no error."""

    def __init__(self, host: HostFs) -> None:
        self._meminfo = str(host.proc / "meminfo")
        self._mounts = Kept(lambda: cgroup_mounts(host))

    def __call__(self, now: float) -> Mapping[Series, float]:
        mounts = self._mounts.get(now)
        found = min((m for m in mounts if "memory" in m.controllers), default=None)
        if found is None:
            return {}
        total = parse_memory(read_text(self._meminfo), self._meminfo).total
        path = str(found.folder / "memory.stat")
        text = read_text(path)
        if found.version == 1:
            (inactive,) = kubelet.parse_memory_stat(text, ("total_inactive_file",), path)
            usage = int(read_text(str(found.folder / "memory.usage_in_bytes")))
            return {KUBELET_AVAILABLE: kubelet.available_v1(total, usage, inactive)}
        keys = ("anon", "file", "inactive_file")
        anon, file, inactive = kubelet.parse_memory_stat(text, keys, path)
        return {KUBELET_AVAILABLE: kubelet.available_v2(total, anon, file, inactive)}


class DiskReader:
    NAMES = (
        "reads", "read_bytes", "read_seconds", "writes", "written_bytes", "write_seconds",
        "busy_seconds",
    )  # fmt: skip
    SCALES = (1.0, 1.0, 1e-3, 1.0, 1.0, 1e-3, 1e-3)

    def __init__(self, host: HostFs) -> None:
        self._path = str(host.proc / "diskstats")
        self._block = host.sys / "block"
        self._series: dict[str, tuple[Series, ...]] = {}
        self._before: tuple[float, Mapping[str, DiskTimes]] | None = None
        self._known = Kept(self._whole_disks)

    def __call__(self, now: float) -> Mapping[Series, float]:
        before, self._before = self._before, None
        listed = parse_diskstats(read_text(self._path), self._path)
        known = self._known.get(now)
        disks = {
            name: times
            for name, times in listed.items()
            if (name in known if known is not None else looks_like_a_disk(name))
        }
        self._before = now, disks
        self._series = {name: self._series.get(name) or self._made(name) for name in disks}
        values: Values = {
            series: scale * total
            for name, times in disks.items()
            for series, total, scale in zip(self._series[name], times, self.SCALES, strict=True)
        }
        if before is not None:
            then, old = before
            _note(values, USAGE["disk_io"], disk.busiest_percent(old, disks, now - then))
        return values

    def _made(self, name: str) -> tuple[Series, ...]:
        return _table(f"node.disk/{name}", "counter", self.NAMES)

    def _whole_disks(self) -> frozenset[str] | None:
        """Those with hardware, or a hypervisor's, behind them; None where /sys does not tell."""
        try:
            names = [entry.name for entry in self._block.iterdir()]
        except OSError:
            return None
        return frozenset(name for name in names if (self._block / name / "device").exists())


class FilesystemReader:
    def __init__(self, host: HostFs) -> None:
        self._mounted = Kept(lambda: filesystems.real_filesystems(host))
        self._series: dict[str, tuple[Series, ...]] = {}

    def __call__(self, now: float) -> Mapping[Series, float]:
        """Those that cannot be asked are left out; raises only where none can."""
        mounted = self._mounted.get(now)
        values: Values = {}
        shares: list[float] = []
        failed: OSError | None = None
        for place, folder in mounted:
            try:
                space = filesystems.space(folder)
            except OSError as error:
                failed = error
                continue
            values.update(zip(self._of(place), space, strict=True))
            share = filesystems.full_percent(space)
            if share is not None:
                shares.append(share)
        if failed is not None and not values:
            raise failed
        _note(values, USAGE["disk"], max(shares, default=None))
        self._forget(mounted)
        return values

    def _of(self, place: str) -> tuple[Series, ...]:
        if place not in self._series:
            names = ("used_bytes", "available_bytes")
            self._series[place] = _table(f"node.filesystem/{place}", "gauge", names)
        return self._series[place]

    def _forget(self, mounted: Iterable[Filesystem]) -> None:
        places = {place for place, _ in mounted}
        self._series = {place: made for place, made in self._series.items() if place in places}


class NetReader:
    """The node's own interfaces: those with a device behind them, or, where /sys tells of none
    (a container's veth), all but loopback."""

    def __init__(self, host: HostFs) -> None:
        self._paths = str(host.proc / "1/net/dev"), str(host.proc / "net/dev")  # init's: the host's
        self._class = host.sys / "class/net"
        self._series: dict[str, tuple[Series, ...]] = {}
        self._before: tuple[float, Mapping[str, NetTotals]] | None = None
        self._links = Kept(self._speeds)

    def __call__(self, now: float) -> Mapping[Series, float]:
        before, self._before = self._before, None
        listed = self._listed()
        speeds = self._links.get(now)
        own = {name: totals for name, totals in listed.items() if name in speeds}
        own = own or {name: totals for name, totals in listed.items() if name != "lo"}
        self._before = now, own
        self._series = {name: self._series.get(name) or self._made(name) for name in own}
        values: Values = {
            series: total
            for name, totals in own.items()
            for series, total in zip(self._series[name], totals, strict=True)
        }
        if before is not None:
            then, old = before
            share = net.busiest_percent(old, own, speeds, now - then)
            _note(values, USAGE["net"], share)
        return values

    def _listed(self) -> dict[str, NetTotals]:
        first, second = self._paths
        with suppress(OSError):
            return parse_net_dev(read_text(first), first)
        return parse_net_dev(read_text(second), second)

    def _made(self, name: str) -> tuple[Series, ...]:
        return _table(f"node.net/{name}", "counter", NetTotals._fields)

    def _speeds(self) -> dict[str, float]:
        """Bytes per second of each interface with a device, 0 where its driver does not say."""
        found: dict[str, float] = {}
        try:
            names = [entry.name for entry in self._class.iterdir()]
        except OSError:
            return found
        for name in names:
            if not (self._class / name / "device").exists():
                continue
            found[name] = 0.0
            with suppress(OSError, ValueError):  # EINVAL while the link is down
                megabits = int((self._class / name / "speed").read_text())
                found[name] = max(megabits, 0) * 1e6 / 8
        return found


def _note(values: Values, series: Series, value: float | None) -> None:
    if value is not None:
        values[series] = value
