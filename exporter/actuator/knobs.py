"""What each knob writes, on v1 and on v2: a plan of values, made from what the files say now.

The rule: never looser than what was there before us. Pure but for reading; writes nothing.

Kernel: kernel/sched/core.c sched_group_set_idle() (cpu.idle sets the weight to 3, and to 1024 when
taken back), tg_set_bandwidth() and __cfs_schedulable() (v1: no quota above that of the cgroup
around it; at least 1 ms); mm/memcontrol.c memory_high_write(), v1's soft_limit_in_bytes;
block/blk-throttle.c (v1: limits hold for the cgroup's own tasks only, not for those below it).
"""

import os
from collections.abc import Iterable, Mapping

from exporter.actuator.cgroups import Folder
from exporter.actuator.journal import Record
from exporter.actuator.protocol import Knob

CONTROLLER: Mapping[Knob, str] = {
    "cpu_quota": "cpu",
    "preempt": "cpu",
    "memory_high": "memory",
    "io": "io",
}
ANYTHING = "*"
"""A coupled value that the kernel chooses."""
RESET = {"cpu.shares": "1024", "cpu.weight": "100"}
"""What the kernel leaves when cpu.idle is taken back."""
LEAST_QUOTA_US = 1000
_PERIOD_US = 100_000
_V1_IO = {
    "rbps": "blkio.throttle.read_bps_device",
    "wbps": "blkio.throttle.write_bps_device",
    "riops": "blkio.throttle.read_iops_device",
    "wiops": "blkio.throttle.write_iops_device",
}
_V1_UNLIMITED = 1 << 62
QOS_LEVEL = "cpu.qos_level"
Before = Mapping[tuple[str, str], str]
"""What was there before us, by file and key; what is not in it is read."""


class Unfit(Exception):
    """This cgroup cannot be given that: the text says what it lacks."""


def strictest(wants: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Of each limit the smallest."""
    merged: dict[str, float] = {}
    for want in wants:
        for name, value in want.items():
            merged[name] = min(value, merged.get(name, value))
    return merged


def plan(folder: Folder, knob: Knob, limits: Mapping[str, float], before: Before) -> list[Record]:
    """In the order of writing. Raises Unfit, or OSError where the cgroup is gone."""
    v2 = folder.hierarchy.version == 2
    if knob == "cpu_quota":
        return (_cpu_max if v2 else _cfs_quota)(folder, limits["cores"], before)
    if knob == "preempt":
        return _idle(folder, before)
    if knob == "memory_high":
        return [_memory(folder, limits["bytes"], before)]
    return list((_io_max if v2 else _blkio)(folder, limits, before))


def value(folder: Folder, record: Record) -> str:
    """What is there now."""
    return current(folder, record.file, record.key)


def current(folder: Folder, file: str, key: str = "") -> str:
    text = folder.read(file)
    if not key:
        return " ".join(text.split())
    for line in text.splitlines():
        device, _, rest = line.partition(" ")
        if device == key:
            return " ".join(rest.split())
    return _no_limit(file)


def _no_limit(file: str) -> str:
    return "rbps=max wbps=max riops=max wiops=max" if file == "io.max" else "0"


def text_of(record: Record, value: str) -> str:
    return f"{record.key} {value}" if record.key else value


def cores_of(folder: Folder) -> float | None:
    """Its quota as cores; None where it has none."""
    if folder.hierarchy.version == 2:
        quota, _, period = current(folder, "cpu.max").partition(" ")
    else:
        quota, period = current(folder, "cpu.cfs_quota_us"), current(folder, "cpu.cfs_period_us")
    return None if quota in ("max", "-1") else int(quota) / int(period)


def memory_of(folder: Folder) -> tuple[float | None, float | None]:
    """The lowest of its limits, and what it has, in bytes."""
    v2 = folder.hierarchy.version == 2
    names = ("memory.high", "memory.max") if v2 else ("memory.soft_limit_in_bytes", _V1_LIMIT)
    limits = [bytes_of(current(folder, name)) for name in names]
    known = [limit for limit in limits if limit is not None]
    now = bytes_of(current(folder, "memory.current" if v2 else "memory.usage_in_bytes"))
    return min(known, default=None), now


_V1_LIMIT = "memory.limit_in_bytes"


def bytes_of(text: str) -> float | None:
    return None if text == "max" or int(text) >= _V1_UNLIMITED else float(text)


def _was(folder: Folder, before: Before, file: str, key: str = "") -> str:
    known = before.get((file, key))
    return current(folder, file, key) if known is None else known


def _need(folder: Folder, *files: str) -> None:
    for file in files:
        if not folder.has(file):
            raise Unfit(f"{folder.shown(file)}: there is no such file here")


def _quota(cores: float, quota: str, period: str) -> tuple[int, int] | None:
    """None: what was before is as strict."""
    if quota not in ("max", "-1") and int(quota) / int(period) <= cores:
        return None
    wanted = int(cores * int(period))
    if wanted >= LEAST_QUOTA_US:
        return wanted, int(period)
    return max(int(cores * _PERIOD_US), LEAST_QUOTA_US), _PERIOD_US


def _cfs_quota(folder: Folder, cores: float, before: Before) -> list[Record]:
    quota_file, period_file = "cpu.cfs_quota_us", "cpu.cfs_period_us"
    _need(folder, quota_file, period_file)
    quota, period = _was(folder, before, quota_file), _was(folder, before, period_file)
    new = _quota(cores, quota, period) or (quota, period)
    return [
        Record(period_file, period, str(new[1]), coupled=True),
        Record(quota_file, quota, str(new[0])),
    ]


def _cpu_max(folder: Folder, cores: float, before: Before) -> list[Record]:
    _need(folder, "cpu.max")
    was = _was(folder, before, "cpu.max")
    new = _quota(cores, *was.split())
    return [Record("cpu.max", was, was if new is None else f"{new[0]} {new[1]}")]


def _idle(folder: Folder, before: Before) -> list[Record]:
    weight, least = ("cpu.weight", "1") if folder.hierarchy.version == 2 else ("cpu.shares", "2")
    _need(folder, weight)
    weighed = _was(folder, before, weight)
    if not folder.has("cpu.idle"):  # kernels before 5.15
        return [Record(weight, weighed, least)]
    was = _was(folder, before, "cpu.idle")
    return [Record("cpu.idle", was, "1"), Record(weight, weighed, ANYTHING, coupled=True)]


def _memory(folder: Folder, most: float, before: Before) -> Record:
    file = "memory.high" if folder.hierarchy.version == 2 else "memory.soft_limit_in_bytes"
    _need(folder, file)
    was = _was(folder, before, file)
    former = bytes_of(was)
    if former is not None and former <= most:
        return Record(file, was, was)
    page = os.sysconf("SC_PAGE_SIZE")
    return Record(file, was, str(int(most) // page * page))


def _devices(text: str) -> list[str]:
    """Those that the cgroup has used: "254:0 rbytes=…", or v1's "254:0 Read 4096"."""
    names = (line.split(" ", 1)[0] for line in text.splitlines())
    return [name for name in dict.fromkeys(names) if name.replace(":", "").isdecimal()]


def _io_max(folder: Folder, limits: Mapping[str, float], before: Before) -> Iterable[Record]:
    _need(folder, "io.max", "io.stat")
    for device in _devices(folder.read("io.stat")):
        was = _was(folder, before, "io.max", device)
        named = dict(pair.split("=") for pair in was.split())
        for name, most in limits.items():
            former = named.get(name, "max")
            if former == "max" or int(former) > most:
                named[name] = str(int(most))
        after = " ".join(f"{name}={number}" for name, number in named.items())
        yield Record("io.max", was, after, key=device)


def _blkio(folder: Folder, limits: Mapping[str, float], before: Before) -> Iterable[Record]:
    _need(folder, *(_V1_IO[name] for name in limits), "blkio.throttle.io_service_bytes")
    for device in _devices(folder.read("blkio.throttle.io_service_bytes")):
        for name, most in limits.items():
            was = _was(folder, before, _V1_IO[name], device)
            stricter = was != "0" and int(was) <= most
            yield Record(_V1_IO[name], was, was if stricter else str(int(most)), key=device)
