"""llcstat where there are hardware counters, and its reason where there are none; and the way that
its events are attached, by software events that every machine has."""

from pathlib import Path

import pytest

from exporter.ebpf.spec import HookSpec
from exporter.errors import BpfError
from tests.kernel.conftest import Load, counts, program, shipped_program
from tests.kernel.tasks import ending, python_task
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

PMUS = [Path("/sys/bus/event_source/devices") / name for name in ("cpu", "cpu_core")]
NO_PMU = (
    "llcstat: hook 'hardware counters' has no way into this kernel: "
    "perf_event/type=0,config=2,frequency=10: this machine has no hardware counters, so event "
    "type=0,config=2 cannot be counted (no PMU, as in many virtual machines)"
)


def test_llcstat_counts_or_says_that_there_is_no_pmu(shipped: Path, loaded: Load) -> None:
    llcstat = shipped_program(shipped, "llcstat")
    if not any(pmu.exists() for pmu in PMUS):
        with pytest.raises(BpfError) as refused:
            loaded(llcstat)
        assert str(refused.value).startswith(NO_PMU)
        return
    running = loaded(llcstat)

    def counted() -> bool:
        bytearray(64 << 20)  # more than any cache
        names = ("llc_references_total", "llc_misses_total")
        return all(sum(counts(running, name).values()) > 10_000 for name in names)

    assert eventually(counted, 60)


PAGES = 2000


def test_an_event_is_counted_on_every_cpu_for_every_process(compiled: Path, loaded: Load) -> None:
    running = loaded(program(compiled, "attaching", [HookSpec("faults", (("page_faults",),))]))
    touch = f"""\
memory = mmap.mmap(-1, {PAGES} * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.madvise(mmap.MADV_NOHUGEPAGE)
for page in range({PAGES}): memory[page * mmap.PAGESIZE] = 1
memory.close()"""
    task = python_task("import mmap", touch)
    with ending(task):
        task.work()
        key = task.pid.to_bytes(4, "little")
        before, faults_before = counts(running, "by_process")[key], task.page_faults()
        for _ in range(3):
            task.work()
        counted = counts(running, "by_process")[key] - before
        faults = task.page_faults() - faults_before
    assert faults >= 3 * PAGES
    assert counted == faults


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("no_such_event", "event type=1,config=99 cannot be counted: No such file or directory"),
        ("no_rate", "got 'type=1,config=2', want type=T,config=C,frequency=F"),
        ("no_number", "got 'type=1,config=two,frequency=1', want type=T,config=C,frequency=F"),
    ],
)
def test_an_event_that_cannot_be_says_so(
    compiled: Path, loaded: Load, function: str, said: str
) -> None:
    with pytest.raises(BpfError, match=said):
        loaded(program(compiled, "attaching", [HookSpec("only", ((function,),))]))
