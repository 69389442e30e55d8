"""One cgroup's usage, read from v1, v2 or both (hybrid), each fact where it is.

The rule: what a hierarchy does not have is None, never 0. Knows paths below a hierarchy's mount,
nothing of pods.

Kernel: Documentation/admin-guide/cgroup-v2.rst; cgroup-v1/ cpuacct, memory, blkio-controller and
pids.rst; kernel/sched/core.c cpu_cfs_stat_show() and cpu_extra_stat_show().
"""

from collections.abc import Sequence
from typing import NamedTuple

from exporter.errors import NoData
from exporter.host.mounts import CgroupMount
from exporter.host.open_files import Descriptors, Gone, OpenFiles, read_once

_RESTING_READINGS = 6
_Quota = tuple[int | None, int | None, float | None]
"""Periods, throttled periods, throttled seconds."""
_NO_QUOTA: _Quota = (None, None, None)


class Usage(NamedTuple):
    """Totals since the cgroup was made, and what it has now; below it included, but for periods
    and throttling, which are its own quota's. None: this machine does not say.

    `working_set_bytes` is usage less inactive_file, as kubelet reckons it. I/O is what block
    devices were asked for; v1 does not see written-back pages. `tasks` are threads. `cache_bytes`
    are memory.stat's file (v2) or total_cache (v1): pages of files, tmpfs included."""

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
    cache_bytes: int | None = None


class BlockCounts:
    """Whether v1's blkio.throttle files count anything. Since 6.10 (block/blk-throttle.c,
    commit a3166c51702b) they do so only once any cgroup was given a limit; before, and for a
    cgroup that asked nothing of a disk, they say "Total 0". The root's tells the two apart."""

    _ASKED_AGAIN = 64

    def __init__(self, folder: str) -> None:
        """`folder`: the hierarchy's mount, ending in "/"."""
        self._path = f"{folder}blkio.throttle.io_service_bytes_recursive"
        self._known = False
        self._asked = 0

    def known(self) -> bool:
        """Once they count they go on; until then the root is read at every 64th call."""
        if not self._known and self._asked % self._ASKED_AGAIN == 0:
            text = read_once(self._path)
            self._known = text is not None and not text.startswith(b"Total")
        self._asked += 1
        return self._known


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
    block_counts: BlockCounts


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
        block_counts=BlockCounts(folders.get("io", "")),
    )


def _is_v2(mount: CgroupMount | None) -> bool:
    return mount is not None and mount.version == 2


class UsageReader:
    """Reads one cgroup's usage again and again; `path` is below the mounts.

    What cannot have changed much is not read again: of a cgroup that has not run since the last
    reading nothing, and memory.stat, which costs as much as all else, where memory in use is the
    same to the byte. At every sixth reading all is looked at (of one that rests: memory in use and
    I/O, the rest at every twelfth): pages may be reclaimed, age, and be written back without that,
    and a quota may be new (v1 tells of periods in a file of its own, which is left alone where
    none ended while the cgroup ran)."""

    __slots__ = (
        "_begin",
        "_block_counts",
        "_cache",
        "_cache_bytes",
        "_files",
        "_inactive",
        "_inactive_bytes",
        "_last",
        "_quota",
        "_texts",
        "_turn",
        "_v2_cpu",
        "_v2_io",
        "runs",
    )

    def __init__(self, layout: Layout, path: str, budget: Descriptors) -> None:
        self._v2_cpu, memory2, self._v2_io = (n in layout.v2 for n in ("cpu", "memory", "io"))
        names = (
            (layout.cpu, "cpu.stat") if self._v2_cpu else (layout.cpuacct, "cpuacct.usage"),
            (layout.memory, "memory.current" if memory2 else "memory.usage_in_bytes"),
            (layout.io, "io.stat" if self._v2_io else "blkio.throttle.io_service_bytes_recursive"),
            ("" if self._v2_cpu else layout.cpu, "cpu.stat"),
            (layout.memory, "memory.stat"),
            (layout.pids, "pids.current"),
            ("" if self._v2_io else layout.io, "blkio.throttle.io_serviced_recursive"),
        )
        paths = [f"{folder}{path}/{name}" if folder else "" for folder, name in names]
        self._files = OpenFiles(paths, budget)
        self._inactive = b"\ninactive_file " if memory2 else b"\ntotal_inactive_file "
        self._cache = b"\nfile " if memory2 else b"\ntotal_cache "
        self._block_counts = layout.block_counts
        self._texts: tuple[bytes | None, bytes | None, bytes | None] = (None, None, None)
        self._last = Usage()
        self._quota: _Quota | None = None  # v1's, None where it may have changed
        self._inactive_bytes: int | None = None
        self._cache_bytes: int | None = None
        self._turn: int | None = None
        self._begin = hash(path) % (2 * _RESTING_READINGS)  # so that not all read all at once
        self.runs = 0
        """At how many readings it had run since the one before; 1 with the first."""

    def read(self) -> Usage:
        """Raises Gone where the cgroup is no more, ValueError or KeyError where a text makes no
        sense; whatever is read after that is read whole."""
        try:
            return self._read()
        except (Gone, ValueError, KeyError, OverflowError) as error:
            self._texts, self._last = (None, None, None), Usage()
            self._quota = self._inactive_bytes = self._cache_bytes = self._turn = None
            if isinstance(error, OverflowError):  # a number of more than 308 digits
                raise ValueError(str(error)) from error
            raise

    def _read(self) -> Usage:
        one = self._files.one
        turn = self._turn
        self._turn = self._begin if turn is None else (turn + 1) % (2 * _RESTING_READINGS)
        everything = turn is None or turn % _RESTING_READINGS == 0
        before = self._texts
        cpu = one(0)
        if cpu == before[0] and cpu is not None:
            if not everything:
                return self._last
            everything = not turn  # the first time, too
        else:
            self.runs += 1
        now = _, memory, io = cpu, one(1), one(2)
        self._texts = now
        if now == before and not everything:
            return self._last
        if cpu is None and memory is None:
            self._files.close()
            raise Gone
        usage = self._last
        if everything or now[:2] != before[:2]:
            seconds, quota = self._cpu(cpu, everything)
            used = None if memory is None else int(memory)
            if everything or memory != before[1]:
                stat = self._files.one(4)
                self._inactive_bytes = _number_after(self._inactive, stat)
                self._cache_bytes = _number_after(self._cache, stat)
            working_set = None
            if used is not None and self._inactive_bytes is not None:
                # two files, read one after the other: less than nothing is nothing
                working_set = max(used - self._inactive_bytes, 0)
            tasks = one(5)
            usage = Usage(
                seconds,
                *quota,
                used,
                working_set,
                *usage[6:10],
                None if tasks is None else int(tasks),
                self._cache_bytes,
            )
        if everything or io != before[2]:
            read, written, reads, writes = self._io(io)
            usage = usage._replace(
                read_bytes=read, written_bytes=written, reads=reads, writes=writes
            )
        self._last = usage
        return usage

    def _cpu(self, text: bytes | None, everything: bool) -> tuple[float | None, _Quota]:
        if self._v2_cpu:
            if text is None:
                return None, _NO_QUOTA
            stat = _pairs(text)
            return int(stat[b"usage_usec"]) / 1e6, _quota(stat, b"throttled_usec", 1e6)
        if everything or self._quota is None:
            file = self._files.one(3)
            before = self._last[1:4]
            quota = _NO_QUOTA if file is None else _quota(_pairs(file), b"throttled_time", 1e9)
            self._quota = quota if quota == before else None
        else:
            quota = self._quota
        return None if text is None else int(text) / 1e9, quota

    def _io(self, text: bytes | None) -> tuple[int | None, int | None, int | None, int | None]:
        if text is None:
            return None, None, None, None
        if self._v2_io:
            return _io_v2(text)
        if text.startswith(b"Total") and not self._block_counts.known():
            return None, None, None, None
        operations = self._files.one(6)
        return (*_io_v1(text), *((None, None) if operations is None else _io_v1(operations)))

    def close(self) -> None:
        self._files.close()


def _number_after(word: bytes, text: bytes | None) -> int | None:
    at = -1 if text is None else text.find(word)
    if text is None or at < 0:
        return None
    at += len(word)
    return int(text[at : text.find(b"\n", at)])


def _pairs(text: bytes) -> dict[bytes, bytes]:
    words = text.split()
    return dict(zip(words[::2], words[1::2], strict=False))


def _quota(stat: dict[bytes, bytes], throttled: bytes, unit: float) -> _Quota:
    if b"nr_periods" not in stat:  # no cpu controller
        return _NO_QUOTA
    return int(stat[b"nr_periods"]), int(stat[b"nr_throttled"]), int(stat[throttled]) / unit


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
