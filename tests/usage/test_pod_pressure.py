"""Pressure of pods and of what holds them, where v2 files are: v2 and hybrid machines."""

from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.testing import FakeClock
from exporter.usage.pod_pressure import PodPressure
from exporter.usage.podnames import LogNames
from exporter.usage.pods import Kubepods, Offline, PodUsage
from tests.usage.cgroup_trees import (
    DRIVERS,
    Driver,
    Machine,
    Numbers,
    machine,
    pod_path,
    put,
    remove,
)

UID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
ID = "3f" * 32


def pressure_of(host: HostFs) -> PodPressure:
    kubepods = Kubepods(host)
    pods = PodUsage(kubepods, LogNames(host), Offline(["kubepods/besteffort"]))
    return PodPressure(kubepods, pods, FakeClock())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("kind", ["v2", "hybrid"])
def test_pods_and_levels_have_pressure(kind: Machine, driver: Driver, tmp_path: Path) -> None:
    host = machine(tmp_path, kind)
    path = pod_path(driver, "besteffort", UID)
    for place in (path, str(Path(path).parent), str(Path(path).parent.parent)):
        put(host, kind, place, Numbers())
    pressure = pressure_of(host)
    series = {s.name: v for s, v in pressure.reads("pod")(0.0).items()}
    assert series == {
        f"pod/{UID}.psi.{resource}.{kind_}_seconds": value
        for resource in ("cpu", "memory", "io")
        for kind_, value in (("some", 2.5), ("full", 0.5))
    }
    levels = {s.name.rpartition(".psi")[0] for s in pressure.reads("cgroup")(0.0)}
    assert levels == {"cgroup/kubepods", "cgroup/kubepods/besteffort"}


def test_the_families_bear_the_pods_names(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    path = pod_path("cgroupfs", "besteffort", UID)
    for place in ("kubepods", path, f"{path}/{ID}"):
        put(host, "v2", place, Numbers())
    (host.root / f"var/log/pods/shop_web-0_{UID}").mkdir(parents=True)
    pressure = pressure_of(host)
    registry = Registry(FakeClock())
    registry.register(pressure, "pod_pressure")
    lines = render(registry)[0].decode().splitlines()
    labels = (
        f'class="offline",namespace="shop",pod="web-0",qos="besteffort",resource="io",uid="{UID}"'
    )
    assert f"kernmesh_pod_pressure_waiting_seconds_total{{{labels}}} 2.5" in lines
    assert f"kernmesh_pod_pressure_stalled_seconds_total{{{labels}}} 0.5" in lines
    cgroup = 'cgroup="kubepods",resource="cpu"'
    assert f"kernmesh_cgroup_pressure_waiting_seconds_total{{{cgroup}}} 2.5" in lines


def test_a_pod_that_ends_is_gone_from_both(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    path = pod_path("cgroupfs", "guaranteed", UID)
    for place in ("kubepods", path):
        put(host, "v2", place, Numbers())
    pressure = pressure_of(host)
    assert pressure.reads("pod")(0.0)
    remove(host, path)
    assert pressure.reads("pod")(60.0) == {}
    assert pressure.reads("cgroup")(60.0)


class OnePod:
    """A pod of one container, and what the store is told of how long it waited for io."""

    def __init__(self, folder: Path) -> None:
        self.host = machine(folder, "v2")
        self.path = pod_path("cgroupfs", "burstable", UID)
        for place in ("kubepods", self.path, f"{self.path}/{ID}"):
            put(self.host, "v2", place, Numbers())
        kubepods = Kubepods(self.host)
        self._pods = PodUsage(kubepods, None, Offline([]))
        self._pressure = PodPressure(kubepods, self._pods, FakeClock())

    def run(self, cpu_us: int) -> None:
        put(self.host, "v2", f"{self.path}/{ID}", Numbers(cpu_us=cpu_us))

    def wait(self, us: int) -> None:
        file = self.host.cgroup / self.path / "io.pressure"
        file.write_text(f"some avg10=0.00 avg60=0.00 avg300=0.00 total={us}\n")

    def read(self) -> float:
        """One tick."""
        self._pods.read(0.0)
        kept = {series.name: value for series, value in self._pressure.reads("pod")(0.0).items()}
        return kept[f"pod/{UID}.psi.io.some_seconds"]


def test_of_a_pod_that_has_run_and_one_that_waits_every_tick_sees_the_pressure(
    tmp_path: Path,
) -> None:
    pod = OnePod(tmp_path)
    for tick in range(1, 20):
        pod.run(cpu_us=2_000_000 + tick)
        pod.wait(tick * 100_000)
        assert pod.read() == pytest.approx(tick / 10)
    for tick in range(20, 40):  # it has stopped running, and waits still
        pod.wait(tick * 100_000)
        assert pod.read() == pytest.approx(tick / 10)


def test_of_a_pod_that_rests_one_tick_in_six_sees_the_pressure(tmp_path: Path) -> None:
    pod = OnePod(tmp_path)
    before = [pod.read() for _ in range(12)][-1]
    pod.wait(9_000_000)  # woken, and not yet run
    after = [pod.read() for _ in range(6)]
    assert after == sorted(after)
    assert set(after) <= {before, 9.0}
    assert after[-1] == 9.0


@pytest.mark.parametrize("kind", ["v1", "hybrid"])
def test_where_only_v1_has_the_pods_there_is_no_data(kind: Machine, tmp_path: Path) -> None:
    host = machine(tmp_path, kind)
    put(host, kind, pod_path("cgroupfs", "guaranteed", UID), Numbers())
    for file in host.cgroup.rglob("*.pressure"):
        file.unlink()
    with pytest.raises(NoData, match="need PSI and cgroup v2"):
        list(pressure_of(host).collect())
