"""Cgroup paths as Kubernetes nodes have them: pod, container, QoS class and class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.host.kubepods import PodPath, levels, read_path

UID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
UNIT_UID = UID.replace("-", "_")
STATIC = "5d2c9a1be1f04b7c8d6e5f4a3b2c1d0e"  # of a static pod
ID = "3f" * 32

GUARANTEED = PodPath(UID, ID, "guaranteed", "guaranteed")
BURSTABLE = PodPath(UID, ID, "burstable", "burstable")
BESTEFFORT = PodPath(UID, ID, "besteffort", "besteffort")
OFFLINE = PodPath(UID, ID, "", "offline")
SYSTEM = PodPath("", "", "", "system")
SLICE = "/sys/fs/cgroup/kubepods.slice"


@pytest.mark.parametrize(
    ("path", "want"),
    [
        # cgroupfs driver: containerd and docker, then CRI-O
        (f"/sys/fs/cgroup/cpu/kubepods/pod{UID}/{ID}", GUARANTEED),
        (f"/sys/fs/cgroup/cpu,cpuacct/kubepods/burstable/pod{UID}/{ID}", BURSTABLE),
        (f"/sys/fs/cgroup/kubepods/besteffort/pod{UID}/{ID}", BESTEFFORT),
        (f"/sys/fs/cgroup/cpu/kubepods/burstable/pod{UID}/crio-{ID}", BURSTABLE),
        # systemd driver: containerd, CRI-O, docker
        (f"{SLICE}/kubepods-pod{UNIT_UID}.slice/cri-containerd-{ID}.scope", GUARANTEED),
        (
            f"{SLICE}/kubepods-burstable.slice/kubepods-burstable-pod{UNIT_UID}.slice/"
            f"crio-{ID}.scope",
            BURSTABLE,
        ),
        (
            f"{SLICE}/kubepods-besteffort.slice/kubepods-besteffort-pod{UNIT_UID}.slice/"
            f"docker-{ID}.scope",
            BESTEFFORT,
        ),
        # CRI-O's container with a cgroup of its own below the scope
        (
            f"{SLICE}/kubepods-besteffort.slice/kubepods-besteffort-pod{UNIT_UID}.slice/"
            f"crio-{ID}.scope/container",
            BESTEFFORT,
        ),
        # containerd told cgroupfs, kubelet systemd
        (
            f"/sys/fs/cgroup/cpu/system.slice/containerd.service/kubepods-burstable-pod{UNIT_UID}"
            f".slice:cri-containerd:{ID}",
            BURSTABLE,
        ),
        # a node in a container (kind), and a cgroup root of one's own
        (
            "/sys/fs/cgroup/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/"
            f"kubelet-kubepods-burstable-pod{UNIT_UID}.slice/cri-containerd-{ID}.scope",
            BURSTABLE,
        ),
        (f"/sys/fs/cgroup/cpu/k8s.io/kubepods/besteffort/pod{UID}/{ID}", BESTEFFORT),
        # such a node in a container, seen from outside
        (f"/sys/fs/cgroup/docker/{STATIC * 2}/kubelet/kubepods/burstable/pod{UID}/{ID}", BURSTABLE),
        (
            f"/sys/fs/cgroup/system.slice/docker-{STATIC * 2}.scope/kubelet/kubepods/burstable",
            PodPath("", "", "burstable", "burstable"),
        ),
        # what a container makes inside of itself
        (f"/sys/fs/cgroup/kubepods/pod{UID}/{ID}/system.slice/cron.service", GUARANTEED),
        # Caelus
        (f"/sys/fs/cgroup/cpu/kubepods/offline/pod{UID}/{ID}", OFFLINE),
        (
            f"/sys/fs/cgroup/cpu/kubepods/offline/besteffort/pod{UID}/{ID}",
            PodPath(UID, ID, "besteffort", "offline"),
        ),
        # a static pod; a pod without its containers; the levels above
        (
            f"{SLICE}/kubepods-burstable.slice/kubepods-burstable-pod{STATIC}.slice",
            PodPath(STATIC, "", "burstable", "burstable"),
        ),
        (f"/sys/fs/cgroup/cpu/kubepods/pod{UID}", GUARANTEED._replace(container="")),
        (f"{SLICE}/kubepods-besteffort.slice", PodPath("", "", "besteffort", "besteffort")),
        (SLICE, SYSTEM),
        # CRI-O's watcher of a container is no container
        (
            f"{SLICE}/kubepods-pod{UNIT_UID}.slice/crio-conmon-{ID}.scope",
            GUARANTEED._replace(container=""),
        ),
        # containers of no pod
        (f"/sys/fs/cgroup/cpu/docker/{ID}", PodPath("", ID, "", "system")),
        (f"/sys/fs/cgroup/system.slice/docker-{ID}.scope", PodPath("", ID, "", "system")),
        (
            f"/sys/fs/cgroup/user.slice/user-1000.slice/libpod-{ID}.scope",
            PodPath("", ID, "", "system"),
        ),
        # anything else
        ("/sys/fs/cgroup", SYSTEM),
        ("/sys/fs/cgroup/system.slice/kubelet.service", SYSTEM),
        ("/sys/fs/cgroup/system.slice/my-besteffort-offline.service", SYSTEM),
        (f"/sys/fs/cgroup/podman/pod{UID[:-1]}", SYSTEM),
        ("", SYSTEM),
    ],
)
def test_a_path_says_whose_it_is(path: str, want: PodPath) -> None:
    assert read_path(path) == want


@given(st.text())
def test_no_path_breaks_it(path: str) -> None:
    pod = read_path(path)
    assert pod.kind in {"guaranteed", "burstable", "besteffort", "offline", "system"}


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("kubepods/besteffort/pod1", ("kubepods", "besteffort", "pod1")),
        (
            "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/x.scope",
            ("kubepods", "besteffort", "pod1", "x.scope"),
        ),
        ("kubelet.slice/kubelet-kubepods.slice", ("kubepods",)),
        ("/k8s.io/kubepods/", ("kubepods",)),
        ("batch/jobs", ("batch", "jobs")),
    ],
)
def test_a_place_is_the_same_whichever_driver_made_it(path: str, want: tuple[str, ...]) -> None:
    assert levels(path) == want
