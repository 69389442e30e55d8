"""softirq-latency against /proc/softirqs."""

import socket
import struct
import time
from pathlib import Path

import pytest

from exporter.ebpf.loaded import KernelProgram
from tests.kernel.conftest import Load, counts, numbers
from tests.kernel.tasks import by_way

pytestmark = pytest.mark.bpf

# /proc/softirqs' names by number (kernel/softirq.c: softirq_to_name)
KINDS = ["HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED"]
KINDS += ["HRTIMER", "RCU"]
NET_RX = KINDS.index("NET_RX")
WAYS = {
    "tp_btf": ("raise_btf", "entry_btf", "exit_btf"),
    "raw_tp": ("raise_raw", "entry_raw", "exit_raw"),
}


def serviced_by_the_kernels_account() -> list[int]:
    found = dict.fromkeys(KINDS, 0)
    for line in Path("/proc/softirqs").read_text().splitlines()[1:]:
        name, *values = line.split()
        found[name.rstrip(":")] = sum(map(int, values))
    return list(found.values())


def by_kind(program: KernelProgram, name: str) -> list[int]:
    found = counts(program, name)
    return [found.get(struct.pack("=I", kind), 0) for kind in range(len(KINDS))]


def send_datagrams(times: int) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        for _ in range(times):
            sender.sendto(b"x", receiver.getsockname())
            receiver.recv(1)


@pytest.mark.parametrize("way", WAYS)
def test_softirqs_are_counted_as_the_kernel_counts_them(
    shipped: Path, loaded: Load, way: str
) -> None:
    running = loaded(by_way(shipped, "softirq-latency", *WAYS[way]))
    cpus = running.maps["softirq_states"].info.cpus
    started = time.monotonic()
    outer_before = serviced_by_the_kernels_account()
    before = by_kind(running, "softirq_serviced_total")
    inner_before = serviced_by_the_kernels_account()
    send_datagrams(2000)
    inner_after = serviced_by_the_kernels_account()
    after = by_kind(running, "softirq_serviced_total")
    outer_after = serviced_by_the_kernels_account()
    # One may be in service on each CPU: /proc counts when it begins, the program when it ends.
    for kind in range(len(KINDS)):
        counted = after[kind] - before[kind]
        assert counted >= inner_after[kind] - inner_before[kind] - cpus, KINDS[kind]
        assert counted <= outer_after[kind] - outer_before[kind] + cpus, KINDS[kind]
    assert after[NET_RX] - before[NET_RX] >= 2000

    services = numbers(running, "softirq_service_latency_seconds")
    waits = numbers(running, "softirq_entry_latency_seconds")
    raised = by_kind(running, "softirq_raised_total")
    serviced = by_kind(running, "softirq_serviced_total")
    elapsed_us = (time.monotonic() - started) * 1e6
    *slots, busy_us = services[struct.pack("=I", NET_RX)]
    assert after[NET_RX] - cpus <= sum(slots) <= serviced[NET_RX]
    assert 0 < busy_us <= elapsed_us * cpus
    *slots, _ = waits[struct.pack("=I", NET_RX)]
    assert 2000 <= sum(slots) <= serviced[NET_RX]
    assert raised[NET_RX] >= 2000
    assert not any(running.refused_updates().values())
