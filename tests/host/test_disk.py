"""/proc/diskstats, and how busy the busiest disk was."""

from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.host.disk import (
    DiskTimes,
    busiest_percent,
    looks_like_a_disk,
    parse_diskstats,
)

TEXT = """\
   7       0 loop0 1 0 8 1 0 0 0 0 0 1 1
   8       0 sda 100 5 4096 70 200 6 8192 90 3 55 160 0 0 0 0 0 0
   8       1 sda1 1 2 3 4 5 6 7 8 9 10 11
"""


def test_sectors_are_512_bytes_and_merges_are_left_out() -> None:
    found = parse_diskstats(TEXT)
    assert list(found) == ["loop0", "sda", "sda1"]
    assert found["sda"] == DiskTimes(100, 4096 * 512, 70, 200, 8192 * 512, 90, 55)


def test_this_machine_has_disks() -> None:
    assert any(map(looks_like_a_disk, parse_diskstats(Path("/proc/diskstats").read_text())))


@pytest.mark.parametrize(
    "line",
    ["x", "8 0 sda 1 2 3", "8 0 sda 1 2 3 4 5 6 7 8 9 10 -1", f"8 0 sda{' 1' * 10} {'9' * 5000}"],
)
def test_a_line_that_is_none_is_said(line: str) -> None:
    with pytest.raises(KernmeshError, match=f"p: got '{line}', want eleven numbers"):
        parse_diskstats(line, "p")


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("sda", True), ("vdb", True), ("nvme0n1", True), ("mmcblk0", True), ("xvda", True),
        ("sda1", False), ("vda12", False), ("nvme0n1p2", False), ("mmcblk0p1", False),
        ("loop0", False), ("ram3", False), ("zram0", False), ("dm-0", False), ("md127", False),
        ("sr0", False), ("fd0", False),
    ],
)  # fmt: skip
def test_a_disk_is_known_by_its_name_where_nothing_else_tells(name: str, whole: bool) -> None:
    assert looks_like_a_disk(name) == whole


ZERO = DiskTimes(0, 0, 0, 0, 0, 0, 0)


def busy(ms: int) -> DiskTimes:
    return ZERO._replace(busy_ms=ms)


@pytest.mark.parametrize(
    ("before", "after", "seconds", "percent"),
    [
        ({"a": busy(0)}, {"a": busy(5000)}, 10.0, 50.0),
        ({"a": busy(0), "b": busy(0)}, {"a": busy(1000), "b": busy(9000)}, 10.0, 90.0),
        ({"a": busy(0)}, {"a": busy(10010)}, 10.0, 100.0),
        ({"a": busy(0)}, {"a": busy(0)}, 10.0, 0.0),
        ({"a": busy(9000)}, {"a": busy(10)}, 10.0, None),
        ({"a": busy(9000), "b": busy(0)}, {"a": busy(10), "b": busy(1000)}, 10.0, 10.0),
        ({"a": busy(0)}, {"b": busy(5000)}, 10.0, None),
        ({"a": busy(0)}, {"a": busy(5000)}, 0.0, None),
        ({}, {}, 10.0, None),
    ],
    ids=["half", "the busiest", "clocks apart", "idle", "began anew", "one began anew",
         "another disk", "no time", "no disk"],
)  # fmt: skip
def test_the_busiest_disk_counts(
    before: dict[str, DiskTimes], after: dict[str, DiskTimes], seconds: float, percent: float | None
) -> None:
    assert busiest_percent(before, after, seconds) == percent
