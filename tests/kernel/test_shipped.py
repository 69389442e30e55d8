"""The shipped programs count what user space knows to have happened, event by event."""

import os
import platform
import signal
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.ebpf import libbpf
from exporter.ebpf.kernel import Options
from exporter.ebpf.loaded import KernelProgram
from exporter.ebpf.spec import HookSpec
from tests.kernel.conftest import Load, counts, numbers, program, shipped_program
from tests.kernel.perf_counts import tallies
from tests.kernel.quiet import least
from tests.kernel.workloads import (
    LoopDisk,
    MemoryCgroup,
    eventually,
    loop_disk,
    memory_cgroup,
    sleep_in_receive,
    start_keepalive_timers,
)

pytestmark = pytest.mark.bpf

TIMER_WAYS = [("timer_start_btf",), ("timer_start_tracepoint",)]


def kernel_function(name: str) -> bytes:
    """The address of a kernel function as it stands in a map's key."""
    with Path("/proc/kallsyms").open() as lines:
        for line in lines:
            address, _, symbol = line.split()[:3]
            if symbol == name:
                return int(address, 16).to_bytes(8, sys.byteorder)
    raise AssertionError(f"this kernel has no function {name}")


def keepalives(timers: KernelProgram, times: int) -> int:
    """What it counts of so many; other connections of this machine have such timers, too."""

    def found() -> dict[bytes, int]:
        return counts(timers, "timer_starts_total")

    risen = least(found, lambda: start_keepalive_timers(times), rounds=5)
    return risen[kernel_function("tcp_keepalive_timer")]


def test_timers_counts_each_started_timer_by_its_function(shipped: Path, loaded: Load) -> None:
    timers = loaded(shipped_program(shipped, "timers"))
    assert keepalives(timers, 1234) == 1234


def test_timers_counts_sleeps(shipped: Path, loaded: Load, tmp_path: Path) -> None:
    event = "timer/timer_start"
    with tallies(tmp_path / "tracing", [event]) as perf:
        timers = loaded(shipped_program(shipped, "timers"))
        before = perf.own()[event]
        sleep_in_receive(100)
        own = perf.own()[event] - before
        found = counts(timers, "timer_starts_total")
        everyones = perf.everyones()[event]
    # Others sleep too on a living machine, kernel threads first of all.
    assert found[kernel_function("process_timeout")] >= 100
    assert 100 <= own <= sum(found.values()) <= everyones


def test_timers_counts_the_same_when_the_map_is_shared(shipped: Path, loaded: Load) -> None:
    timers = loaded(shipped_program(shipped, "timers"), Options(budget_bytes=1))
    assert timers.maps["timer_starts_total"].info.kind == "hash"
    assert keepalives(timers, 500) == 500


def test_a_full_map_is_counted_as_refused_and_what_is_in_it_goes_on(
    shipped: Path, loaded: Load
) -> None:
    timers = loaded(
        shipped_program(shipped, "timers"), Options(max_entries={"timer_starts_total": 1})
    )
    assert timers.maps["timer_starts_total"].info.max_entries == 1
    start_keepalive_timers(50)
    sleep_in_receive(50)
    found = counts(timers, "timer_starts_total")
    assert len(found) == 1
    assert timers.refused_updates()["timer_starts_total"] >= 50
    ((known, before),) = found.items()
    start_keepalive_timers(50)
    sleep_in_receive(50)
    assert set(counts(timers, "timer_starts_total")) == {known}
    assert counts(timers, "timer_starts_total")[known] >= before


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[LoopDisk]:
    with loop_disk(tmp_path) as made:
        yield made


def rows(running: KernelProgram, name: str) -> set[tuple[bytes, int]]:
    return set(counts(running, name).items())


READ, WRITE, FLUSH = 0, 1, 2  # as biolatency.yaml names them


BLOCK_WAYS = {
    "tp_btf": [("insert_btf", "issue_btf", "complete_btf")],
    "raw_tp": [("insert_raw", "issue_raw", "complete_raw")],
}


@pytest.mark.parametrize("ways", [None, *BLOCK_WAYS], ids=str)
@pytest.mark.parametrize("options", [Options(), Options(budget_bytes=1)], ids=["per_cpu", "shared"])
def test_biolatency_agrees_with_diskstats_request_by_request(
    shipped: Path, loaded: Load, disk: LoopDisk, ways: str | None, options: Options
) -> None:
    biolatency = shipped_program(shipped, "biolatency")
    if ways:
        every = {name for way in BLOCK_WAYS.values() for name in way[0]}
        others = ["_of_queue_btf", "_of_queue_raw"]
        off = tuple(sorted(every - set(BLOCK_WAYS[ways][0])))
        off += tuple(f"{kind}{other}" for kind in ("insert", "issue") for other in others)
        hooks = [
            HookSpec("wanted", tuple(BLOCK_WAYS[ways])),
            HookSpec("unwanted", (("none", *off),), optional=True),
        ]
        biolatency = program(shipped, "biolatency", hooks)
    running = loaded(biolatency, options)
    before = disk.stat()
    disk.write_and_read(writes=300, reads=200, syncs=3)
    assert eventually(lambda: disk.stat()["flushes"] >= before["flushes"] + 3)
    after = {name: value - before[name] for name, value in disk.stat().items()}
    found = numbers(running, "bio_latency_seconds")

    def of(operation: int) -> list[int]:
        return found[struct.pack("=II", disk.number, operation)]

    # The kernel counts a flush once more, as the empty write that asked for it and that no
    # driver ever saw (block/blk-flush.c).
    assert (after["writes"], after["reads"], after["flushes"]) == (300 + 3, 200, 3)
    assert running.refused_updates() == {"bio_latency_seconds": 0, "bio_starts": 0}
    # A function that is interrupted on its CPU is not begun again there: the kernel says so.
    missed = sum(function.missed or 0 for function in running.functions())
    for operation, made in ((WRITE, 300), (READ, 200), (FLUSH, 3)):
        assert made - missed <= sum(of(operation)[:-1]) <= made
    for operation, measured_ms in ((WRITE, after["write_ms"]), (READ, after["read_ms"])):
        *slots, total_us = of(operation)
        # The kernel's own clock starts earlier, when it makes the request, and rounds each one.
        assert 0 < total_us <= (measured_ms + 1) * 1000 + sum(slots) * 1000
        lower = sum(count * (2 ** (slot - 1) if slot else 0) for slot, count in enumerate(slots))
        upper = sum(count * 2**slot for slot, count in enumerate(slots))
        assert lower <= total_us + sum(slots)
        assert total_us <= upper + sum(slots)
    # Others' requests are under way at any time. Ours are through: what is there now goes.
    under_way = rows(running, "bio_starts")
    assert eventually(lambda: under_way.isdisjoint(rows(running, "bio_starts")))


@pytest.fixture
def small_cgroup() -> Iterator[MemoryCgroup]:
    with memory_cgroup() as made:
        yield made


GLOBAL, CGROUP = 0, 1  # as oomkill.yaml names them
VICTIM_WAYS = [(("victim_task",),), (("victim_signal", "victim_number"),)]


def out_of_memory_kills() -> int:
    """On the whole machine (mm/oom_kill.c)."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("oom_kill ")))


@pytest.mark.parametrize("ways", VICTIM_WAYS, ids=["task", "signal"])
def test_oomkill_names_the_victims_cgroup_and_the_scope(
    shipped: Path, loaded: Load, small_cgroup: MemoryCgroup, ways: tuple[tuple[str, ...], ...]
) -> None:
    _, reclaim = shipped_program(shipped, "oomkill").spec.hooks
    off = tuple(name for other in VICTIM_WAYS if other != ways for name in other[0])
    unwanted = HookSpec("unwanted", (("none", *off),), optional=True)
    hooks = [HookSpec("victims", ways), reclaim, unwanted]
    before = out_of_memory_kills()
    oomkill = loaded(program(shipped, "oomkill", hooks))
    assert small_cgroup.run_out() == -signal.SIGKILL
    assert small_cgroup.kills() == 1
    key = small_cgroup.id.to_bytes(8, sys.byteorder)
    assert counts(oomkill, "oom_kills_total").get(key) == 1
    scopes = counts(oomkill, "oom_kills_by_scope_total")
    assert scopes[struct.pack("=I", CGROUP)] >= 1
    # others may be short of memory as well
    assert sum(scopes.values()) <= out_of_memory_kills() - before


def test_oomkill_takes_the_first_way_that_its_yaml_names(shipped: Path, loaded: Load) -> None:
    oomkill = loaded(shipped_program(shipped, "oomkill"))
    taken = {hook.name: hook.taken for hook in oomkill.hooks}
    assert set(taken) == {"victims", "what ran out"}
    assert taken["victims"] in [
        ("tp_btf/mark_victim",),
        ("raw_tp/signal_generate", "raw_tp/mark_victim"),
    ]
    assert oomkill.problems == ()


# ns, the slot of 28 that it belongs to (28 is the overflow), and what it adds to the sum in µs
SHAPES = [
    (0, 0, 0),
    (1, 0, 0),
    (499, 0, 0),
    (500, 0, 1),
    (1000, 0, 1),
    (1001, 1, 1),
    (2000, 1, 2),
    (2001, 2, 2),
    (4000, 2, 4),
    (4001, 3, 4),
    (1_024_000, 10, 1024),
    (1_024_001, 11, 1024),
    (2**27 * 1000, 27, 2**27),
    (2**27 * 1000 + 1, 28, 2**27),
    (2**63, 28, (2**63 + 500) // 1000),
]
GETPGID = {"x86_64": 121, "aarch64": 155}


@pytest.mark.parametrize("options", [Options(), Options(budget_bytes=1)], ids=["per_cpu", "shared"])
def test_a_value_falls_into_the_bucket_whose_bound_it_does_not_exceed(
    compiled: Path, loaded: Load, options: Options
) -> None:
    running = loaded(program(compiled, "shapes"), options)
    thread = os.getpid()
    expected = [0] * 30
    for value, slot, units in SHAPES:
        write_first(running, struct.pack("=QII", value, thread, GETPGID[platform.machine()]))
        os.getpgid(0)
        expected[slot] += 1
        expected[29] += units
        assert numbers(running, "shapes")[struct.pack("=I", 7)] == expected, value
    assert counts(running, "calls") == {struct.pack("=I", 7): len(SHAPES)}


def write_first(running: KernelProgram, value: bytes) -> None:
    """Writes the only row of the test program's map `wanted`."""
    lib = libbpf.library()
    fd = lib.call("bpf_map_get_fd_by_id", running.maps["wanted"].info.id)
    try:
        lib.call("bpf_map_update_elem", fd, bytes(4), value, 0)
    finally:
        os.close(fd)
