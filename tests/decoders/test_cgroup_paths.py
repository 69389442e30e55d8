"""Cgroup ids to paths: on the real kernel by handle, and by walking, on every kind of mount."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.decoders import DecodeContext, Provisional, chain
from exporter.decoders.cgroup_paths import CgroupPaths
from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.testing import FakeClock, fake_host

V2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
HYBRID = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1 = "".join(line for line in HYBRID.splitlines(keepends=True) if "cgroup2" not in line)


def host(folder: Path, mountinfo: str, *cgroups: str) -> HostFs:
    fs = fake_host(folder, {"proc/1/mountinfo": mountinfo})
    for cgroup in cgroups:
        (fs.cgroup / cgroup).mkdir(parents=True)
    return fs


def number(fs: HostFs, cgroup: str) -> int:
    return (fs.cgroup / cgroup).stat().st_ino


@pytest.mark.parametrize(
    ("mountinfo", "cgroup", "controller"),
    [
        (V2, "system.slice/ssh.service", ""),
        (HYBRID, "unified/system.slice", ""),
        (HYBRID, "memory/kubepods/pod1", "memory"),
        (HYBRID, "cpu,cpuacct/a", "cpu"),
        (V1, "memory/b/c", "memory"),
        (V1, "memory/b/c", ""),
    ],
)
def test_an_id_is_a_path_of_the_hierarchy_that_is_asked_for(
    tmp_path: Path, mountinfo: str, cgroup: str, controller: str
) -> None:
    fs = host(tmp_path, mountinfo, cgroup)
    paths = CgroupPaths(fs, FakeClock())
    assert paths.path(number(fs, cgroup), controller) == f"/sys/fs/cgroup/{cgroup}"


def test_on_v2_a_controller_is_the_unified_hierarchys_if_it_is_on(tmp_path: Path) -> None:
    fs = host(tmp_path, V2, "a")
    (fs.cgroup / "cgroup.controllers").write_text("cpu io memory\n")
    paths = CgroupPaths(fs, FakeClock())
    assert paths.path(number(fs, "a"), "memory") == "/sys/fs/cgroup/a"
    assert paths.path(number(fs, "a"), "hugetlb") is None


def test_the_root_is_the_mount_itself(tmp_path: Path) -> None:
    fs = host(tmp_path, V2)
    assert CgroupPaths(fs, FakeClock()).path(number(fs, ""), "") == "/sys/fs/cgroup"


def test_a_cgroup_made_later_is_found_by_another_walk_but_not_by_one_for_every_miss(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    fs = host(tmp_path, V2, "a")
    paths = CgroupPaths(fs, clock)
    assert paths.path(number(fs, "a")) == "/sys/fs/cgroup/a"
    (fs.cgroup / "late").mkdir()
    assert paths.path(number(fs, "late")) is None
    clock.advance(1)
    assert paths.path(number(fs, "late")) == "/sys/fs/cgroup/late"


def test_a_cgroup_that_is_gone_keeps_its_last_path(tmp_path: Path) -> None:
    clock = FakeClock()
    fs = host(tmp_path, V2, "a")
    paths = CgroupPaths(fs, clock)
    gone = number(fs, "a")
    assert paths.path(gone) == "/sys/fs/cgroup/a"
    (fs.cgroup / "a").rmdir()
    clock.advance(100)
    assert paths.path(gone) == "/sys/fs/cgroup/a"


def test_without_any_cgroup_mount_every_id_is_unknown_for_now(tmp_path: Path) -> None:
    context = DecodeContext.of(fake_host(tmp_path, {}), FakeClock())
    decode = chain(LabelSpec("c", 8, 0, (DecoderSpec("uint"), DecoderSpec("cgroup"))), context)
    text = decode((7).to_bytes(8, "little"))
    assert (text, type(text)) == ("unknown_cgroup_id:7", Provisional)


@pytest.fixture
def real_cgroups() -> Iterator[list[Path]]:
    """Two new cgroups: one in the unified hierarchy, one in that of the memory controller."""
    mounts = cgroup_mounts(HostFs())
    unified = next(mount for mount in mounts if mount.version == 2)
    memory = next(mount for mount in mounts if "memory" in mount.controllers)
    folders = [each.folder / f"kernmesh-test-{os.getpid()}/a" for each in (unified, memory)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    yield folders
    for folder in folders:
        if folder.exists():
            folder.rmdir()
            folder.parent.rmdir()


def test_the_kernel_names_real_cgroups_made_at_any_time(real_cgroups: list[Path]) -> None:
    paths = CgroupPaths(HostFs(), SystemClock())
    asked = [("", real_cgroups[0]), ("memory", real_cgroups[1])]
    for controller, folder in asked:
        assert paths.path(folder.stat().st_ino, controller) == str(folder)
        late = folder / "late"
        late.mkdir()
        late_number = late.stat().st_ino
        assert paths.path(late_number, controller) == str(late)
        late.rmdir()
        assert paths.path(late_number, controller) == str(late)
        assert paths.path(2**63, controller) is None


def test_a_thousand_cgroups_come_and_go_with_their_right_names(real_cgroups: list[Path]) -> None:
    paths = CgroupPaths(HostFs(), SystemClock())
    parent = real_cgroups[0]
    for index in range(1000):
        folder = parent / str(index)
        folder.mkdir()
        named = paths.path(folder.stat().st_ino)
        folder.rmdir()
        assert named == str(folder)
