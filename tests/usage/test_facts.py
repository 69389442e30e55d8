"""The node's facts on /metrics: what was read, under names that say what they are."""

from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.usage.facts import NodeFacts
from exporter.usage.node import node_sources
from exporter.usage.series import Series, TierName
from tests.usage.test_statistics import Shown


def shown(values: Mapping[str, float]) -> CollectorRegistry:
    registry = CollectorRegistry()
    latest = {Series(name, "counter"): value for name, value in values.items()}
    registry.register(NodeFacts(Shown({}, latest)))
    return registry


@pytest.mark.parametrize(
    ("series", "sample", "labels"),
    [
        ("node.cpu.user_seconds", "cpu_seconds_total", {"mode": "user"}),
        ("node.vm.refaults", "vm_refaults_total", {}),
        ("node.tasks.switches", "context_switches_total", {}),
        ("node.disk/sda.busy_seconds", "disk_busy_seconds_total", {"device": "sda"}),
        ("node.net/eth0.100.receive_bytes", "net_receive_bytes_total", {"device": "eth0.100"}),
    ],
)
def test_a_series_has_its_family_and_labels(
    series: str, sample: str, labels: dict[str, str]
) -> None:
    assert shown({series: 7.0}).get_sample_value(f"kernmesh_node_{sample}", labels) == 7.0


def test_gauges_too_and_mountpoints_keep_their_slashes_and_dots() -> None:
    registry = CollectorRegistry()
    latest = {
        Series("node.filesystem//srv/a.b.used_bytes", "gauge"): 5.0,
        Series("node.mem.available_bytes", "gauge"): 6.0,
        Series("node.load.15m", "gauge"): 1.5,
    }
    registry.register(NodeFacts(Shown({}, latest)))
    assert registry.get_sample_value(
        "kernmesh_node_filesystem_used_bytes", {"mountpoint": "/srv/a.b"}
    ) == 5.0  # fmt: skip
    assert registry.get_sample_value("kernmesh_node_memory_bytes", {"kind": "available"}) == 6.0
    assert registry.get_sample_value("kernmesh_node_load", {"over": "15m"}) == 1.5


def test_before_the_first_sample_there_is_nothing_and_that_is_no_failure() -> None:
    with pytest.raises(NoData):
        list(NodeFacts(Shown({})).collect())


class ThisMachine(Shown):
    def __init__(self) -> None:
        super().__init__({})

    def latest(self, tier: TierName) -> Mapping[Series, float]:
        return {s: v for source in node_sources(HostFs()) for s, v in source.make()(0.0).items()}


def test_all_that_is_read_of_this_machine_is_shown_but_what_has_gauges_of_its_own() -> None:
    machine = ThisMachine()
    samples = sum(len(family.samples) for family in NodeFacts(machine).collect())
    elsewhere = [s for s in machine.latest("slow") if s.name.endswith((".usage", "kubelet_bytes"))]
    busy = 1  # the sum of what is not idle
    assert samples == len(machine.latest("slow")) - len(elsewhere) - busy
