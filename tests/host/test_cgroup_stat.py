"""One cgroup's usage: what a hierarchy does not count is None, never 0."""

from pathlib import Path

import pytest

from exporter.host.cgroup_limits import IoLimit, Limits, read_limits
from exporter.host.cgroup_stat import Usage, UsageReader, layout_of
from exporter.host.mounts import cgroup_mounts
from exporter.host.open_files import Descriptors, Gone
from tests.usage.cgroup_trees import Numbers, machine, put, remove

IO = (IoLimit("8:0", "write", "bytes", 7),)
BYTES, OPERATIONS = (
    "blkio.throttle.io_service_bytes_recursive",
    "blkio.throttle.io_serviced_recursive",
)


@pytest.mark.parametrize(
    ("root", "own", "want"),
    [
        ("Total 0\n", "Total 0\n", (None, None, None, None)),
        (None, "Total 0\n", (None, None, None, None)),
        ("8:0 Read 9\nTotal 9\n", "Total 0\n", (0, 0, 0, 0)),
        ("Total 0\n", "8:0 Read 4\n8:0 Write 3\nTotal 7\n", (4, 3, 4, 3)),
    ],
)
def test_v1_that_counts_nothing_yet_is_told_from_a_cgroup_that_asked_for_nothing(
    root: str | None, own: str, want: tuple[int | None, ...], tmp_path: Path
) -> None:
    host = machine(tmp_path, "v1")
    put(host, "v1", "a", Numbers())
    for name in (BYTES, OPERATIONS):
        if root is not None:
            (host.cgroup / "blkio" / name).write_text(root)
        (host.cgroup / "blkio/a" / name).write_text(own)
    reader = UsageReader(layout_of(cgroup_mounts(host)), "a", Descriptors(8))
    usage = reader.read()
    assert (usage.read_bytes, usage.written_bytes, usage.reads, usage.writes) == want
    reader.close()


def test_a_cgroup_made_anew_has_nothing_of_the_one_before(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "a", Numbers())
    reader = UsageReader(layout_of(cgroup_mounts(host)), "a", Descriptors(0))
    assert reader.read().tasks == 3
    remove(host, "a")
    with pytest.raises(Gone):
        reader.read()
    put(host, "v2", "a", Numbers(tasks=8))  # its other numbers are the same, as of twins
    assert reader.read().tasks == 8


def test_after_a_text_without_sense_the_next_is_read_whole(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "a", Numbers())
    reader = UsageReader(layout_of(cgroup_mounts(host)), "a", Descriptors(0))
    first = reader.read()
    assert first != Usage()
    put(host, "v2", "a", Numbers(cpu_us=1_600_000))  # it has run, so all is looked at
    (host.cgroup / "a/memory.current").write_text("much\n")
    for _ in range(3):
        with pytest.raises(ValueError, match="much"):
            reader.read()
    (host.cgroup / "a/memory.current").write_text("9\n")
    (host.cgroup / "a/cpu.stat").write_text(f"usage_usec {'9' * 400}\n")
    with pytest.raises(ValueError, match="too large"):
        reader.read()
    put(host, "v2", "a", Numbers())
    assert reader.read() == first


def test_of_a_cgroup_that_rests_what_changes_is_seen_within_six_readings(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "a", Numbers())
    reader = UsageReader(layout_of(cgroup_mounts(host)), "a", Descriptors(8))
    reader.read()
    put(host, "v2", "a", Numbers(memory=5000, inactive_file=2000, read=8192))  # reclaimed, written
    seen = [reader.read() for _ in range(6)][-1]
    assert (seen.memory_bytes, seen.working_set_bytes, seen.read_bytes) == (5000, 3000, 8193)
    put(host, "v2", "a", Numbers(memory=5000, inactive_file=4000, read=8192))  # pages have aged
    assert [reader.read() for _ in range(12)][-1].working_set_bytes == 1000
    put(host, "v2", "a", Numbers(cpu_us=9_000_000, memory=6000))
    seen = reader.read()  # it has run
    assert (seen.cpu_seconds, seen.memory_bytes, seen.working_set_bytes) == (9.0, 6000, 5000)
    reader.close()


@pytest.mark.parametrize(
    ("file", "text", "want"),
    [
        ("cpu.max", b"50000x 100000\n", Limits(None, 4096, IO)),
        ("cpu.max", b"50000 0\n", Limits(None, 4096, IO)),
        ("memory.max", b"\x044096\n", Limits(0.5, None, IO)),
        ("io.max", b"8:0 wbps=1\xff\n", Limits(0.5, 4096, ())),
        ("io.max", b"\n8:0 wbps=7\n", Limits(0.5, 4096, ())),
        ("io.max", b"8:0 wbps=7#\n", Limits(0.5, 4096, ())),
    ],
)
def test_a_limit_that_makes_no_sense_costs_no_other(
    file: str, text: bytes, want: Limits, tmp_path: Path
) -> None:
    host = machine(tmp_path, "v2")
    put(host, "v2", "a", Numbers(quota=50_000, memory_limit=4096, io_limit=7))
    layout = layout_of(cgroup_mounts(host))
    assert read_limits(layout, "a") == Limits(0.5, 4096, IO)
    (host.cgroup / "a" / file).write_bytes(text)
    assert read_limits(layout, "a") == want


def test_v1_limits_that_make_no_sense_are_none(tmp_path: Path) -> None:
    host = machine(tmp_path, "v1")
    put(host, "v1", "a", Numbers(quota=50_000))
    for name, text in (("cpu.cfs_period_us", "0\n"), ("cpu.cfs_period_us", "-\n")):
        (host.cgroup / "cpu,cpuacct/a" / name).write_text(text)
        assert read_limits(layout_of(cgroup_mounts(host)), "a").cpu_cores is None
    (host.cgroup / "blkio/a/blkio.throttle.write_bps_device").write_text("8:0 1 2\n")
    assert read_limits(layout_of(cgroup_mounts(host)), "a").io == ()
