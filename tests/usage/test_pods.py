"""Usage of containers on v1, v2 and hybrid machines, by both drivers and three runtimes."""

from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.host.cgroup_limits import IoLimit, Limits
from exporter.host.cgroup_stat import Usage
from exporter.host.open_files import Descriptors
from exporter.hostfs import HostFs
from exporter.usage.podnames import LogNames
from exporter.usage.pods import Kubepods, Labels, Offline, PodUsage
from tests.usage.cgroup_trees import (
    DRIVERS,
    MACHINES,
    RUNTIMES,
    Driver,
    Machine,
    Numbers,
    Runtime,
    container_name,
    machine,
    pod_path,
    put,
    remove,
)

UID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
OTHER = "11111111-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
ID, ID2 = "3f" * 32, "4e" * 32
OFFLINE = Offline(["kubepods/offline", "kubepods/besteffort"])


def usage_of(host: HostFs, names: bool = True) -> PodUsage:
    return PodUsage(Kubepods(host), LogNames(host) if names else None, OFFLINE)


def labels(usage: PodUsage, now: float = 0.0) -> set[Labels]:
    return {row.container.labels for row in usage.rows(now)}


def log_of(host: HostFs, namespace: str, pod: str, uid: str, **containers: str) -> None:
    (host.root / f"var/log/pods/{namespace}_{pod}_{uid}").mkdir(parents=True)
    folder = host.root / "var/log/containers"
    folder.mkdir(parents=True, exist_ok=True)
    for name, identity in containers.items():
        (folder / f"{pod}_{namespace}_{name}-{identity}.log").write_text("")


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("kind", MACHINES)
def test_a_containers_usage_and_limits_are_the_same_on_every_machine(
    kind: Machine, driver: Driver, runtime: Runtime, tmp_path: Path
) -> None:
    host = machine(tmp_path, kind)
    numbers = Numbers(quota=150_000, memory_limit=1 << 20, io_limit=1000)
    path = f"{pod_path(driver, 'burstable', UID)}/{container_name(driver, runtime, ID)}"
    put(host, kind, path, numbers)
    log_of(host, "shop", "web-0", UID, nginx=ID)
    (row,) = usage_of(host).rows(0.0)
    assert row.container.labels == Labels("shop", "web-0", "nginx", "burstable", "online")
    assert (row.container.pod.uid, row.container.pod.container) == (UID, ID)
    cache = 6 if kind == "v2" else 7
    assert row.usage == Usage(1.5, 40, 7, 0.25, 9000, 8000, 4097, 12, 5, 6, 3, cache)
    limit = IoLimit("8:0", "write", "bytes", 1000)
    assert row.container.limits == Limits(1.5, 1 << 20, (limit,))


@pytest.mark.parametrize("kind", MACHINES)
def test_a_container_without_limits_has_none(kind: Machine, tmp_path: Path) -> None:
    host = machine(tmp_path, kind)
    put(host, kind, f"{pod_path('cgroupfs', 'guaranteed', UID)}/{ID}", Numbers())
    (row,) = usage_of(host).rows(0.0)
    assert row.container.limits == Limits(None, None, ())


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("qos", "label", "kind"),
    [
        ("guaranteed", "guaranteed", "online"),
        ("burstable", "burstable", "online"),
        ("besteffort", "besteffort", "offline"),
        ("offline", "", "offline"),
    ],
)
def test_the_class_follows_the_offline_roots(
    driver: Driver, qos: str, label: str, kind: str, tmp_path: Path
) -> None:
    host = machine(tmp_path, "v2")
    path = f"{pod_path(driver, qos, UID)}/{container_name(driver, 'containerd', ID)}"
    put(host, "v2", path, Numbers())
    assert labels(usage_of(host)) == {Labels("", UID, ID[:12], label, kind)}


@pytest.mark.parametrize(
    ("roots", "path", "offline"),
    [
        (["kubepods/offline"], "kubepods/offline/pod1/x", True),
        (["/kubepods/offline/"], "kubepods/offline", True),
        (["kubepods/offline"], "kubepods/offline2/pod1", False),
        (["kubepods/besteffort"], "kubepods.slice/kubepods-besteffort.slice/x.slice", True),
        (["kubepods.slice/kubepods-besteffort.slice"], "kubepods/besteffort/pod1", True),
        (
            ["kubepods/besteffort"],
            "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice",
            True,
        ),
        (["kubepods/besteffort"], "k8s.io/kubepods/besteffort/pod1", True),
        (["batch"], "batch/job", True),
        ([], "kubepods/besteffort", False),
    ],
)
def test_roots_are_written_in_either_drivers_way(
    roots: list[str], path: str, offline: bool
) -> None:
    assert Offline(roots).has(path) is offline


def test_without_kubepods_there_is_no_data_and_no_series(tmp_path: Path) -> None:
    usage = usage_of(machine(tmp_path, "v2"))
    with pytest.raises(NoData, match="runs no pods"):
        usage.rows(0.0)
    assert usage.read(0.0) == {}


def test_without_cgroups_there_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(NoData, match="no cgroup hierarchy"):
        usage_of(HostFs(tmp_path, tmp_path, tmp_path, tmp_path)).rows(0.0)


def test_pods_come_and_go_and_kubepods_may_come_late(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    usage = usage_of(host)
    with pytest.raises(NoData):
        usage.rows(0.0)
    first = pod_path("cgroupfs", "guaranteed", UID)
    put(host, "v2", f"{first}/{ID}", Numbers())
    with pytest.raises(NoData):  # kubepods itself is looked for once a minute
        usage.rows(30.0)
    assert {each.pod for each in labels(usage, 60.0)} == {UID}
    put(host, "v2", f"{first}/{ID2}", Numbers())
    put(host, "v2", f"{pod_path('cgroupfs', 'burstable', OTHER)}/{ID}", Numbers())
    assert {(each.pod, each.container) for each in labels(usage, 61.0)} == {
        (UID, ID[:12]),
        (UID, ID2[:12]),
        (OTHER, ID[:12]),
    }
    remove(host, first)
    assert {each.pod for each in labels(usage, 62.0)} == {OTHER}


def test_a_cgroup_that_vanishes_between_list_and_read_costs_its_own_row(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    pod = pod_path("cgroupfs", "guaranteed", UID)
    put(host, "v2", f"{pod}/{ID}", Numbers())
    put(host, "v2", f"{pod}/{ID2}", Numbers())
    usage = usage_of(host)
    for file in (host.cgroup / pod / ID).iterdir():
        file.unlink()  # the folder is still listed
    assert {each.container for each in labels(usage)} == {ID2[:12]}
    put(host, "v2", f"{pod}/{ID}", Numbers())
    assert {each.container for each in labels(usage)} == {ID[:12], ID2[:12]}


def test_a_text_that_makes_no_sense_costs_its_own_row(tmp_path: Path) -> None:
    host = machine(tmp_path, "v1")
    pod = pod_path("cgroupfs", "guaranteed", UID)
    put(host, "v1", f"{pod}/{ID}", Numbers())
    put(host, "v1", f"{pod}/{ID2}", Numbers())
    (host.cgroup / "memory" / pod / ID / "memory.usage_in_bytes").write_text("many\n")
    assert {each.container for each in labels(usage_of(host))} == {ID2[:12]}


@pytest.mark.parametrize("kind", MACHINES)
def test_what_a_machine_does_not_account_is_missing(kind: Machine, tmp_path: Path) -> None:
    host = machine(tmp_path, kind)
    path = f"{pod_path('cgroupfs', 'guaranteed', UID)}/{ID}"
    put(host, kind, path, Numbers())
    for file in host.cgroup.rglob("*"):
        if file.name.startswith(("memory.", "io.", "blkio.", "pids.")):
            file.unlink()
    usage = usage_of(host)
    (row,) = usage.rows(0.0)
    assert row.usage == Usage(1.5, 40, 7, 0.25)
    kept = {series.name.rpartition(".")[2] for series in usage.read(0.0)}
    assert kept == {"cpu_seconds", "throttled_periods", "throttled_seconds"}


def test_containers_of_one_name_are_told_apart_by_their_ids(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    for uid, identity in ((UID, ID), (OTHER, ID2)):  # of a stateful set: the old one is ending
        put(host, "v2", f"{pod_path('cgroupfs', 'guaranteed', uid)}/{identity}", Numbers())
        log_of(host, "shop", "web-0", uid, nginx=identity)
    found = labels(usage_of(host))
    assert {(each.pod, each.container) for each in found} in (
        {("web-0", "nginx"), ("web-0", f"nginx-{ID[:12]}")},
        {("web-0", "nginx"), ("web-0", f"nginx-{ID2[:12]}")},
    )


def test_names_that_come_later_are_taken_up(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", f"{pod_path('cgroupfs', 'guaranteed', UID)}/{ID}", Numbers())
    usage = usage_of(host)
    assert {each.namespace for each in labels(usage)} == {""}
    log_of(host, "shop", "web-0", UID, nginx=ID)
    want = {Labels("shop", "web-0", "nginx", "guaranteed", "online")}
    assert labels(usage, 1.0) == want
    assert {series.name for series in usage.read(2.0)} == {
        f"pod/{UID}/nginx.{measure}"
        for measure in (
            "cpu_seconds",
            "throttled_periods",
            "throttled_seconds",
            "memory_bytes",
            "working_set_bytes",
            "read_bytes",
            "written_bytes",
        )
    }


def test_nobody_is_asked_for_names_where_none_are_wanted(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", f"{pod_path('cgroupfs', 'guaranteed', UID)}/{ID}", Numbers())
    log_of(host, "shop", "web-0", UID, nginx=ID)
    want = {Labels("", UID, ID[:12], "guaranteed", "online")}
    assert labels(usage_of(host, names=False)) == want


def test_without_room_for_open_files_the_numbers_are_the_same(tmp_path: Path) -> None:
    host = machine(tmp_path, "hybrid")
    for identity in (ID, ID2):
        path = f"{pod_path('systemd', 'guaranteed', UID)}/cri-containerd-{identity}.scope"
        put(host, "hybrid", path, Numbers())
    poor = Kubepods(host)
    poor.budget = Descriptors(7)  # one container's files, and not the other's
    usage = PodUsage(poor, None, OFFLINE)
    for now in (0.0, 1.0):
        assert [row.usage for row in usage.rows(now)] == [
            row.usage for row in usage_of(host).rows(now)
        ]
    assert poor.budget.left == 0
    remove(host, pod_path("systemd", "guaranteed", UID))
    assert usage.rows(2.0) == []
    assert poor.budget.left == 7


def test_limits_that_change_are_seen(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    path = f"{pod_path('cgroupfs', 'guaranteed', UID)}/{ID}"
    put(host, "v2", path, Numbers())
    usage = usage_of(host)
    usage.rows(0.0)
    put(host, "v2", path, Numbers(quota=50_000))
    usage.rows(1.0)
    (row,) = usage.rows(2.0)
    assert row.container.limits.cpu_cores == 0.5


def test_ten_thousand_other_cgroups_are_no_pods(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    for number in range(100):
        for below in range(100):
            (host.cgroup / f"system.slice/a{number}.service/{below}").mkdir(parents=True)
    path = f"{pod_path('systemd', 'guaranteed', UID)}/{container_name('systemd', 'docker', ID)}"
    put(host, "v2", path, Numbers())
    assert [row.container.pod.container for row in usage_of(host).rows(0.0)] == [ID]
