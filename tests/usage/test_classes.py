"""Usage of all online and all offline pods, from the cgroups that hold them."""

from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeClock
from exporter.usage.classes import ClassUsage
from exporter.usage.pods import Kubepods, Offline
from tests.usage.cgroup_trees import MACHINES, Machine, Numbers, machine, put, remove

ROOTS = ("kubepods/offline", "kubepods/besteffort")


def classes(host: HostFs, *roots: str) -> ClassUsage:
    return ClassUsage(Kubepods(host), Offline(roots or ROOTS), FakeClock())


def cpu(usage: ClassUsage, now: float = 0.0) -> dict[str, float]:
    return {
        series.name.partition(".")[0]: value
        for series, value in usage.read(now).items()
        if series.name.endswith(".cpu_seconds")
    }


@pytest.mark.parametrize("kind", MACHINES)
@pytest.mark.parametrize(
    ("top", "middle"),
    [("kubepods", "kubepods/{}"), ("kubepods.slice", "kubepods.slice/kubepods-{}.slice")],
)
def test_online_is_kubepods_less_what_is_offline(
    kind: Machine, top: str, middle: str, tmp_path: Path
) -> None:
    host = machine(tmp_path, kind)
    put(host, kind, top, Numbers(cpu_us=10_000_000, memory=9000, inactive_file=1000, read=500))
    put(host, kind, middle.format("burstable"), Numbers(cpu_us=4_000_000))
    put(host, kind, middle.format("besteffort"), Numbers(1_000_000, memory=1500, read=100))
    put(host, kind, middle.format("offline"), Numbers(2_000_000, memory=1500, read=100))
    assert {series.name: value for series, value in classes(host).read(0.0).items()} == {
        "class/online.cpu_seconds": 7.0,
        "class/online.working_set_bytes": 7000.0,
        "class/online.read_bytes": 501 - 202,
        "class/online.written_bytes": 0.0,
        "class/offline.cpu_seconds": 3.0,
        "class/offline.working_set_bytes": 1000.0,
        "class/offline.read_bytes": 202,
        "class/offline.written_bytes": 24,
    }


def test_an_offline_root_within_another_counts_once(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "kubepods", Numbers(cpu_us=5_000_000))
    put(host, "v2", "kubepods/offline", Numbers(cpu_us=3_000_000))
    put(host, "v2", "kubepods/offline/besteffort", Numbers(cpu_us=3_000_000))
    assert cpu(classes(host)) == {"class/online": 2.0, "class/offline": 3.0}


def test_without_offline_work_nothing_is_said_of_it(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "kubepods", Numbers(cpu_us=5_000_000))
    assert cpu(classes(host)) == {"class/online": 5.0}


def test_online_does_not_go_back_where_the_readings_are_not_of_one_moment(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    usage = classes(host)
    put(host, "v2", "kubepods", Numbers(cpu_us=5_000_000))
    put(host, "v2", "kubepods/besteffort", Numbers(cpu_us=3_000_000))
    assert cpu(usage, 0.0)["class/online"] == 2.0
    put(host, "v2", "kubepods", Numbers(cpu_us=5_500_000))
    put(host, "v2", "kubepods/besteffort", Numbers(cpu_us=3_600_000))
    assert cpu(usage, 1.0)["class/online"] == 2.0
    put(host, "v2", "kubepods", Numbers(cpu_us=6_500_000))
    assert cpu(usage, 2.0)["class/online"] == 2.9


def test_a_kubepods_made_anew_begins_anew(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    usage = classes(host)
    put(host, "v2", "kubepods", Numbers(cpu_us=5_000_000))
    assert cpu(usage, 0.0) == {"class/online": 5.0}
    put(host, "v2", "kubepods", Numbers(cpu_us=1_000_000))
    assert cpu(usage, 1.0) == {"class/online": 1.0}


def test_a_root_elsewhere_is_offline_work_of_a_bare_host_too(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    usage = classes(host, "batch.slice")
    assert cpu(usage, 0.0) == {}
    put(host, "v2", "batch.slice", Numbers(cpu_us=1_000_000))
    assert cpu(usage, 1.0) == {"class/offline": 1.0}
    put(host, "v2", "kubepods", Numbers(cpu_us=5_000_000))
    assert cpu(usage, 61.0) == {"class/online": 5.0, "class/offline": 1.0}
    remove(host, "batch.slice")


def test_the_families_have_a_row_for_each_class(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "kubepods", Numbers(cpu_us=5_000_000))
    put(host, "v2", "kubepods/besteffort", Numbers(cpu_us=3_000_000))
    registry = Registry(FakeClock())
    registry.register(classes(host), "classes")
    lines = render(registry)[0].decode().splitlines()
    assert 'kernmesh_class_cpu_usage_seconds_total{class="online"} 2.0' in lines
    assert 'kernmesh_class_cpu_usage_seconds_total{class="offline"} 3.0' in lines
    assert "# TYPE kernmesh_class_memory_working_set_bytes gauge" in lines


def test_without_pods_there_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="runs no pods"):
        list(classes(machine(tmp_path, "v1")).collect())
