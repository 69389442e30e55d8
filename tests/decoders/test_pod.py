"""Cgroup paths as Kubernetes nodes have them: pod, container, QoS class and class."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.decoders import DecodeContext, Provisional, chain, order_problem
from exporter.decoders.pod import Pod, PodPath, read_path
from exporter.ebpf.spec import DecoderSpec, LabelSpec
from exporter.testing import FakeClock, fake_host

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
        ("unknown_cgroup_id:77", PodPath("", "", "", "unknown")),
    ],
)
def test_a_path_says_whose_it_is(path: str, want: PodPath) -> None:
    assert read_path(path) == want
    assert Pod("uid").rewrite(path) == want.uid
    assert Pod("container").rewrite(path) == want.container
    assert Pod("qos").rewrite(path) == want.qos
    assert Pod("class").rewrite(path) == want.kind


@given(st.text())
def test_no_path_breaks_it(path: str) -> None:
    pod = read_path(path)
    assert pod.kind in {"guaranteed", "burstable", "besteffort", "offline", "system", "unknown"}


def test_it_follows_a_decoder_that_gives_a_path() -> None:
    assert order_problem(["uint", "cgroup", "pod"]) is None
    assert order_problem(["cgroup", "pod"]) is None
    assert order_problem(["cgroup", "regexp", "pod"]) is None
    assert str(order_problem(["pod"])).startswith("pod cannot be first")


def test_the_class_of_a_cgroup_that_is_not_known_yet_is_asked_for_again(tmp_path: Path) -> None:
    mountinfo = "29 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    fs = fake_host(tmp_path, {"proc/1/mountinfo": mountinfo})
    clock = FakeClock()
    decoders = (DecoderSpec("uint"), DecoderSpec("cgroup"), DecoderSpec("pod", field="class"))
    decode = chain(LabelSpec("class", 8, 0, decoders), DecodeContext.of(fs, clock))
    pod = fs.cgroup / f"kubepods/burstable/pod{UID}"
    pod.mkdir(parents=True)
    known = pod.stat().st_ino.to_bytes(8, "little")
    assert decode(known) == "burstable"
    late = decode((1 << 40).to_bytes(8, "little"))
    assert (late, type(late)) == ("unknown", Provisional)
