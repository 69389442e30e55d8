"""The whole catalogue on a busy node of 200 pods stays within 5,000 series (CONTRACT).

Every shipped YAML over its object's maps, filled as a node of 64 CPUs and 16 disks fills them.
"""

import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import pytest
from prometheus_client import Metric

from exporter.decoders import chain
from exporter.decoders.context import DecodeContext
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.elf import BpfObject, Map, verify_object
from exporter.ebpf.libbpf import MAP_KINDS
from exporter.ebpf.maps import AttachedFunction
from exporter.ebpf.objectfile import shipped_folder
from exporter.ebpf.spec import Program, read_program
from exporter.ebpf.start import metrics_of
from exporter.ebpf.status import ProgramsCollector
from exporter.testing import FakeClock, FakeMap, FakeProgram, fake_host

BUDGET = 5000
PODS, CONTAINERS, SERVICES, CPUS, DISKS = 200, 2, 40, 64, 16
QOS = ("", "burstable/", "besteffort/", "offline/")


def u16(number: int) -> bytes:
    return number.to_bytes(2, "little")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "little")


def u64(number: int) -> bytes:
    return number.to_bytes(8, "little")


class Node(NamedTuple):
    """`containers`, `pods` and `services` are cgroup ids; `functions` are kernel addresses."""

    context: DecodeContext
    containers: Sequence[int]
    pods: Sequence[int]
    services: Sequence[int]
    functions: Sequence[int]

    @property
    def cgroups(self) -> list[int]:
        """Those with processes in them."""
        return [*self.containers, *self.services]

    @property
    def disks(self) -> list[bytes]:
        """new_encode_dev() of the numbers in /proc/partitions."""
        return [u32(259 << 8 | disk) for disk in range(DISKS)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Cgroup v2 as kubelet's cgroupfs driver makes it, every QoS class there, offline pods too."""
    folder = tmp_path_factory.mktemp("node")
    functions = [0xFFFFFFFF81000000 + 64 * number for number in range(400)]
    symbols = "".join(f"{at:x} t function_{n}\n" for n, at in enumerate(functions))
    partitions = "".join(f" 259 {disk} 1000 nvme{disk}n1\n" for disk in range(DISKS))
    mount = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    host = fake_host(
        folder,
        {
            "proc/1/mountinfo": mount,
            "proc/kallsyms": symbols,
            "proc/partitions": f"major minor #blocks name\n\n{partitions}",
            "sys/fs/cgroup/cgroup.controllers": "cpu io memory pids",
        },
    )

    def made(name: str) -> int:
        place = host.cgroup / name
        place.mkdir(parents=True)
        return place.stat().st_ino

    pods, containers = [], []
    for number in range(PODS):
        pod = f"kubepods/{QOS[number % len(QOS)]}pod{number:08x}-0000-0000-0000-000000000000"
        pods.append(made(pod))
        containers += [made(f"{pod}/{n:032x}{number:032x}") for n in range(CONTAINERS)]
    services = [made(f"system.slice/service{number}.service") for number in range(SERVICES)]
    return Node(DecodeContext.of(host, FakeClock()), containers, pods, services, functions)


BUSY: Mapping[str, Callable[[Node], Iterator[bytes]]] = {
    "timer_starts_total": lambda node: map(u64, node.functions),
    "raw_timer_starts_total": lambda node: map(u64, node.functions),
    "libc_malloc_calls_total": lambda node: map(u64, node.cgroups),
    "python_module_imports_total": lambda _: (
        f"module_{number}".encode().ljust(64, b"\0") for number in range(1000)
    ),
    "shrink_node_latency_seconds": lambda _: iter([u32(0)]),
    # each container was killed once, and pods as a whole
    "oom_kills_total": lambda node: map(u64, [*node.pods, *node.containers]),
    "oom_kills_by_scope_total": lambda _: map(u32, range(2)),
    # reads and writes first, as they come; then flushes and discards
    "bio_latency_seconds": lambda node: (
        disk + u32(operation) for operation in range(4) for disk in node.disks
    ),
    "accept_latency_seconds": lambda _: (u16(8000 + number) for number in range(PODS)),
    "bpf_jit_pages_currently_allocated": lambda _: iter([u32(0)]),
    "bpf_jit_programs": lambda _: iter([u32(0)]),
    "page_cache_ops_total": lambda _: map(u32, range(8)),
    "cgroup_sched_migrations_total": lambda node: map(u64, node.cgroups),
    "cgroup_cycles_total": lambda node: map(u64, node.cgroups),
    "cgroup_instructions_total": lambda node: map(u64, node.cgroups),
    "llc_references_total": lambda _: map(u32, range(CPUS)),
    "llc_misses_total": lambda _: map(u32, range(CPUS)),
    "tcp_syn_backlog": lambda _: iter([u32(0)]),
    "tcp_window_clamps_total": lambda _: iter([u32(0)]),
    "tcp_congestion_state_seconds_total": lambda _: map(u32, range(5)),
    # a limit of a container throttles the pod that it is in as well
    "cfs_throttling_seconds": lambda node: map(u64, [*node.containers, *node.pods]),
    "tcp_retransmits_total": lambda _: iter([u32(0)]),
    # off: the YAML's per_address is 0
    "tcp_retransmit_ipv4_packets_total": lambda _: iter([]),
    "tcp_retransmit_ipv6_packets_total": lambda _: iter([]),
    "softirq_raised_total": lambda _: map(u32, range(10)),
    "softirq_serviced_total": lambda _: map(u32, range(10)),
    "softirq_entry_latency_seconds": lambda _: map(u32, range(10)),
    "softirq_service_latency_seconds": lambda _: map(u32, range(10)),
    "syscalls_total": lambda _: map(u32, range(330)),
    "syscall_errors_total": lambda _: map(u32, range(1, 134)),
    "runq_latency_seconds": lambda node: map(u64, node.cgroups),
    "preemptions_total": lambda node: (
        u64(victim) + u64(by) for victim in node.cgroups[::4] for by in node.cgroups[::7]
    ),
    "direct_reclaim_seconds": lambda node: map(u64, node.cgroups),
}
"""By metric: the keys of its map, in the order in which they came."""


def programs() -> list[Program]:
    folder = shipped_folder()
    subprocess.run(["make", "-s", "-C", folder], check=True, capture_output=True)
    return [read_program(file) for file in sorted(folder.glob("*.yaml"))]


def running(program: Program, node: Node) -> ProgramCollector:
    """With everything that it can have in the kernel: of each hook the way of most functions."""
    declared = verify_object(program.object)
    keys = {each.map_name: BUSY[each.name] for each in metrics_of(program.spec)}
    maps = [
        filled(each, list(keys[each.name](node)) if each.name in keys else [])
        for each in declared.maps.values()
    ]
    loaded = FakeProgram(
        program.name,
        maps,
        attached=list(attached(program, declared)),
        refused={each.info.name: 0 for each in maps},
    )
    decoders = {
        each.name: [chain(label, node.context) for label in each.labels]
        for each in metrics_of(program.spec)
    }
    return ProgramCollector(
        loaded, program.spec, "ebpf_exporter", 10_000, decoders, declared, FakeClock()
    )


def filled(declared: Map, keys: Sequence[bytes]) -> FakeMap:
    size = declared.value_size
    return FakeMap(
        declared.name,
        {key: (1).to_bytes(8, "little").ljust(-(-size // 8) * 8, b"\0") for key in keys},
        kind=MAP_KINDS[declared.type].replace("percpu_", ""),
        key_size=declared.key_size,
        value_size=size,
        max_entries=declared.max_entries,
    )


def attached(program: Program, declared: BpfObject) -> Iterator[AttachedFunction]:
    for hook in program.spec.hooks:
        for name in max(hook.any_of, key=len):
            section = declared.functions[name]
            yield AttachedFunction(name, section, hash(name) & 0xFFFFFF, "0" * 16, True, 1, 1)


@pytest.fixture(scope="module")
def families(node: Node) -> list[Metric]:
    """All that the collectors `ebpf` and `ebpf:<program>` give, the second time they are asked."""
    everything = [running(program, node) for program in programs()]
    assert [line for each in everything for line in each.problems] == []
    group = ProgramsCollector("ebpf_exporter", everything, [])
    for _ in range(2):
        found = [family for _, member in group.members() for family in member.collect()]
    return found


def lines(family: Metric) -> int:
    return len(family.samples)


def test_all_programs_with_200_busy_pods_stay_within_5000_series(families: list[Metric]) -> None:
    assert sum(map(lines, families)) <= BUDGET


def test_a_busy_node_is_one_that_needs_the_budget(families: list[Metric]) -> None:
    folded = next(each for each in families if each.name == "kernmesh_ebpf_series_folded")
    assert {
        s.labels["family"].removeprefix("ebpf_exporter_") for s in folded.samples if s.value
    } == {
        "accept_latency_seconds",
        "bio_latency_seconds",
        "cfs_throttling_seconds",
        "cgroup_cycles_total",
        "cgroup_instructions_total",
        "cgroup_sched_migrations_total",
        "libc_malloc_calls_total",
        "oom_kills_total",
        "python_module_imports_total",
        "raw_timer_starts_total",
        "timer_starts_total",
    }


def test_what_is_folded_is_in_the_row_other(families: list[Metric]) -> None:
    moves = next(each for each in families if each.name == "ebpf_exporter_cgroup_sched_migrations")
    assert sum(sample.value for sample in moves.samples) == PODS * CONTAINERS + SERVICES
    assert [s.labels for s in moves.samples if s.labels["cgroup"] == "other"] == [
        {"cgroup": "other"}
    ]


def test_reads_and_writes_of_every_disk_have_rows_of_their_own(families: list[Metric]) -> None:
    disks = next(each for each in families if each.name == "ebpf_exporter_bio_latency_seconds")
    rows = {(s.labels["device"], s.labels["operation"]) for s in disks.samples}
    assert rows >= {(f"nvme{n}n1", what) for n in range(DISKS) for what in ("read", "write")}
