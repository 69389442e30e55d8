"""Which cgroups a program is told of, on every kind of mount, as they come and go."""

import struct
from pathlib import Path

import pytest

from exporter.ebpf.cgroupids import CgroupIds
from exporter.ebpf.spec import CgroupIdMapSpec
from exporter.errors import BpfError, DecodeError
from exporter.hostfs import HostFs
from exporter.testing import FakeMap, fake_host

V2 = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
HYBRID = (
    "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
V1 = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"


def host(folder: Path, mountinfo: str, *cgroups: str) -> HostFs:
    fs = fake_host(folder, {"proc/1/mountinfo": mountinfo})
    for cgroup in cgroups:
        (fs.cgroup / cgroup).mkdir(parents=True)
    return fs


def chosen(bpf_map: FakeMap, fs: HostFs) -> set[str]:
    names = {path.stat().st_ino: path.name for path in fs.cgroup.rglob("*")}
    return {names[struct.unpack("=Q", key)[0]] for key in bpf_map.rows}


def ids(*rows: bytes, entries: int = 100) -> FakeMap:
    return FakeMap("m", dict.fromkeys(rows, 1), key_size=8, max_entries=entries)


@pytest.mark.parametrize(
    ("mountinfo", "top", "expressions", "names"),
    [
        (V2, "", ["^/sys/fs/cgroup/a"], {"a", "a1"}),
        (V2, "", ["a1$", "b"], {"a1", "b"}),
        (V2, "", [], set()),
        (HYBRID, "unified/", ["^/sys/fs/cgroup/unified/a$"], {"a"}),
        (V1, "memory/", ["^/sys/fs/cgroup/memory/b$"], {"b"}),
    ],
)
def test_paths_are_matched_as_the_host_has_them(
    tmp_path: Path, mountinfo: str, top: str, expressions: list[str], names: set[str]
) -> None:
    fs = host(tmp_path, mountinfo, f"{top}a/a1", f"{top}b")
    bpf_map = ids()
    selection = CgroupIds(bpf_map, CgroupIdMapSpec("m", regexps=tuple(expressions)), fs)
    selection.run()
    assert chosen(bpf_map, fs) == names
    assert selection.selected == len(names)


def test_the_map_follows_cgroups_that_come_and_go(tmp_path: Path) -> None:
    fs = host(tmp_path, V2, "x1", "y")
    bpf_map = ids(b"\xee" * 8)  # left by whoever had the map before
    selection = CgroupIds(bpf_map, CgroupIdMapSpec("m", regexps=("/x",)), fs)
    selection.run()
    assert chosen(bpf_map, fs) == {"x1"}
    (fs.cgroup / "y" / "x2").mkdir()
    (fs.cgroup / "x1").rmdir()
    selection.run()
    assert chosen(bpf_map, fs) == {"x2"}


def test_what_an_lru_map_dropped_is_put_back(tmp_path: Path) -> None:
    fs = host(tmp_path, V2, "x1")
    bpf_map = ids()
    selection = CgroupIds(bpf_map, CgroupIdMapSpec("m", regexps=("/x",)), fs)
    selection.run()
    bpf_map.rows.clear()
    selection.run()
    assert chosen(bpf_map, fs) == {"x1"}


def test_room_is_made_before_it_is_needed(tmp_path: Path) -> None:
    fs = host(tmp_path, V2, "x1")
    bpf_map = ids(b"\xee" * 8, entries=1)
    CgroupIds(bpf_map, CgroupIdMapSpec("m", regexps=("/x",)), fs).run()
    assert chosen(bpf_map, fs) == {"x1"}


def test_a_full_map_says_so(tmp_path: Path) -> None:
    fs = host(tmp_path, V2, "x1", "x2")
    with pytest.raises(BpfError, match="map m: is full"):
        CgroupIds(ids(entries=1), CgroupIdMapSpec("m", regexps=("/x",)), fs).run()


@pytest.mark.parametrize(
    ("bpf_map", "kind", "said"),
    [
        (FakeMap("m", {}, key_size=4), "hash", "4 bytes of key and 8 of value, want 8 and 8"),
        (FakeMap("m", {}, key_size=8), "cgrp_storage", "want 4 and 8 for type cgrp_storage"),
        (FakeMap("m", {}, key_size=8, value_size=4), "hash", "8 bytes of key and 4 of value"),
    ],
)
def test_a_map_of_other_sizes_is_refused(
    tmp_path: Path, bpf_map: FakeMap, kind: str, said: str
) -> None:
    spec = CgroupIdMapSpec("m", kind, ("x",))  # type: ignore[arg-type]
    with pytest.raises(BpfError, match=said):
        CgroupIds(bpf_map, spec, host(tmp_path, V2))


def test_a_bad_expression_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match=r"'\(' is no RE2 expression"):
        CgroupIds(ids(), CgroupIdMapSpec("m", regexps=("(",)), host(tmp_path, V2))


def test_without_any_hierarchy_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match="no cgroup hierarchy is mounted"):
        CgroupIds(ids(), CgroupIdMapSpec("m", regexps=("x",)), host(tmp_path, "")).run()
