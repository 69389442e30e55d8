"""The node's sources over folders of files: what they read, and what they leave unknown."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from exporter.hostfs import HostFs
from exporter.testing import fake_host
from exporter.usage.gauges import USAGE
from exporter.usage.node import KUBELET_AVAILABLE, node_sources
from exporter.usage.series import Read, Series

MEMINFO = "MemTotal: 1000 kB\nMemAvailable: 750 kB\n"


def reader(host: HostFs, name: str) -> Read:
    return next(source for source in node_sources(host) if source.name == name).make()


def named(values: Mapping[Series, float]) -> dict[str, float]:
    return {series.name: value for series, value in values.items()}


def stat(user: int, idle: int, cpus: int = 1) -> str:
    lines = "".join(f"cpu{n} 1 2 3\n" for n in range(cpus))
    return f"cpu  {user} 0 0 {idle} 0 0 0 0 0 0\n{lines}ctxt 5\nprocs_running 2\nprocs_blocked 1\n"


class TestCpu:
    def test_usage_is_what_happened_since_the_last_reading(self, tmp_path: Path) -> None:
        host = fake_host(tmp_path, {"proc/stat": stat(9000, 1000)})
        read = reader(host, "cpu")
        first = named(read(0.0))
        assert "node.cpu.usage" not in first
        assert (first["node.cpu.user_seconds"], first["node.cpu.busy_seconds"]) == (90.0, 90.0)
        assert (first["node.tasks.running"], first["node.tasks.blocked"]) == (2, 1)
        fake_host(tmp_path, {"proc/stat": stat(9010, 1090)})
        assert read(10.0)[USAGE["cpu"]] == 10.0

    def test_counters_that_went_back_cost_one_sample(self, tmp_path: Path) -> None:
        """As they do when processors are unplugged."""
        read = reader(fake_host(tmp_path, {"proc/stat": stat(9000, 1000, 4)}), "cpu")
        read(0.0)
        fake_host(tmp_path, {"proc/stat": stat(4500, 600, 2)})
        values = read(10.0)
        assert USAGE["cpu"] not in values
        assert named(values)["node.cpu.online"] == 2
        fake_host(tmp_path, {"proc/stat": stat(4550, 650, 2)})
        assert read(20.0)[USAGE["cpu"]] == 50.0

    def test_a_file_that_was_gone_leaves_nothing_to_compare_with(self, tmp_path: Path) -> None:
        host = fake_host(tmp_path, {"proc/stat": stat(9000, 1000)})
        read = reader(host, "cpu")
        read(0.0)
        (host.proc / "stat").unlink()
        with pytest.raises(OSError, match="No such file"):
            read(10.0)
        fake_host(tmp_path, {"proc/stat": stat(9999, 1001)})
        assert USAGE["cpu"] not in read(20.0)

    def test_a_stat_of_the_cpu_line_alone_is_enough(self, tmp_path: Path) -> None:
        read = reader(fake_host(tmp_path, {"proc/stat": "cpu  1 2 3 4 5 6 7 8\n"}), "cpu")
        assert "node.tasks.running" not in named(read(0.0))


def test_load_is_a_share_of_the_processors(tmp_path: Path) -> None:
    files = {"proc/stat": stat(1, 1, 4), "proc/loadavg": "6.00 2.00 1.00 1/2 3\n"}
    values = named(reader(fake_host(tmp_path, files), "load")(0.0))
    assert values == {
        "node.load.1m": 6.0, "node.load.5m": 2.0, "node.load.15m": 1.0, "node.load.usage": 150.0,
    }  # fmt: skip


def test_memory_has_its_parts_and_its_share(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"proc/meminfo": MEMINFO + "Dirty: 4 kB\n"})
    assert named(reader(host, "memory")(0.0)) == {
        "node.mem.total_bytes": 1024000,
        "node.mem.available_bytes": 768000,
        "node.mem.dirty_bytes": 4096,
        "node.mem.usage": 25.0,
    }


V1 = "31 1 0:35 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
V2 = "41 1 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
HYBRID = V1 + "41 1 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
V1_FILES = {
    "sys/fs/cgroup/memory/memory.stat": "cache 5\ntotal_inactive_file 102400\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "512000\n",
}
V2_FILES = {
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/memory.stat": "anon 300000\nfile 312000\ninactive_file 100000\n",
}


@pytest.mark.parametrize(
    ("mounts", "files", "available"),
    [
        (V1, V1_FILES, 1024000 - 409600),
        (HYBRID, V1_FILES, 1024000 - 409600),
        (V2, V2_FILES, 1024000 - 512000),
        (V2, {}, None),
        ("", {}, None),
    ],
    ids=["v1", "hybrid", "v2", "v2 without memory", "none"],
)
def test_kubelets_memory_on_every_kind_of_machine(
    tmp_path: Path, mounts: str, files: dict[str, str], available: int | None
) -> None:
    given = {"proc/1/mountinfo": mounts, "proc/meminfo": MEMINFO, **files}
    values = reader(fake_host(tmp_path, given), "kubelet memory")(0.0)
    assert values.get(KUBELET_AVAILABLE) == available


def disks(busy_ms: int) -> str:
    return (
        f"   8 0 sda 1 0 8 2000 3 0 16 4000 0 {busy_ms} 6\n"
        f"   8 1 sda1 1 0 8 2 3 0 4 4 0 {busy_ms} 6\n"
        f"   7 0 loop0 1 0 8 2 3 0 4 4 0 {2 * busy_ms} 6\n"
    )


@pytest.mark.parametrize(
    "known", [{}, {"sys/block/sda/device/x": "", "sys/block/loop0/x": ""}], ids=["names", "sysfs"]
)
def test_disks_are_whole_ones_with_something_behind_them(
    tmp_path: Path, known: dict[str, str]
) -> None:
    read = reader(fake_host(tmp_path, {"proc/diskstats": disks(1000), **known}), "disks")
    assert named(read(0.0)) == {
        "node.disk/sda.reads": 1,
        "node.disk/sda.read_bytes": 4096,
        "node.disk/sda.read_seconds": 2.0,
        "node.disk/sda.writes": 3,
        "node.disk/sda.written_bytes": 8192,
        "node.disk/sda.write_seconds": 4.0,
        "node.disk/sda.busy_seconds": 1.0,
    }
    fake_host(tmp_path, {"proc/diskstats": disks(4000)})
    assert read(10.0)[USAGE["disk_io"]] == 30.0


def test_the_fullest_filesystem_is_the_nodes(tmp_path: Path) -> None:
    mounts = "27 1 254:0 / / rw - ext4 /dev/vda rw\n28 1 8:1 / /gone rw - ext4 /dev/sdb rw\n"
    host = fake_host(tmp_path, {"proc/1/mountinfo": mounts})
    values = named(reader(host, "filesystems")(0.0))
    assert 0 < values["node.disk.usage"] <= 100
    assert values["node.filesystem//.used_bytes"] > 0
    assert not any("gone" in name for name in values)


def test_where_no_filesystem_can_be_asked_that_is_an_error(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"proc/1/mountinfo": "28 1 8:1 / /gone rw - ext4 /dev/sdb rw\n"})
    with pytest.raises(OSError, match="gone"):
        reader(host, "filesystems")(0.0)


def net(received: int) -> str:
    numbers = f"{received} 1 0 0 0 0 0 0 5 1 0 0 0 0 0 0"
    return f"head\nhead\n  eth0: {numbers}\n  veth1: {numbers}\n    lo: {numbers}\n"


@pytest.mark.parametrize(
    ("known", "interfaces", "percent"),
    [
        ({"eth0/device/x": "", "eth0/speed": "1000\n", "veth1/speed": "10000\n"}, {"eth0"}, 50.0),
        ({"eth0/device/x": "", "eth0/speed": "-1\n"}, {"eth0"}, None),
        ({"eth0/device/x": ""}, {"eth0"}, None),
        ({}, {"eth0", "veth1"}, None),
    ],
    ids=["a link with a speed", "speed unknown", "no speed", "no sysfs"],
)
def test_the_nodes_interfaces_and_their_load(
    tmp_path: Path, known: dict[str, str], interfaces: set[str], percent: float | None
) -> None:
    files = {f"sys/class/net/{path}": text for path, text in known.items()}
    read = reader(fake_host(tmp_path, {"proc/1/net/dev": net(0), **files}), "network")
    values = named(read(0.0))
    assert {name.split("/")[1].split(".")[0] for name in values} == interfaces
    fake_host(tmp_path, {"proc/1/net/dev": net(625_000_000)})
    assert read(10.0).get(USAGE["net"]) == percent


def test_every_source_reads_this_machine_and_names_are_unique() -> None:
    names: list[str] = []
    for source in node_sources(HostFs()):
        read = source.make()
        read(0.0)
        names += named(read(1.0))
    assert len(names) == len(set(names)) > 40
