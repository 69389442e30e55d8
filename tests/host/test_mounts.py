"""Where cgroup hierarchies are mounted, as mountinfo says it."""

from pathlib import Path

import pytest

from exporter.host.mounts import CgroupMount, cgroup_mounts
from exporter.hostfs import HostFs
from exporter.testing import fake_host

LINE = "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"


def places(mounts: list[CgroupMount]) -> list[tuple[int, str]]:
    return [(mount.version, mount.place) for mount in mounts]


def test_v2_comes_first_and_v1_names_its_controllers(tmp_path: Path) -> None:
    text = LINE + (
        "33 31 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
        "42 31 0:39 / /tmp rw - tmpfs tmpfs rw\n"
    )
    fs = fake_host(
        tmp_path,
        {
            "proc/1/mountinfo": text,
            "sys/fs/cgroup/unified/cgroup.controllers": "hugetlb misc\n",
        },
    )
    found = cgroup_mounts(fs)
    assert found == [
        CgroupMount(
            2,
            frozenset(("hugetlb", "misc")),
            "/sys/fs/cgroup/unified",
            fs.cgroup / "unified",
        ),
        CgroupMount(1, frozenset(("memory",)), "/sys/fs/cgroup/memory", fs.cgroup / "memory"),
        CgroupMount(
            1, frozenset(("name=systemd",)), "/sys/fs/cgroup/systemd", fs.cgroup / "systemd"
        ),
    ]


def test_our_own_mounts_are_taken_where_inits_are_hidden(tmp_path: Path) -> None:
    fs = fake_host(tmp_path, {"proc/self/mountinfo": LINE})
    assert places(cgroup_mounts(fs)) == [(1, "/sys/fs/cgroup/memory")]


def test_a_bind_mount_of_a_part_does_not_stand_for_the_whole(tmp_path: Path) -> None:
    part = "50 31 0:29 /pods /srv/pods rw - cgroup cgroup rw,memory\n"
    for text in (part + LINE, LINE + part):
        fs = fake_host(tmp_path, {"proc/1/mountinfo": text})
        assert places(cgroup_mounts(fs)) == [(1, "/sys/fs/cgroup/memory")]


def test_an_unusual_place_is_found_below_the_hosts_root(tmp_path: Path) -> None:
    text = "50 31 0:29 / /my\\040cgroups rw - cgroup2 none rw\n"
    (mount,) = cgroup_mounts(fake_host(tmp_path, {"proc/1/mountinfo": text}))
    assert (mount.place, mount.folder) == ("/my cgroups", tmp_path / "my cgroups")


@pytest.mark.parametrize("text", ["", "\n", "1 2 3\n", "a b 0:1 / - cgroup\n", "- - - -\n"])
def test_odd_lines_are_passed_over(tmp_path: Path, text: str) -> None:
    assert cgroup_mounts(fake_host(tmp_path, {"proc/1/mountinfo": text})) == []


def test_no_mountinfo_means_no_mounts(tmp_path: Path) -> None:
    assert cgroup_mounts(HostFs(proc=tmp_path)) == []


def test_controllers_that_are_no_text_or_stand_nowhere_are_none(tmp_path: Path) -> None:
    line = "41 31 0:38 / /sys/fs/cgroup/a\\000b rw - cgroup2 cgroup2 rw\n"
    fs = fake_host(tmp_path, {"proc/1/mountinfo": line})
    assert [mount.controllers for mount in cgroup_mounts(fs)] == [frozenset()]
    line = "41 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    files: dict[str, str | bytes] = {
        "proc/1/mountinfo": line,
        "sys/fs/cgroup/cgroup.controllers": b"cpu \xff\n",
    }
    assert "cpu" in cgroup_mounts(fake_host(tmp_path, files))[0].controllers
