"""What cgroup files do not tell of a container: its network's counters, its CPU share, its disks'
service times.

    listen_overflows tcp_oom receive_* transmit_*   of the network namespace that its first process
                     is in; nothing for one that shares the node's (it would be the node's)
    cpu_request_cores   from cpu.shares or cpu.weight, as kubelet writes a request (1024 a core)
    memory_limit_bytes  its own; nothing where it has none
    read_service_seconds write_service_seconds   where a v1 I/O scheduler tells (bfq, cfq)

Kernel: net/ipv4/proc.c netstat_seq_show(), block/bfq-cgroup.c.
"""

import os
from collections.abc import Iterator, Mapping

from exporter.errors import KernmeshError
from exporter.host.cgroup_stat import Layout
from exporter.host.net import parse_net_dev
from exporter.host.open_files import read_once
from exporter.host.text import read_text
from exporter.hostfs import HostFs
from exporter.usage.pods import Kubepods
from exporter.usage.series import Kind, Series
from exporter.usage.subjects import Chosen, thing_of

_MEASURES: dict[str, Kind] = {
    "listen_overflows": "counter",
    "tcp_oom": "counter",
    "receive_bytes": "counter",
    "transmit_bytes": "counter",
    "receive_packets": "counter",
    "transmit_packets": "counter",
    "cpu_request_cores": "gauge",
    "memory_limit_bytes": "gauge",
    "read_service_seconds": "counter",
    "write_service_seconds": "counter",
}
_UNLIMITED = 1 << 62  # v1's "no limit" in whole pages is above this
_LOOK_AGAIN_SECONDS = 20.0
_DEEPEST = 3  # a pod's containers, and what a runtime makes below one
_SERVICE = tuple(f"blkio.{name}io_service_time_recursive" for name in ("bfq.", ""))


class ContainerReader:
    """A Read."""

    def __init__(self, fs: HostFs, kubepods: Kubepods, chosen: Chosen) -> None:
        self._proc, self._kubepods, self._chosen = str(fs.proc), kubepods, chosen
        self._pids: dict[str, int] = {}
        self._series: dict[str, dict[str, Series]] = {}
        self._settings: dict[str, tuple[float, dict[str, float]]] = {}
        self._own: int | None = None

    def __call__(self, now: float) -> Mapping[Series, float]:
        """Raises NoData where nothing accounts for cgroups."""
        with self._kubepods.turn:
            paths = [each.path.strip("/") for each in self._chosen() if each.kind != "offline"]
            layout = self._kubepods.layout()
        self._own = self._namespace(1)
        for gone in self._pids.keys() - set(paths):
            del self._pids[gone]
        values: dict[Series, float] = {}
        for path in paths:
            made = self._series.get(path)
            if made is None:
                thing = thing_of(path)
                made = self._series[path] = {
                    name: Series(f"{thing}.{name}", kind) for name, kind in _MEASURES.items()
                }
            found = self._network(layout.listing, path)
            found.update(_service(layout.io, path) if "io" not in layout.v2 else {})
            found.update(self._configured(layout, path, now))
            values.update((made[name], value) for name, value in found.items())
        for gone in self._series.keys() - set(paths):
            del self._series[gone]
            self._settings.pop(gone, None)
        return values

    def _configured(self, layout: Layout, path: str, now: float) -> dict[str, float]:
        """What seldom changes, read anew now and then, not of all at once."""
        until, found = self._settings.get(path, (now, {}))
        if now >= until:
            found = _request(layout.cpu, path, "cpu" in layout.v2)
            found.update(_limit(layout.memory, path, "memory" in layout.v2))
            age = _LOOK_AGAIN_SECONDS * (1 + hash(path) % 16 / 16)
            self._settings[path] = now + age, found
        return found

    def _network(self, folder: str, path: str) -> dict[str, float]:
        """Empty where it runs nothing, or in the node's own namespace."""
        for _ in range(2):
            pid = self._pids.get(path)
            if pid is None:
                pid = _first_pid(f"{folder}{path}", _DEEPEST)
                if pid is None:
                    return {}
                self._pids[path] = pid
            try:
                namespace = self._namespace(pid)
                if namespace is None or namespace == self._own:
                    del self._pids[path]
                    return {}
                return _counters(f"{self._proc}/{pid}/net")
            except (OSError, ValueError, KernmeshError):  # it ended: there may be another
                del self._pids[path]
        return {}

    def _namespace(self, pid: int) -> int | None:
        """A number that those in one network namespace share: its files below /proc/<pid>/net are
        its own (fs/proc/proc_net.c), and anybody may ask; <pid>/ns/net takes CAP_SYS_PTRACE."""
        try:
            return os.stat(f"{self._proc}/{pid}/net/dev").st_ino  # noqa: PTH116
        except OSError:
            return None


def _first_pid(folder: str, depth: int) -> int | None:
    text = read_once(f"{folder}/cgroup.procs")
    words = (text or b"").split(None, 1)
    if words:
        return int(words[0])
    if depth:
        for below in _folders(folder):
            pid = _first_pid(below, depth - 1)
            if pid is not None:
                return pid
    return None


def _folders(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from sorted(e.path for e in entries if e.is_dir(follow_symlinks=False))
    except OSError:
        return


def _counters(folder: str) -> dict[str, float]:
    found: dict[str, float] = {}
    devices = parse_net_dev(read_text(f"{folder}/dev"), f"{folder}/dev")
    for name in ("receive_bytes", "transmit_bytes", "receive_packets", "transmit_packets"):
        found[name] = sum(getattr(each, name) for dev, each in devices.items() if dev != "lo")
    extended = parse_netstat(read_text(f"{folder}/netstat"))
    for name, key in (("listen_overflows", "ListenOverflows"), ("tcp_oom", "TCPAbortOnMemory")):
        if key in extended:
            found[name] = extended[key]
    return found


def parse_netstat(text: str) -> dict[str, int]:
    """TcpExt's numbers by name: a line of names, then one of numbers. Raises ValueError."""
    lines = [line.split() for line in text.splitlines() if line.startswith("TcpExt:")]
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        raise ValueError("no TcpExt, want a line of names and one of as many numbers")
    return {name: int(number) for name, number in zip(*lines, strict=True) if name != "TcpExt:"}


def _request(folder: str, path: str, v2: bool) -> dict[str, float]:
    if not folder:
        return {}
    text = read_once(f"{folder}{path}/{'cpu.weight' if v2 else 'cpu.shares'}")
    if not text or not text.strip().isdigit():
        return {}
    number = int(text)
    # kubelet's conversion (KEP-2254): weight = 1 + (shares − 2) · 9999 / 262142
    shares = 2 + (number - 1) * 262142 / 9999 if v2 else number
    return {"cpu_request_cores": shares / 1024} if shares > 2 else {}


def _limit(folder: str, path: str, v2: bool) -> dict[str, float]:
    name = "memory.max" if v2 else "memory.limit_in_bytes"
    text = read_once(f"{folder}{path}/{name}") if folder else None
    if not text or not text.strip().isdigit() or int(text) >= _UNLIMITED:
        return {}
    return {"memory_limit_bytes": int(text)}


def _service(folder: str, path: str) -> dict[str, float]:
    """Lines "8:0 Read 123456", ns."""
    for name in _SERVICE if folder else ():
        text = read_once(f"{folder}{path}/{name}")
        if text is None:
            continue
        found = {"read_service_seconds": 0.0, "write_service_seconds": 0.0}
        for line in text.splitlines():
            words = line.split()
            if len(words) == 3 and words[1] in (b"Read", b"Write"):
                found[f"{words[1].decode().lower()}_service_seconds"] += int(words[2]) / 1e9
        return found
    return {}
