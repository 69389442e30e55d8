"""Cgroups: the files of one container spoiled in turn, read as the agent reads all pods; and paths.

Whatever one cgroup's files say, the other's row is as it was.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from exporter.errors import KernmeshError
from exporter.host.cgroup_limits import read_limits
from exporter.host.cgroup_stat import UsageReader, layout_of
from exporter.host.kubepods import is_kubepods, levels, read_path
from exporter.host.mounts import cgroup_mounts
from exporter.host.open_files import Descriptors, Gone
from exporter.host.psi import PressureReader
from exporter.hostfs import HostFs
from exporter.usage.pods import Kubepods, Offline, PodUsage
from tests.fuzz.ground import folder
from tests.fuzz.mutate import spoil_text
from tests.fuzz.target import Case, Target
from tests.usage.cgroup_trees import Machine, Numbers, container_name, machine, pod_path, put

_UIDS = ("0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002")
_PATHS = tuple(
    f"{pod_path('cgroupfs', 'burstable', uid)}/"
    + container_name("cgroupfs", "containerd", f"{number}" * 64)
    for number, uid in enumerate(_UIDS, 1)
)
_NUMBERS = Numbers(quota=50_000, memory_limit=1 << 30, io_limit=1 << 20)


@cache
def _ground(kind: Machine) -> HostFs:
    place = folder() / kind
    place.mkdir()
    host = machine(place, kind)
    for path in _PATHS:
        put(host, kind, path, _NUMBERS)
    return host


@cache
def _files(kind: Machine) -> list[tuple[Path, bytes]]:
    """Of the first container, as they are when nobody spoils them."""
    host = _ground(kind)
    found = [each for each in host.cgroup.rglob("*") if each.is_file() and _PATHS[0] in str(each)]
    return [(each, each.read_bytes()) for each in sorted(found)]


def _spoiled(kind: Machine, read: Callable[[HostFs], object], data: bytes) -> None:
    """The first byte says which file has the rest."""
    files = _files(kind)
    file, content = files[(data[0] if data else 0) % len(files)]
    file.write_bytes(data[1:])
    try:
        read(_ground(kind))
    finally:
        file.write_bytes(content)


def _pods(host: HostFs) -> None:
    kubepods = Kubepods(host)
    kubepods.budget.left = 0  # nothing is kept open, so nothing has to be closed
    usage = PodUsage(kubepods, None, Offline(["kubepods/besteffort"]))
    for now in (0.0, 1.0):
        there = {row.container.pod.uid: row.usage for row in usage.rows(now)}
        assert there[_UIDS[1]].memory_bytes == _NUMBERS.memory


def _one(host: HostFs) -> None:
    """By its own readers, whose callers take these for a cgroup that is gone."""
    layout = layout_of(cgroup_mounts(host))
    reader = UsageReader(layout, _PATHS[0], Descriptors(16))
    pressures = PressureReader(f"{layout.pressure or host.cgroup}/{_PATHS[0]}", Descriptors(4))
    try:
        reader.read()
        reader.read()
        read_limits(layout, _PATHS[0])
        pressures.read()
    finally:
        reader.close()
        pressures.close()


def _seeds(kind: Machine) -> list[bytes]:
    return [bytes([at]) + content for at, (_, content) in enumerate(_files(kind))]


def _paths(data: bytes) -> None:
    path = data.decode("utf-8", "surrogateescape")  # as os.scandir names them
    pod, place = read_path(path), levels(path)
    assert pod.kind in ("guaranteed", "burstable", "besteffort", "offline", "system")
    assert isinstance(place, tuple)
    is_kubepods(path)
    Offline([path]).has(_PATHS[0])


def _path_seeds() -> list[bytes]:
    names = [pod_path("systemd", "besteffort", _UIDS[0]), "system.slice/a.service:cri-containerd:b"]
    return [path.encode() for path in (*_PATHS, *names)]


TARGET = Target(
    "cgroups",
    "files of cgroup v1 and v2 (cpu, memory, io, pids, limits, pressure) and cgroups' paths",
    (
        Case("pods v1", partial(_spoiled, "v1", _pods), partial(_seeds, "v1"), spoil_text),
        Case("pods v2", partial(_spoiled, "v2", _pods), partial(_seeds, "v2"), spoil_text),
        Case(
            "one v2",
            partial(_spoiled, "v2", _one),
            partial(_seeds, "v2"),
            spoil_text,
            (KernmeshError, Gone, ValueError, KeyError),
        ),
        Case("paths", _paths, _path_seeds, spoil_text, tested="tests/host/test_kubepods.py"),
    ),
    4096,
)
