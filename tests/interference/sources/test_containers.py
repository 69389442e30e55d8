"""A container's network, request and service times; the busiest processor; links' speeds."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.hostfs import HostFs
from exporter.interference.sources.containers import ContainerReader, parse_netstat
from exporter.interference.sources.links import LinkReader
from exporter.interference.sources.processors import BUSIEST, ProcessorReader
from exporter.testing import fake_host
from exporter.usage.pods import Kubepods
from exporter.usage.subjects import Subject
from tests.kernel.tasks import cpu_cgroup
from tests.kernel.workloads import eventually

V1 = "".join(
    f"{n} 23 0:{n} / /sys/fs/cgroup/{name} rw - cgroup cgroup rw,{name}\n"
    for n, name in enumerate(("cpu", "cpuacct", "memory", "blkio"), 30)
)
V2 = "31 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
POD = "kubepods/pod1"
DEV = (
    "Inter-|   Receive  |  Transmit\n face |bytes packets …\n"
    "    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n"
    "  eth0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n"
)
NETSTAT = (
    "TcpExt: SyncookiesSent ListenOverflows TCPAbortOnMemory\nTcpExt: 1 7 3\n"
    "IpExt: InOctets\nIpExt: 5\n"
)


def read(fs: HostFs, path: str = POD) -> dict[str, float]:
    reader = ContainerReader(fs, Kubepods(fs), lambda: [Subject(path, "online")])
    found = reader(0.0)
    return {series.name.removeprefix(f"cgroup/{path}."): value for series, value in found.items()}


def test_a_pods_network_is_that_of_its_first_process(tmp_path: Path) -> None:
    fs = fake_host(
        tmp_path,
        {
            "proc/1/mountinfo": V1,
            f"sys/fs/cgroup/cpu/{POD}/cgroup.procs": "",
            f"sys/fs/cgroup/cpu/{POD}/app/cgroup.procs": "77\n78\n",
            "proc/1/net/dev": DEV,
            "proc/77/net/dev": DEV,
            "proc/77/net/netstat": NETSTAT,
        },
    )
    assert read(fs) == {
        "receive_bytes": 1000,
        "receive_packets": 10,
        "transmit_bytes": 2000,
        "transmit_packets": 20,
        "listen_overflows": 7,
        "tcp_oom": 3,
    }


def test_one_that_shares_the_nodes_network_has_none_of_its_own(tmp_path: Path) -> None:
    files = {
        "proc/1/mountinfo": V1,
        f"sys/fs/cgroup/cpu/{POD}/cgroup.procs": "77\n",
        "proc/1/net/dev": DEV,
        "proc/77/net/netstat": NETSTAT,
    }
    fs = fake_host(tmp_path, files)
    (fs.proc / "77/net/dev").hardlink_to(fs.proc / "1/net/dev")
    assert read(fs) == {}


@pytest.mark.parametrize(
    ("mounts", "files", "found"),
    [
        (V1, {f"cpu/{POD}/cpu.shares": "512"}, {"cpu_request_cores": 0.5}),
        (V1, {f"cpu/{POD}/cpu.shares": "2"}, {}),  # best effort: nothing was promised
        (V2, {f"{POD}/cpu.weight": "39"}, {"cpu_request_cores": pytest.approx(0.975, abs=0.001)}),
        (V2, {f"{POD}/memory.max": "max"}, {}),
        (V2, {f"{POD}/memory.max": "1048576"}, {"memory_limit_bytes": 1048576}),
        (V1, {f"memory/{POD}/memory.limit_in_bytes": "9223372036854771712"}, {}),
        (
            V1,
            {
                f"blkio/{POD}/blkio.bfq.io_service_time_recursive": (
                    "8:0 Read 2000000000\n8:0 Write 500000000\n8:16 Read 1000000000\nTotal 1\n"
                )
            },
            {"read_service_seconds": 3.0, "write_service_seconds": 0.5},
        ),
    ],
)
def test_what_cgroup_files_say(
    tmp_path: Path, mounts: str, files: dict[str, str], found: dict[str, float]
) -> None:
    below = {f"sys/fs/cgroup/{path}": text for path, text in files.items()}
    offered = {"sys/fs/cgroup/cgroup.controllers": "cpu memory io"} if mounts == V2 else {}
    fs = fake_host(tmp_path, {"proc/1/mountinfo": mounts, **below, **offered})
    assert read(fs) == found


@pytest.mark.parametrize("text", ["", "TcpExt: A B\n", "TcpExt: A B\nTcpExt: 1\n"])
def test_a_netstat_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="TcpExt"):
        parse_netstat(text)


@pytest.fixture
def contained() -> Iterator[tuple[str, int]]:
    """A process in a network namespace and a cgroup of its own: the cgroup's path, its pid."""
    process = subprocess.Popen(["unshare", "--net", "sleep", "60"])
    try:
        with cpu_cgroup() as cgroup:
            (cgroup.path / "cgroup.procs").write_text(str(process.pid))
            own = Path("/proc/self/ns/net").stat().st_ino
            space = Path(f"/proc/{process.pid}/ns/net")
            assert eventually(lambda: space.stat().st_ino != own)
            try:
                yield cgroup.path.name, process.pid
            finally:
                process.kill()  # before its cgroup goes
                process.wait()
    finally:
        process.kill()
        process.wait()


@pytest.mark.bpf
def test_real_counters_of_a_real_namespace(contained: tuple[str, int]) -> None:
    path, pid = contained
    subprocess.run(
        ["nsenter", f"--net=/proc/{pid}/ns/net", "ip", "link", "add", "km0", "type", "veth"],
        check=True,
    )
    found = read(HostFs(), path)
    assert found["receive_bytes"] == 0
    assert found["listen_overflows"] == 0
    assert found["cpu_request_cores"] == 1.0


def test_the_busiest_processor_of_an_interval(tmp_path: Path) -> None:
    fs = fake_host(tmp_path, {"proc/stat": "cpu 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0\n"})
    reader = ProcessorReader(fs)
    assert reader(0.0) == {}
    (fs.proc / "stat").write_text("cpu0 80 0 10 5 5 0 0 0\ncpu1 10 0 0 90 0\nintr 5\n")
    assert reader(1.0) == {BUSIEST: pytest.approx(0.9)}
    (fs.proc / "stat").write_text("cpu1 10 0 0 90 0\n")  # one went offline, one stood still
    assert reader(2.0) == {}


def test_links_tell_their_speed_or_nothing(tmp_path: Path) -> None:
    fs = fake_host(
        tmp_path,
        {
            "sys/class/net/eth0/speed": "1000\n",
            "sys/class/net/eth1/speed": "-1\n",
            "sys/class/net/lo/mtu": "65536",
        },
    )
    found = {series.name: value for series, value in LinkReader(fs)(0.0).items()}
    assert found == {"node.net/eth0.speed_bytes_per_second": 125e6}
