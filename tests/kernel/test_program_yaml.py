"""What the YAML can say, from its text to numbers on /metrics, with the running kernel."""

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from exporter.decoders import DecodeContext
from exporter.decoders.enum_names import EnumNames
from exporter.ebpf.check import check_programs
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.elf import verify_object
from exporter.ebpf.spec import Program, read_program
from exporter.ebpf.start import Settings, start
from exporter.hostfs import HostFs
from exporter.testing import FakeClock

pytestmark = pytest.mark.bpf

SETTINGS = Settings("e", 10_000)

Start = Callable[..., ProgramCollector]


@pytest.fixture
def started(compiled: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts the test program `name` with this YAML, after `check` found nothing wrong with it."""
    collectors: list[ProgramCollector] = []

    def run(name: str, text: str, context: DecodeContext | None = None) -> ProgramCollector:
        file = tmp_path / f"{name}.yaml"
        file.write_text(dedent(text))
        read = read_program(file)
        program = Program(name, file, compiled / f"{name}.bpf.o", read.spec)
        assert check_programs([program]) == []
        collectors.append(start(program, SETTINGS, context or DecodeContext.of()))
        assert collectors[-1].problems == ()
        return collectors[-1]

    yield run
    for collector in collectors:
        collector.loaded.close()


def samples(collector: ProgramCollector) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """By sample name, then by labels."""
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in collector.collect():
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels(**values: str) -> frozenset[tuple[str, str]]:
    return frozenset(values.items())


def ask_priorities(*whos: int) -> None:
    for who in whos:
        try:
            os.getpriority(os.PRIO_USER, who)
        except ProcessLookupError:
            continue  # the call was made, that is all that counts


def kernel_enums(*names: str) -> dict[str, dict[int, str]]:
    """Enums as bpftool reads them."""
    dump = subprocess.run(
        ["bpftool", "-j", "btf", "dump", "file", "/sys/kernel/btf/vmlinux"],
        check=True,
        capture_output=True,
    )
    return {
        each["name"]: {value["val"]: value["name"] for value in reversed(each["values"])}
        for each in json.loads(dump.stdout)["types"]
        if each["kind"] == "ENUM" and each["name"] in names
    }


COMM = Path("/proc/self/comm").read_text().strip()
OWN = {"pid": str(os.getpid()), "comm": COMM}

FIELDS = """
    metrics:
      counters:
        - name: calls_by_process_total
          map: calls
          value: calls
          labels: &labels
            - {name: comm, field: task.comm, decoders: [{name: string}]}
            - {name: pid, field: process, size: 4, decoders: [{name: uint}]}
        - {name: odd_calls_total, map: calls, value: odd, labels: *labels}
        - name: half_odd_calls_total
          map: calls
          value: odd
          multiplier: 0.5
          labels: *labels
        - name: calls_total
          labels:
            - {name: pid, field: process, decoders: [{name: uint}]}
      gauges:
        - {name: last_size, map: calls, value: last, labels: *labels}
      histograms:
        - name: sizes
          map: calls
          value: sizes
          bucket_max: 3
          labels: *labels
"""


def test_members_of_keys_and_values_become_labels_and_metrics(started: Start) -> None:
    collector = started("fields", FIELDS)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # what is last is last of one CPU
    try:
        ask_priorities(0, 1, 2, 3, 1)
    finally:
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    found = samples(collector)
    own = labels(**OWN)
    assert found["e_calls_by_process_total"][own] == 5
    assert found["e_odd_calls_total"][own] == 3
    assert found["e_half_odd_calls_total"][own] == 1.5
    assert found["e_calls_total"][labels(pid=OWN["pid"])] == 5
    assert found["e_last_size"][own] == -1
    assert found["e_sizes_count"][own] == 5
    assert found["e_sizes_sum"][own] == 7
    buckets = [
        found["e_sizes_bucket"][own | {("le", bound)}] for bound in ("1.0", "2.0", "4.0", "8.0")
    ]
    assert buckets == [1, 3, 4, 5]


def test_members_are_summed_over_the_processors(started: Start) -> None:
    collector = started("fields", FIELDS)
    processors = sorted(os.sched_getaffinity(0))
    try:
        for processor in processors:
            os.sched_setaffinity(0, {processor})
            ask_priorities(3, 3, 3)
    finally:
        os.sched_setaffinity(0, processors)
    found = samples(collector)
    assert found["e_odd_calls_total"][labels(**OWN)] == 3 * len(processors)
    assert found["e_sizes_sum"][labels(**OWN)] == 9 * len(processors)


def test_metrics_of_one_map_are_of_one_moment(started: Start) -> None:
    collector = started("fields", FIELDS)
    bpf_map = collector.loaded.maps["calls"]
    ask_priorities(1)
    values: list[float] = []
    for family in collector.collect():  # calls go on between one family and the next
        ask_priorities(1)
        values += [
            sample.value
            for sample in family.samples
            if sample.name in ("e_calls_by_process_total", "e_odd_calls_total", "e_sizes_count")
            and sample.labels == OWN
        ]
    assert len(values) == 3
    assert len(set(values)) == 1
    assert bpf_map.read().count >= 1


@pytest.fixture(scope="module")
def enums() -> dict[str, dict[int, str]]:
    return kernel_enums("tcp_ca_state", "zone_stat_item")


def test_numbers_are_named_by_the_kernel_s_enums_and_the_program_s_own(
    started: Start, enums: dict[str, dict[int, str]]
) -> None:
    collector = started(
        "fields",
        """
        metrics:
          counters:
            - name: calls_total
              labels:
                - name: own
                  field: kind
                  decoders: [{name: enum, enum: call_kind, strip: CALL_}]
                - name: kernel_s
                  field: kind
                  decoders: [{name: uint}, {name: enum, enum: zone_stat_item, strip: NR_}]
                - name: state
                  field: kind
                  decoders: [{name: enum, enum: tcp_ca_state}]
        """,
    )
    ask_priorities(1)
    (found,) = samples(collector)["e_calls_total"]
    names = dict(found)
    assert names["own"] == "PRIORITY"
    assert names["kernel_s"] == enums["zone_stat_item"][7].removeprefix("NR_")
    assert names["state"] == "unknown:7"


def test_an_enum_of_the_kernel_wins_over_what_the_program_was_compiled_with(
    compiled: Path, enums: dict[str, dict[int, str]]
) -> None:
    own = verify_object(compiled / "fields.bpf.o").btf
    assert own
    assert own.find("tcp_ca_state", "enum")
    names = EnumNames(HostFs(), own).names("tcp_ca_state")
    assert names == enums["tcp_ca_state"]
    assert names[0] == "TCP_CA_Open"


def test_the_kernel_s_types_are_let_go_of(compiled: Path) -> None:
    names = EnumNames(HostFs(), verify_object(compiled / "fields.bpf.o").btf)
    tracemalloc.start()
    try:
        names.load(["tcp_ca_state", "zone_stat_item"])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak > 4_000_000
    assert kept < 100_000


def test_keys_that_stopped_changing_leave_the_map_in_the_kernel(started: Start) -> None:
    clock = FakeClock()
    collector = started(
        "fields",
        """
        metrics:
          counters:
            - name: calls_by_process_total
              map: calls
              value: calls
              evict_after: 10m
              labels:
                - {name: pid, field: process, decoders: [{name: uint}]}
        """,
        DecodeContext.of(clock=clock),
    )
    bpf_map = collector.loaded.maps["calls"]
    other = subprocess.run(
        [sys.executable, "-c", "import os; os.getpriority(os.PRIO_USER, 0); print(os.getpid())"],
        check=True,
        capture_output=True,
        text=True,
    )
    ask_priorities(1)
    own, theirs = labels(pid=OWN["pid"]), labels(pid=other.stdout.strip())
    before = samples(collector)["e_calls_by_process_total"]
    assert before[own] == before[theirs] == 1
    collector.keep_up()
    clock.advance(599)
    ask_priorities(1)
    collector.keep_up()
    clock.advance(1)
    collector.keep_up()
    after = samples(collector)["e_calls_by_process_total"]
    assert after[own] == 2
    assert theirs not in after
    assert bpf_map.read().count == len(after)


def test_a_key_that_is_gone_already_is_no_error(started: Start) -> None:
    collector = started("fields", FIELDS)
    bpf_map = collector.loaded.maps["calls"]
    ask_priorities(1)
    size, rows = bpf_map.info.key_size, bpf_map.read()
    keys = [rows.keys[at : at + size] for at in range(0, len(rows.keys), size)]
    bpf_map.delete(keys)
    bpf_map.delete(keys)
    assert bpf_map.read().count == 0
