from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from exporter.errors import NoData
from exporter.metrics.exposition import render
from exporter.metrics.process import Beginning, BuildInfo, CgroupMemory, register_self
from exporter.metrics.registry import Registry
from exporter.testing import fake_host

V1 = "9:name=systemd:/\n4:cpu,memory:/kernmesh\n0::/\n"
V2 = "0::/system.slice/kernmesh.service\n"


@pytest.mark.parametrize(
    ("cgroups", "file"),
    [
        (V2, "sys/fs/cgroup/system.slice/kernmesh.service/memory.current"),
        (V2, "sys/fs/cgroup/unified/system.slice/kernmesh.service/memory.current"),
        ("0::/\n", "sys/fs/cgroup/memory.current"),
        (V1, "sys/fs/cgroup/memory/kernmesh/memory.usage_in_bytes"),
    ],
)
def test_the_own_cgroups_memory_is_found(tmp_path: Path, cgroups: str, file: str) -> None:
    fs = fake_host(tmp_path, {"proc/self/cgroup": cgroups, file: "4096\n"})
    (family,) = CgroupMemory(fs).collect()
    assert [sample.value for sample in family.samples] == [4096]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": V2},
        {"proc/self/cgroup": V1, "sys/fs/cgroup/memory/kernmesh/memory.usage_in_bytes": "x"},
        {"proc/self/cgroup": "nonsense\n::\n"},
        # The root of v1 is the whole machine, not us.
        {"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1"},
    ],
)
def test_memory_that_cannot_be_read_is_missing_and_no_failure(
    tmp_path: Path, files: dict[str, str]
) -> None:
    with pytest.raises(NoData):
        list(CgroupMemory(fake_host(tmp_path, files)).collect())


def test_the_build_stands_under_both_names() -> None:
    ours, theirs = BuildInfo("1.2", "abc", "ebpf_exporter").collect()
    assert theirs.name == "ebpf_exporter_build_info"
    assert theirs.samples[0].labels == {"version": "1.2", "revision": "abc"}
    assert ours.samples[0].labels.keys() == {"version", "revision", "python"}


def test_the_process_tells_about_itself(tmp_path: Path) -> None:
    registry = Registry()
    register_self(registry, fake_host(tmp_path, {}), "1", "r", "ebpf_exporter")
    body = render(registry)[0].decode()
    for name in (
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
        "process_open_fds",
        "python_gc_collections_total",
        'kernmesh_collector_success{collector="cgroup_memory"} 1.0',
    ):
        assert f"\n{name}" in body
    assert "kernmesh_cgroup_memory_bytes" not in body


def test_a_collector_is_asked_only_where_a_name_of_its_own_is_wanted() -> None:
    class Counted:
        turns = 0

        def collect(self) -> Iterable[Metric]:
            self.turns += 1
            yield GaugeMetricFamily("process_threads", "Threads.", 3)

    counted, registry = Counted(), Registry()
    registry.register(Beginning("process_", counted), "process")
    assert [family.name for family in registry.collect_names(["other"])] == []
    assert counted.turns == 0
    assert [family.name for family in registry.collect_names(["process_threads"])] == [
        "process_threads"
    ]
    assert "process_threads" in {family.name for family in registry.collect()}
    assert counted.turns == 2
