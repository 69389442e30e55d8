"""What kernmesh says about itself: its build, its memory, its process.

The rule: read at the scrape, missing where it cannot be read. Knows no other collector.
"""

import platform
from collections.abc import Collection, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, GCCollector, Metric, ProcessCollector
from prometheus_client.registry import Collector

from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.metrics.registry import Registry
from exporter.metrics.table import FastFamily, Shape

_MEMORY = Shape(
    "gauge",
    "kernmesh_cgroup_memory_bytes",
    "Memory charged to the cgroup that kernmesh runs in, its BPF maps included.",
)


class BuildInfo:
    """kernmesh_build_info{version,revision,python}, and `<prefix>_build_info` as upstream's
    dashboards look for it. `revision` is the git commit, "" where it is not known."""

    def __init__(self, version: str, revision: str, prefix: str) -> None:
        self._families = [
            FastFamily.of(
                Shape(
                    "gauge",
                    "kernmesh_build_info",
                    "The build that runs.",
                    ["version", "revision", "python"],
                ),
                {(version, revision, platform.python_version()): 1.0},
            ),
            FastFamily.of(
                Shape(
                    "gauge",
                    f"{prefix}_build_info",
                    "The build that runs, under the name that ebpf_exporter has for it.",
                    ["version", "revision"],
                ),
                {(version, revision): 1.0},
            ),
        ]

    def collect(self) -> Iterable[Metric]:
        return self._families


class CgroupMemory:
    """memory.current (v2) or memory.usage_in_bytes (v1) of our own cgroup."""

    def __init__(self, fs: HostFs) -> None:
        self._fs = fs

    def collect(self) -> Iterable[Metric]:
        """Raises NoData where no memory controller tells."""
        try:
            text = (self._fs.proc / "self/cgroup").read_text(errors="replace")
        except OSError as error:
            raise NoData(f"own cgroup unknown: {error}") from None
        for path in memory_files(self._fs.cgroup, text):
            try:
                yield FastFamily.of(_MEMORY, {(): int(path.read_text())})
            except (OSError, ValueError):
                continue
            return
        raise NoData("no memory controller for the own cgroup")


def memory_files(root: Path, cgroups: str) -> list[Path]:
    """Where the memory in use may be read, best first; `cgroups` is /proc/self/cgroup
    (Documentation/admin-guide/cgroup-v2.rst: "0::" is the unified hierarchy). The root cgroup of
    v1 is left out: it has the whole machine's; v2's root has no such file."""
    v1: list[Path] = []
    v2: list[Path] = []
    for line in cgroups.splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        below = path.lstrip("/")
        if hierarchy == "0" and not controllers:
            v2 += [root / below / "memory.current", root / "unified" / below / "memory.current"]
        elif "memory" in controllers.split(",") and below:
            v1.append(root / "memory" / below / "memory.usage_in_bytes")
    return v1 + v2


class Beginning:
    """A collector all of whose names begin so: not asked where no such name is wanted."""

    def __init__(self, beginning: str, collector: Collector) -> None:
        self._beginning, self._collector = beginning, collector

    def collect(self) -> Iterable[Metric]:
        return self._collector.collect()

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        if any(name.startswith(self._beginning) for name in names):
            return self._collector.collect()
        return ()


def register_self(registry: Registry, fs: HostFs, version: str, revision: str, prefix: str) -> None:
    """All of it, under the collector names build, process, cgroup_memory and gc."""
    registry.register(BuildInfo(version, revision, prefix), "build")
    registry.register(Beginning("process_", ProcessCollector(registry=None)), "process")
    registry.register(Beginning(_MEMORY.exposed, CgroupMemory(fs)), "cgroup_memory")
    # It insists on registering itself, under no name.
    registry.register(Beginning("python_gc_", GCCollector(registry=CollectorRegistry())), "gc")
