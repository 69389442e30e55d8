"""Ways fall through in order, failures stay where they are, and nothing is left behind."""

import errno
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from exporter.ebpf import libbpf
from exporter.ebpf.kernel import Options, ProgramReport, examine, load
from exporter.ebpf.refusals import Refusals
from exporter.ebpf.spec import HookSpec
from exporter.errors import BpfError
from exporter.testing import fake_host
from tests.kernel.conftest import Load, counts, program, shipped_program
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

BROKEN = {
    "bad_read": "R1 invalid mem access 'scalar'",
    "no_such_event": "failed to find kernel BTF type ID of 'kernmesh_no_such_event': -3",
    "no_such_raw_event": "cannot be attached: failed to attach to raw tracepoint "
    "'kernmesh_no_such_event': No such file or directory",
}
ALSO_BROKEN = ("no_such_field", "no_such_tracepoint")
WORKING = ("exec_raw", "fork_raw")


def run_a_process() -> None:
    subprocess.run(["true"], check=True)


def hook(name: str, *ways: Sequence[str], optional: bool = False) -> HookSpec:
    return HookSpec(name, tuple(tuple(way) for way in ways), optional)


def everything_else(*wanted: str) -> HookSpec:
    """Has the object's other functions named, and so not tried each by itself."""
    every = {*BROKEN, *ALSO_BROKEN, *WORKING, "exec_tracepoint"}
    return hook("else", ("none", *sorted(every - set(wanted))), optional=True)


@pytest.mark.parametrize("broken", [*BROKEN, *ALSO_BROKEN])
def test_a_way_that_this_kernel_refuses_gives_way_to_the_next(
    compiled: Path, loaded: Load, broken: str
) -> None:
    hooks = [hook("runs", [broken], ["exec_raw"]), everything_else(broken, "exec_raw")]
    ways = loaded(program(compiled, "ways", hooks))
    assert ways.hooks[0].taken == ("raw_tp/sched_process_exec",)
    (refusal,) = ways.hooks[0].refusals
    assert refusal.function == broken
    assert broken not in BROKEN or refusal.reason == BROKEN[broken]
    run_a_process()
    assert counts(ways, "seen")[(5).to_bytes(4, sys.byteorder)] >= 1


def test_functions_of_one_way_are_all_used_or_none(compiled: Path, loaded: Load) -> None:
    hooks = [
        hook("runs", ["exec_raw", "no_such_raw_event"], ["fork_raw"]),
        everything_else("exec_raw", "no_such_raw_event", "fork_raw"),
    ]
    ways = loaded(program(compiled, "ways", hooks))
    assert [function.name for function in ways.functions()] == ["fork_raw"]
    run_a_process()
    assert set(counts(ways, "seen")) == {(6).to_bytes(4, sys.byteorder)}


def test_functions_that_no_hook_names_fail_each_for_itself(compiled: Path, loaded: Load) -> None:
    ways = loaded(program(compiled, "ways"))
    running = {function.name for function in ways.functions()}
    assert running >= set(WORKING)
    assert running.isdisjoint({*BROKEN, *ALSO_BROKEN})
    for name, reason in BROKEN.items():
        (problem,) = (each for each in ways.problems if each.startswith(f"{name}: "))
        assert problem.endswith(f": {reason}")
    assert all("\n" not in problem and len(problem) < 300 for problem in ways.problems)
    run_a_process()
    assert counts(ways, "seen").keys() >= {key.to_bytes(4, sys.byteorder) for key in (5, 6)}


def test_a_hook_without_any_way_turns_its_program_off_and_says_each_way(compiled: Path) -> None:
    hooks = [
        hook("runs", ["bad_read"], ["no_such_raw_event"]),
        hook("forks", ["fork_raw"]),
        everything_else("bad_read", "no_such_raw_event", "fork_raw"),
    ]
    with pytest.raises(BpfError) as caught:
        load(program(compiled, "ways", hooks))
    assert str(caught.value) == (
        "ways: hook 'runs' has no way into this kernel: "
        f"tp_btf/timer_start: {BROKEN['bad_read']}; "
        f"raw_tp/kernmesh_no_such_event: {BROKEN['no_such_raw_event']}"
    )
    assert "processed 2 insns" in caught.value.log


def test_an_optional_hook_without_any_way_is_a_problem_and_the_rest_runs(
    compiled: Path, loaded: Load
) -> None:
    hooks = [
        hook("runs", ["bad_read"], optional=True),
        hook("forks", ["fork_raw"]),
        hook("else", ["exec_raw"], optional=True),
    ]
    rest = hook("rest", ("none", *BROKEN, *ALSO_BROKEN, "exec_tracepoint"), optional=True)
    ways = loaded(program(compiled, "ways", [*hooks, rest]))
    assert ways.problems[0] == f"runs: tp_btf/timer_start: {BROKEN['bad_read']}"
    assert {function.name for function in ways.functions()} == {"exec_raw", "fork_raw"}


def test_the_whole_verifier_log_is_kept_at_debug(
    compiled: Path, loaded: Load, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "exporter.ebpf.kernel")
    hooks = [hook("runs", ["bad_read"], ["exec_raw"]), everything_else("bad_read", "exec_raw")]
    loaded(program(compiled, "ways", hooks))
    assert "processed 2 insns" in caplog.text


def test_a_function_that_the_object_has_not_is_a_way_that_is_not_there(
    compiled: Path, loaded: Load
) -> None:
    hooks = [hook("runs", ["misspelt"], ["exec_raw"]), everything_else("exec_raw")]
    ways = loaded(program(compiled, "ways", hooks))
    assert ways.hooks[0].taken == ("raw_tp/sched_process_exec",)
    assert ways.hooks[0].refusals[0].reason == "the object has no function of this name"


def test_what_another_program_found_out_about_the_machine_is_not_tried_again(
    shipped: Path, loaded: Load, tmp_path: Path
) -> None:
    known = Refusals()
    known.learn("fentry/any", errno.EPERM, fake_host(tmp_path, {}))
    for kind in ("kprobe", "kretprobe"):
        known.learn(f"{kind}/any", errno.ENOENT, fake_host(tmp_path, {}))
    shrinklat = loaded(shipped_program(shipped, "shrinklat"), Options(refusals=known))
    (passes,) = shrinklat.hooks
    assert passes.taken is not None
    assert passes.taken[0].startswith("raw_tp/")
    assert [str(refusal) for refusal in passes.refusals] == [
        "fentry/shrink_node: the kernel does not permit fentry programs here (EPERM)",
        "kprobe/shrink_node: this kernel has no kprobes (CONFIG_KPROBES)",
    ]


def test_what_libbpf_says_is_heard_by_the_thread_that_it_says_it_to(
    compiled: Path, lib: libbpf.Libbpf
) -> None:
    ways = program(compiled, "ways", [hook("runs", ["no_such_event"])])
    with lib.messages() as here:
        in_another = threading.Thread(target=examine, args=(ways,))
        in_another.start()
        in_another.join()
    assert here == []


def open_files() -> list[str]:
    """This process's file descriptors, the one that lists them included each time."""
    return sorted(entry.name for entry in Path("/proc/self/fd").iterdir())


def ids(kind: str) -> set[int]:
    shown = subprocess.run(["bpftool", "-j", kind, "show"], check=True, capture_output=True)
    return {each["id"] for each in json.loads(shown.stdout)}


@pytest.mark.parametrize("name", ["timers", "biolatency", "oomkill"])
def test_close_leaves_no_program_map_or_file_descriptor(shipped: Path, name: str) -> None:
    load(shipped_program(shipped, name)).close()  # whatever is opened once is open now
    before = open_files()
    running = load(shipped_program(shipped, name))
    programs = {function.id for function in running.functions()}
    maps = {each.info.id for each in running.maps.values()}
    assert programs <= ids("prog")
    assert maps <= ids("map")
    running.close()
    running.close()
    assert open_files() == before
    assert eventually(lambda: programs.isdisjoint(ids("prog")))
    assert eventually(lambda: maps.isdisjoint(ids("map")))


def test_fifty_loads_and_refusals_leak_no_file_descriptor(shipped: Path, compiled: Path) -> None:
    refused = program(compiled, "ways", [hook("runs", ["bad_read"]), everything_else("bad_read")])
    descriptors: list[int] = []
    for _ in range(50):
        load(shipped_program(shipped, "timers")).close()
        with pytest.raises(BpfError):
            load(refused)
        descriptors.append(len(open_files()))
    assert descriptors == descriptors[:1] * 50


def test_a_closed_program_says_so(shipped: Path) -> None:
    running = load(shipped_program(shipped, "timers"))
    some_map = running.maps["timer_starts_total"]
    running.close()
    asks: list[Callable[[], object]] = [
        some_map.read,
        running.functions,
        running.refused_updates,
    ]
    for ask in asks:
        with pytest.raises(BpfError, match="its program is closed"):
            ask()


def test_functions_are_described_as_the_kernel_knows_them(shipped: Path, loaded: Load) -> None:
    (function,) = loaded(shipped_program(shipped, "timers")).functions()
    shown = subprocess.run(
        ["bpftool", "-j", "prog", "show", "id", str(function.id)], check=True, capture_output=True
    )
    known = json.loads(shown.stdout)
    assert (function.name, function.hook) == ("timer_start_btf", "tp_btf/timer_start")
    assert function.tag == known["tag"]
    assert function.attached


def test_run_statistics_count_once_the_kernel_is_asked_to(shipped: Path, loaded: Load) -> None:
    timers = loaded(shipped_program(shipped, "timers"))
    switch = Path("/proc/sys/kernel/bpf_stats_enabled")
    before = switch.read_text()
    switch.write_text("0")
    try:
        (never,) = timers.functions()
        assert (never.run_time_ns, never.run_count) == (None, None)
        switch.write_text("1")
        seen = timers.functions()[0].run_count
        run_a_process()
        assert eventually(lambda: (timers.functions()[0].run_count or 0) > (seen or 0))
        assert (timers.functions()[0].run_time_ns or 0) > 0
    finally:
        switch.write_text(before)


def test_a_maps_memory_is_what_the_kernel_says_it_holds(shipped: Path, loaded: Load) -> None:
    timers = loaded(shipped_program(shipped, "timers"))
    info = timers.maps["timer_starts_total"].info
    shown = subprocess.run(
        ["bpftool", "-j", "map", "show", "id", str(info.id)], check=True, capture_output=True
    )
    assert info.bytes == json.loads(shown.stdout)["bytes_memlock"]


def test_examine_tells_a_programs_ways_and_which_one_this_kernel_takes(
    shipped: Path, compiled: Path
) -> None:
    assert examine(shipped_program(shipped, "timers")) == ProgramReport(
        "timers",
        ("tp_btf/timer_start", "tracepoint/timer/timer_start"),
        "tp_btf/timer_start",
        None,
    )
    refused = program(compiled, "ways", [hook("runs", ["bad_read"]), everything_else("bad_read")])
    report = examine(refused)
    assert report.hook is None
    assert report.reason is not None
    assert BROKEN["bad_read"] in report.reason
    assert "tp_btf/timer_start" in report.hooks


def test_a_map_that_the_kernel_will_not_make_is_named(shipped: Path) -> None:
    options = Options(max_entries={"timer_starts_total": 2**31 - 1}, budget_bytes=2**60)
    with pytest.raises(BpfError) as caught:
        load(shipped_program(shipped, "timers"), options)
    assert str(caught.value).startswith("timers: map timer_starts_total cannot be made: ")


def test_maps_become_shared_where_128_cpus_would_not_fit_the_budget(
    shipped: Path, loaded: Load
) -> None:
    biolatency = shipped_program(shipped, "biolatency")
    here = loaded(biolatency, Options(possible_cpus=2))
    there = loaded(biolatency, Options(possible_cpus=128))
    assert here.maps["bio_latency_seconds"].info.kind == "percpu_hash"
    shared = there.maps["bio_latency_seconds"].info
    assert (shared.kind, shared.cpus, shared.value_stride) == ("hash", 1, 240)
    for running in (here, there):
        assert running.maps["bio_starts"].info.kind == "hash"


def test_kernel_addresses_are_put_in_and_unknown_symbols_named(shipped: Path) -> None:
    timers = shipped_program(shipped, "timers")
    spec = timers.spec.__class__(hooks=timers.spec.hooks, kaddrs=("kernmesh_no_such_symbol",))
    with pytest.raises(BpfError, match="kaddrs: this kernel shows no address of kernmesh_no_such"):
        load(timers._replace(spec=spec))


def test_libbpf_is_quiet(shipped: Path, capfd: pytest.CaptureFixture[str], compiled: Path) -> None:
    load(program(compiled, "ways")).close()
    assert capfd.readouterr() == ("", "")


def test_libbpf_missing_or_too_old_is_one_line() -> None:
    with pytest.raises(BpfError) as missing:
        libbpf.Libbpf("libbpf-kernmesh.so.9")
    assert str(missing.value).startswith("libbpf-kernmesh.so.9: cannot be loaded (")
    assert str(missing.value).endswith(
        "install libbpf 1.0 or newer (Debian: apt-get install libbpf1)"
    )
    with pytest.raises(BpfError) as old:
        libbpf.Libbpf("libc.so.6")
    assert str(old.value) == "libc.so.6: has no function libbpf_set_print, want libbpf 1.0 or newer"
