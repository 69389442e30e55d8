"""runqlat against the kernel's own account of each thread (/proc/<pid>/schedstat)."""

from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.decoders import DecodeContext, chain
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.spec import read_program
from exporter.hostfs import HostFs
from tests.kernel.conftest import Load, numbers
from tests.kernel.tasks import by_way, cpu_cgroup, ending, last_cpu, python_task

pytestmark = pytest.mark.bpf

WAYS = {
    "tp_btf": ("wakeup_btf", "wakeup_new_btf", "switch_btf"),
    "raw_tp": ("wakeup_raw", "wakeup_new_raw", "switch_raw"),
}
POD = "kubepods/burstable/pod0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a/" + "3f" * 32
PINNED = f"os.sched_setaffinity(0, {{{last_cpu()}}})"
# runs on, gives way, is preempted, sleeps and is woken
WORK = """\
for _ in range(40):
    until = time.process_time() + 0.002
    while time.process_time() < until: pass
    os.sched_yield()
    select.select([], [], [], 0.0005)"""


@pytest.mark.parametrize("way", WAYS)
def test_waits_for_a_cpu_agree_with_the_kernels_own_account(
    shipped: Path, loaded: Load, way: str
) -> None:
    running = loaded(by_way(shipped, "runqlat", *WAYS[way]))
    measured, rival = python_task(PINNED, WORK), python_task(PINNED, "while True: pass")
    with cpu_cgroup() as cgroup, ending(measured, rival):
        cgroup.add(measured)
        measured.work()
        rival.start()
        before = numbers(running, "runq_latency_seconds")[cgroup.key]
        _, waited_before, times_before = measured.schedstat()
        measured.work()
        measured.work()
        after = numbers(running, "runq_latency_seconds")[cgroup.key]
        _, waited_after, times_after = measured.schedstat()
    *slots, sum_us = (now - then for now, then in zip(after, before, strict=True))
    times, waited_us = times_after - times_before, (waited_after - waited_before) / 1000
    assert times >= 80
    # On a virtual machine whose hypervisor's agent runs inside, the kernel does not trace switches
    # from that agent's threads (ftrace misses the same ones): some waits then end unseen.
    assert 0.95 * times <= sum(slots) <= times
    # The kernel takes its clock once for each switch, a little earlier.
    assert 0.9 * waited_us - 20 * times <= sum_us <= 1.02 * waited_us + 20 * times
    least = sum(count * (2 ** (slot - 1) if slot else 0) for slot, count in enumerate(slots))
    assert least <= sum_us + times
    assert not any(running.refused_updates().values())


def test_the_series_are_classes_of_pods(shipped: Path, loaded: Load) -> None:
    program = read_program(shipped / "runqlat.yaml")
    running = loaded(program)
    (metric,) = program.spec.metrics.histograms
    context = DecodeContext.of(HostFs(), SystemClock())
    decoders = {metric.name: [chain(label, context) for label in metric.labels]}
    task = python_task("", WORK)
    with cpu_cgroup(POD) as cgroup, ending(task):
        cgroup.add(task)
        task.work()
        collector = ProgramCollector(running, program.spec, "ebpf_exporter", 1000, decoders)
        (family,) = collector.collect()
        counted = {
            sample.labels["class"]: sample.value
            for sample in family.samples
            if sample.name.endswith("_count")
        }
        of_pod = sum(numbers(running, "runq_latency_seconds")[cgroup.key][:-1])
    assert family.name == "ebpf_exporter_runq_latency_seconds"
    assert counted["burstable"] >= 40
    assert counted["burstable"] == of_pod
    assert counted["system"] > 0
    assert collector.decoder_errors == 0
