"""Containers as metric families: names by cadvisor's conventions, rows for what is known."""

from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeClock
from exporter.usage.pod_families import PodsCollector
from exporter.usage.podnames import LogNames
from exporter.usage.pods import Kubepods, Offline, PodUsage
from tests.usage.cgroup_trees import Numbers, machine, pod_path, put, remove

UID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
ID, ID2 = "3f" * 32, "4e" * 32
POD = pod_path("cgroupfs", "burstable", UID)
LABELS = f'class="online",container="{ID[:12]}",namespace="shop",pod="web-0",qos="burstable"'


def collector(host: HostFs) -> PodsCollector:
    usage = PodUsage(Kubepods(host), LogNames(host), Offline(["kubepods/besteffort"]))
    return PodsCollector(usage, FakeClock())


def page(collector: PodsCollector) -> dict[str, str]:
    registry = Registry(FakeClock())
    registry.register(collector, "pods")
    lines = render(registry)[0].decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if line.startswith("kernmesh_container"))


def test_every_measure_of_a_container_has_its_family(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    (host.root / f"var/log/pods/shop_web-0_{UID}").mkdir(parents=True)
    numbers = Numbers(quota=150_000, memory_limit=1 << 20, io_limit=1000)
    put(host, "v2", f"{POD}/{ID}", numbers)
    want = {
        "cpu_usage_seconds_total": "1.5",
        "cpu_cfs_periods_total": "40.0",
        "cpu_cfs_throttled_periods_total": "7.0",
        "cpu_cfs_throttled_seconds_total": "0.25",
        "memory_usage_bytes": "9000.0",
        "memory_working_set_bytes": "8000.0",
        "fs_reads_bytes_total": "4097.0",
        "fs_writes_bytes_total": "12.0",
        "fs_reads_total": "5.0",
        "fs_writes_total": "6.0",
        "threads": "3.0",
        "spec_cpu_limit_cores": "1.5",
        "spec_memory_limit_bytes": "1.048576e+06",
    }
    found = page(collector(host))
    info = f'{LABELS.replace("namespace", f"id=|{ID}|,namespace")},uid="{UID}"'.replace("|", '"')
    limit = LABELS.replace("namespace", 'device="8:0",namespace').replace(
        "pod=", 'operation="write",pod='
    )
    assert found == {
        **{f"kernmesh_container_{name}{{{LABELS}}}": value for name, value in want.items()},
        f"kernmesh_container_spec_fs_limit_bytes_per_second{{{limit}}}": "1000.0",
        f"kernmesh_container_info{{{info}}}": "1.0",
    }


def test_rows_come_and_go_with_containers(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", f"{POD}/{ID}", Numbers(cpu_us=1_000_000))
    of = collector(host)
    name = "kernmesh_container_cpu_usage_seconds_total"

    def cpu() -> list[str]:
        return sorted(value for key, value in page(of).items() if key.startswith(name))

    assert cpu() == ["1.0"]
    put(host, "v2", f"{POD}/{ID2}", Numbers(cpu_us=2_000_000))
    assert cpu() == ["1.0", "2.0"]
    put(host, "v2", f"{POD}/{ID}", Numbers(cpu_us=1_500_000))
    assert cpu() == ["1.5", "2.0"]
    remove(host, f"{POD}/{ID}")
    assert cpu() == ["2.0"]


def test_a_measure_that_no_container_has_has_no_family(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", f"{POD}/{ID}", Numbers())
    (host.cgroup / POD / ID / "io.stat").unlink()
    found = page(collector(host))
    assert not [key for key in found if "_fs_" in key or "_limit_" in key]
    assert [key for key in found if "_cpu_usage_" in key]


def test_without_pods_there_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="runs no pods"):
        list(collector(machine(tmp_path, "hybrid")).collect())
