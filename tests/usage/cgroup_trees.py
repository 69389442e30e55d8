"""Machines as folders of files: v1, v2 and hybrid cgroups, by kubelet's two drivers.

The shapes are what kernels and runtimes write; sizes are small numbers that tests can add up.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from exporter.hostfs import HostFs
from exporter.testing import fake_host

Machine = Literal["v1", "v2", "hybrid"]
Driver = Literal["cgroupfs", "systemd"]
Runtime = Literal["containerd", "cri-o", "docker"]

MACHINES: Sequence[Machine] = ("v1", "v2", "hybrid")
DRIVERS: Sequence[Driver] = ("cgroupfs", "systemd")
RUNTIMES: Sequence[Runtime] = ("containerd", "cri-o", "docker")

_V1 = ("cpu,cpuacct", "memory", "blkio", "pids")
_SCOPES: Mapping[Runtime, str] = {
    "containerd": "cri-containerd-{}.scope",
    "cri-o": "crio-{}.scope",
    "docker": "docker-{}.scope",
}
_PRESSURE = (
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=500000\n"
)


class Numbers(NamedTuple):
    """What a cgroup's files say. `quota` in µs per 100 ms, `memory_limit` in bytes; None: none."""

    cpu_us: int = 1_500_000
    throttled_us: int = 250_000
    memory: int = 9000
    inactive_file: int = 1000
    read: int = 4096
    tasks: int = 3
    quota: int | None = None
    memory_limit: int | None = None
    io_limit: int | None = None


def machine(folder: Path, kind: Machine) -> HostFs:
    """Mounts, and nothing in them."""
    lines = []
    if kind != "v1":
        place = "/sys/fs/cgroup" if kind == "v2" else "/sys/fs/cgroup/unified"
        lines.append(f"41 31 0:38 / {place} rw - cgroup2 cgroup2 rw\n")
    if kind != "v2":
        for number, names in enumerate(_V1):
            place = f"/sys/fs/cgroup/{names}"
            lines.append(
                f"{50 + number} 31 0:{50 + number} / {place} rw - cgroup cgroup rw,{names}\n"
            )
    host = fake_host(folder, {"proc/1/mountinfo": "".join(lines)})
    for name in _V1 if kind != "v2" else ():
        (host.cgroup / name).mkdir()
    if kind == "hybrid":
        (host.cgroup / "unified").mkdir()
        (host.cgroup / "unified/cgroup.controllers").write_text("\n")
    if kind == "v2":
        (host.cgroup / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    return host


def pod_path(driver: Driver, qos: str, uid: str) -> str:
    """Below a mount; `qos` "guaranteed", "burstable", "besteffort", or "offline" as Caelus has."""
    level = "" if qos == "guaranteed" else qos
    if driver == "cgroupfs":
        return "/".join(filter(None, ("kubepods", level, f"pod{uid}")))
    name = uid.replace("-", "_")
    if not level:
        return f"kubepods.slice/kubepods-pod{name}.slice"
    return f"kubepods.slice/kubepods-{level}.slice/kubepods-{level}-pod{name}.slice"


def container_name(driver: Driver, runtime: Runtime, identity: str) -> str:
    if driver == "systemd":
        return _SCOPES[runtime].format(identity)
    return f"crio-{identity}" if runtime == "cri-o" else identity


def put(host: HostFs, kind: Machine, path: str, numbers: Numbers) -> None:
    """A cgroup with these files, in every hierarchy; made with those above it."""
    for where, files in _files(kind, numbers).items():
        folder = host.cgroup / where / path
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text)


def remove(host: HostFs, path: str) -> None:
    for folder in (host.cgroup, *host.cgroup.iterdir()):
        if (folder / path).is_dir():
            shutil.rmtree(folder / path)


def _files(kind: Machine, n: Numbers) -> dict[str, dict[str, str]]:
    pressure = {f"{name}.pressure": _PRESSURE for name in ("cpu", "memory", "io")}
    if kind == "v2":
        return {"": {**_v2(n), **pressure}}
    files = {
        "cpu,cpuacct": {
            "cpuacct.usage": f"{n.cpu_us * 1000}\n",
            "cpu.stat": f"nr_periods 40\nnr_throttled 7\nthrottled_time {n.throttled_us * 1000}\n",
            "cpu.cfs_quota_us": f"{-1 if n.quota is None else n.quota}\n",
            "cpu.cfs_period_us": "100000\n",
        },
        "memory": {
            "memory.usage_in_bytes": f"{n.memory}\n",
            "memory.stat": f"cache 5\ninactive_file 1\ntotal_cache 7\n"
            f"total_inactive_file {n.inactive_file}\ntotal_active_file 9\n",
            "memory.limit_in_bytes": f"{n.memory_limit or 9223372036854771712}\n",
        },
        "blkio": {
            "blkio.throttle.io_service_bytes_recursive": f"8:0 Read {n.read}\n8:0 Write 10\n"
            f"8:0 Sync 1\n8:0 Total {n.read + 10}\n8:16 Read 1\n8:16 Write 2\nTotal 99\n",
            "blkio.throttle.io_serviced_recursive": "8:0 Read 5\n8:0 Write 6\nTotal 11\n",
            "blkio.throttle.write_bps_device": f"8:0 {n.io_limit}\n" if n.io_limit else "",
            "blkio.throttle.read_bps_device": "",
            "blkio.throttle.read_iops_device": "",
            "blkio.throttle.write_iops_device": "",
        },
        "pids": {"pids.current": f"{n.tasks}\n"},
    }
    if kind == "hybrid":
        files["unified"] = {"cpu.stat": f"usage_usec {n.cpu_us + 99}\n", **pressure}
    return files


def _v2(n: Numbers) -> dict[str, str]:
    quota = "max" if n.quota is None else n.quota
    return {
        "cpu.stat": f"usage_usec {n.cpu_us}\nuser_usec 1\nsystem_usec 2\nnr_periods 40\n"
        f"nr_throttled 7\nthrottled_usec {n.throttled_us}\nnr_bursts 0\nburst_usec 0\n",
        "cpu.max": f"{quota} 100000\n",
        "memory.current": f"{n.memory}\n",
        "memory.stat": f"anon 5\nfile 6\ninactive_anon 7\ninactive_file {n.inactive_file}\n"
        "active_file 8\n",
        "memory.max": f"{n.memory_limit or 'max'}\n",
        "io.stat": f"8:0 rbytes={n.read} wbytes=10 rios=5 wios=6 dbytes=0 dios=0\n"
        "8:16 rbytes=1 wbytes=2 rios=0 wios=0 dbytes=0 dios=0\n",
        "io.max": f"8:0 rbps=max wbps={n.io_limit} riops=max wiops=max\n" if n.io_limit else "",
        "pids.current": f"{n.tasks}\n",
    }
