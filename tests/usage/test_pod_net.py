"""Rates of pods' veths: real ones, into network namespaces of the test's own."""

import struct
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.host.veth_rates import Rates, filter_limits, veth_rates
from exporter.hostfs import HostFs
from exporter.testing import FakeClock
from exporter.usage.pod_net import PodNet
from exporter.usage.pods import Kubepods, Offline, PodUsage
from tests.usage.cgroup_trees import Numbers, machine, pod_path, put

UID, ID = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a", "3f" * 32


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def tc(*arguments: str) -> None:
    subprocess.run(["tc", *arguments], check=True, stderr=subprocess.DEVNULL)


class Pod:
    """A process in a network namespace of its own, and a veth into it that is `device` here."""

    def __init__(self, pid: int, name: str) -> None:
        self.pid, self.device, self.ifb = pid, f"kv{name}", f"ki{name}"
        self.place = Path(f"/proc/{pid}/ns/net")
        ip("link", "add", self.device, "type", "veth", "peer", "name", "eth0", "netns", str(pid))


@pytest.fixture
def pod() -> Iterator[Pod]:
    command = ["unshare", "--net", "sh", "-c", "echo in; exec sleep 600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"in\n"
        made = Pod(process.pid, uuid.uuid4().hex[:8])
        yield made
        subprocess.run(["ip", "link", "del", made.device], check=False)
        process.kill()


TBF = ("tbf", "burst", "32kbit", "latency", "50ms", "rate")


@pytest.mark.bpf
def test_a_veth_without_tc_has_no_rate_and_the_hosts_own_namespace_no_veth(pod: Pod) -> None:
    wanted = [pod.place, Path("/proc/self/ns/net"), Path("/proc/0/ns/net")]
    assert veth_rates(wanted) == {pod.place: [Rates(pod.device, None, None)]}


@pytest.mark.bpf
@pytest.mark.parametrize(("rate", "want"), [("8mbit", 1_000_000), ("80gbit", 10_000_000_000)])
def test_a_tbf_on_the_hosts_end_limits_what_the_pod_receives(
    rate: str, want: int, pod: Pod
) -> None:
    tc("qdisc", "add", "dev", pod.device, "root", *TBF, rate)
    assert veth_rates([pod.place]) == {pod.place: [Rates(pod.device, want, None)]}


@pytest.mark.bpf
def test_of_htb_the_ceiling_of_its_classes_at_the_top(pod: Pod) -> None:
    on = ("dev", pod.device)
    tc("qdisc", "add", *on, "root", "handle", "1:", "htb", "default", "10")
    tc("class", "add", *on, "parent", "1:", "classid", "1:1", "htb", "rate", "8mbit", "ceil",
       "16mbit")  # fmt: skip
    tc("class", "add", *on, "parent", "1:1", "classid", "1:10", "htb", "rate", "1mbit", "ceil",
       "80mbit")  # fmt: skip
    assert veth_rates([pod.place]) == {pod.place: [Rates(pod.device, 2_000_000, None)]}


@pytest.mark.bpf
def test_an_ifb_that_is_redirected_to_limits_what_the_pod_transmits(pod: Pod) -> None:
    """As the CNI bandwidth plugin does it."""
    ip("link", "add", pod.ifb, "type", "ifb")
    try:
        tc("qdisc", "add", "dev", pod.ifb, "root", *TBF, "4mbit")
        tc("qdisc", "add", "dev", pod.device, "ingress")
        tc("filter", "add", "dev", pod.device, "parent", "ffff:", "protocol", "all", "u32", "match",
           "u32", "0", "0", "action", "mirred", "egress", "redirect", "dev", pod.ifb)  # fmt: skip
        assert veth_rates([pod.place]) == {pod.place: [Rates(pod.device, None, 500_000)]}
    finally:
        ip("link", "del", pod.ifb)


def attribute(kind: int, data: bytes) -> bytes:
    """struct nlattr, padded to four bytes (include/uapi/linux/netlink.h)."""
    padding = bytes(-len(data) % 4)
    return struct.pack("=HH", 4 + len(data), kind) + data + padding


@pytest.mark.parametrize("wide", [0, 5_000_000_000])
def test_police_on_a_filter_limits_too(wide: int) -> None:
    # struct tc_police: index, action, limit, burst, mtu, then tc_ratespec (pkt_cls.h, pkt_sched.h)
    police = struct.pack("=IiIII", 1, 2, 0, 10_000, 0)
    police += struct.pack("=BBHhHI", 0, 1, 0, 0, 0, 0xFFFFFFFF if wide else 2_500_000)
    options = attribute(1, police) + (attribute(8, struct.pack("=Q", wide)) if wide else b"")
    action = attribute(1, b"police\0") + attribute(2, options)
    other = attribute(1, b"gact\0") + attribute(2, b"")
    actions = attribute(1, other) + attribute(2, action)
    assert filter_limits(b"matchall", {2: actions}) == ([wide or 2_500_000], [])
    assert filter_limits(b"nothing we know", {2: actions}) == ([], [])


@pytest.mark.bpf
def test_the_rate_stands_beside_the_pods_other_limits(pod: Pod, tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    path = pod_path("cgroupfs", "besteffort", UID)
    put(host, "v2", f"{path}/{ID}", Numbers())
    (host.cgroup / path / ID / "cgroup.procs").write_text(f"{pod.pid}\n")
    (host.root / f"var/log/pods/shop_web-0_{UID}").mkdir(parents=True)
    tc("qdisc", "add", "dev", pod.device, "root", *TBF, "8mbit")
    clock, kubepods = FakeClock(), Kubepods(host)
    pods = PodUsage(kubepods, None, Offline(["kubepods/besteffort"]))
    net = PodNet(HostFs(), kubepods, pods, clock)
    (family,) = net.collect()
    ((name, labels, value, *_),) = family.samples
    assert (name, value) == ("kernmesh_pod_spec_network_limit_bytes_per_second", 1_000_000.0)
    assert labels == {
        "namespace": "", "pod": UID, "uid": UID, "qos": "besteffort", "class": "offline",
        "device": pod.device, "direction": "receive",
    }  # fmt: skip
    tc("qdisc", "del", "dev", pod.device, "root")
    assert list(net.collect())  # asked for once a minute
    clock.advance(60.0)
    with pytest.raises(NoData, match="tc limits no pod's network"):
        list(net.collect())


def test_a_kernel_that_does_not_answer_leaves_no_old_rates(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    path = pod_path("cgroupfs", "guaranteed", UID)
    put(host, "v2", f"{path}/{ID}", Numbers())
    (host.cgroup / path / ID / "cgroup.procs").write_text("7\n")
    answers = [[Rates("veth0", 5, 6)], None]

    def ask(places: object) -> dict[Path, list[Rates]]:
        answer = answers.pop(0)
        if answer is None:
            raise PermissionError(1, "Operation not permitted")
        return {host.proc / "7/ns/net": answer}

    clock, kubepods = FakeClock(), Kubepods(host)
    net = PodNet(host, kubepods, PodUsage(kubepods, None, Offline([])), clock, ask)
    (family,) = net.collect()
    assert sorted(sample.value for sample in family.samples) == [5.0, 6.0]
    clock.advance(60.0)
    with pytest.raises(PermissionError):
        list(net.collect())
