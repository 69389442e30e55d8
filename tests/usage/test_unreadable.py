"""Files of the kernel's that cannot be read, or do not answer: what is unknown is missing, and the
collectors that would show it say so."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from exporter.config.agent import Usage
from exporter.errors import NoData
from exporter.host.psi import NodePressure
from exporter.hostfs import HostFs
from exporter.metrics.registry import Registry
from exporter.testing import FakeClock, fake_host
from exporter.usage.facts import NodeFacts
from exporter.usage.history import History
from exporter.usage.node import CpuReader, node_sources
from exporter.usage.pods import Kubepods
from exporter.usage.series import Series, Source
from exporter.usage.statistics import UsageCollector, statistics_json
from exporter.usage.workloads import workloads

FILES = {
    "proc/stat": "cpu  9000 0 0 1000 0 0 0 0 0 0\ncpu0 1 2 3\nctxt 5\n"
    "procs_running 1\nprocs_blocked 0\n",
    "proc/meminfo": "MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 500 kB\n",
    "proc/loadavg": "0.50 0.40 0.30 1/100 1\n",
    "proc/vmstat": "allocstall_normal 1\nworkingset_refault 1\nworkingset_activate 1\n",
    "proc/diskstats": "8 0 sda 1 0 8 1 1 0 8 1 0 1 1\n",
    "proc/net/dev": "a | b\n face |bytes\n eth0: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n",
    "proc/1/mountinfo": "",
    "proc/self/mountinfo": "",
}
COLLECTORS = ("usage", "node")


class Node:
    """An agent's usage over a folder of files, and the two collectors that show it."""

    def __init__(self, folder: Path, *sources: Source) -> None:
        self.clock = FakeClock()
        self.host = fake_host(folder, FILES)
        self.history = History(
            self.clock, self.host, Usage(state_dir=None), sources or node_sources(self.host)
        )
        self.history.begin()
        self.registry = Registry(self.clock)
        self.registry.register(UsageCollector(self.history), "usage")
        self.registry.register(NodeFacts(self.history), "node")

    def tick(self) -> None:
        self.clock.advance(10.0)
        self.history.tick("slow")

    def scrape(self) -> Mapping[str, float]:
        found = {}
        for family in self.registry.collect():
            for sample in family.samples:
                found["".join((sample.name, *map(str, sample.labels.values())))] = sample.value
        return found

    def success(self) -> set[float]:
        found = self.scrape()
        return {found[f"kernmesh_collector_success{name}"] for name in COLLECTORS}


def unreadable(host: HostFs, name: str) -> None:
    """EISDIR, which root gets too."""
    (host.proc / name).unlink()
    (host.proc / name).mkdir()


@pytest.mark.parametrize(
    ("file", "gone", "left"),
    [
        ("stat", "kernmesh_node_cpu_seconds_totaluser", "kernmesh_node_memory_bytestotal"),
        ("meminfo", "kernmesh_node_memory_bytestotal", "kernmesh_node_cpu_seconds_totaluser"),
        ("loadavg", "kernmesh_node_load1m", "kernmesh_node_memory_bytestotal"),
        ("vmstat", "kernmesh_node_vm_direct_reclaims_total", "kernmesh_node_memory_bytestotal"),
        ("diskstats", "kernmesh_node_disk_reads_totalsda", "kernmesh_node_memory_bytestotal"),
        ("net/dev", "kernmesh_node_net_receive_bytes_totaleth0", "kernmesh_node_load1m"),
    ],
)
def test_an_unreadable_file_takes_its_values_along_and_its_collectors_say_so(
    file: str, gone: str, left: str, tmp_path: Path
) -> None:
    node = Node(tmp_path)
    node.tick()
    before = node.scrape()
    assert {gone, left} <= before.keys()
    assert node.success() == {1.0}
    unreadable(node.host, file)
    node.tick()
    after = node.scrape()
    assert gone not in after
    assert after[left] == before[left]
    assert node.success() == {0.0}
    details = {each.detail for each in node.registry.outcomes()}
    assert any(f"{node.host.proc}/{file}: Is a directory" in detail for detail in details)
    (node.host.proc / file).rmdir()
    fake_host(tmp_path, FILES)
    node.tick()
    assert node.success() == {1.0}
    assert gone in node.scrape()


def test_where_nothing_can_be_read_from_the_start_that_is_no_success(tmp_path: Path) -> None:
    node = Node(tmp_path)
    for name in FILES:
        unreadable(node.host, name.removeprefix("proc/"))
    node.tick()
    assert node.success() == {0.0}
    assert statistics_json(node.history) == "{}"


class Hanging:
    """A source that answers at once, then once not until it is let go."""

    def __init__(self) -> None:
        self.hangs, self.entered, self.go_on = False, threading.Event(), threading.Event()

    def __call__(self, now: float) -> Mapping[Series, float]:
        if self.hangs:
            self.entered.set()
            self.go_on.wait(60.0)
        return {CpuReader.BUSY: now}


def test_a_source_that_hangs_leaves_no_value_behind_as_if_it_were_now(tmp_path: Path) -> None:
    hanging = Hanging()
    memory = next(s for s in node_sources(fake_host(tmp_path, FILES)) if s.name == "memory")
    node = Node(tmp_path, memory, Source("fuse", ("slow",), lambda: hanging))
    node.tick()
    assert "node_mem_usage_active" in node.scrape()
    hanging.hangs = True
    tick = threading.Thread(target=node.tick)
    tick.start()
    assert hanging.entered.wait(60.0)
    node.clock.advance(15.0)  # two intervals late: the machine may be busy
    assert "node_mem_usage_active" in node.scrape()
    node.clock.advance(10.0)
    found = node.scrape()
    assert not [name for name in found if name.startswith(("node_", "kernmesh_node_"))]
    assert node.success() == {0.0}
    assert {"fuse: does not answer: no tick for 35 s"} == {
        each.detail for each in node.registry.outcomes()
    }
    assert statistics_json(node.history) == "{}"
    hanging.go_on.set()
    tick.join()
    node.tick()
    assert "node_mem_usage_active" in node.scrape()
    assert node.success() == {1.0}


def absent(host: HostFs) -> None:
    pass


def forbidden(host: HostFs) -> None:
    (host.proc / "pressure/cpu").mkdir(parents=True)


@pytest.mark.parametrize(("make", "error"), [(absent, NoData), (forbidden, OSError)])
def test_pressure_that_is_not_there_is_told_from_one_that_cannot_be_read(
    make: Callable[[HostFs], None], error: type[Exception], tmp_path: Path
) -> None:
    host = fake_host(tmp_path, {})
    make(host)
    with pytest.raises(error):
        list(NodePressure(host).collect())


def test_mounts_that_cannot_be_read_are_no_machine_without_cgroups(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"proc/self/mountinfo": ""})
    with pytest.raises(NoData):
        Kubepods(host).layout()
    unreadable(host, "self/mountinfo")
    with pytest.raises(IsADirectoryError):
        Kubepods(host).layout()
    registry = Registry()
    for name, collector in workloads(host, Usage(), FakeClock()).collectors:
        registry.register(collector, name)
    list(registry.collect())
    ok = {each.collector: each.ok for each in registry.outcomes()}
    assert ok.pop("pressure")
    assert ok == dict.fromkeys(("pods", "pod_pressure", "pod_net", "classes"), False)
