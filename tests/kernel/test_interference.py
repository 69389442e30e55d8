"""Who waits for a CPU that whom holds: real programs, real cgroups, to a finding and a suspect."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.ebpf.spec import read_program
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.interference.attribution import rank
from exporter.interference.detectors.runq import Runq
from exporter.interference.model import Subject as Asked
from exporter.interference.model import Suspect
from exporter.interference.sources.runqueue import RunQueueReader
from exporter.interference.views import replay, subjects_in
from exporter.usage import store as stores
from exporter.usage.series import Series
from exporter.usage.store import Now
from exporter.usage.subjects import Subject
from tests.kernel.conftest import Load
from tests.kernel.tasks import cpu_cgroup, ending, last_cpu, python_task
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

# enough for each turn that it has to give way before it is done
WORK = """\
for _ in range(30):
    until = time.process_time() + 0.006
    while time.process_time() < until: pass
    select.select([], [], [], 0.001)"""


def test_who_holds_the_cpu_of_whom_is_seen_and_ranked_first(shipped: Path, loaded: Load) -> None:
    """A victim that sleeps and wakes on a CPU where an offline cgroup's task spins."""
    programs = {
        name: loaded(read_program(shipped / f"{name}.yaml")) for name in ("runqlat", "preemptions")
    }
    pinned = f"os.sched_setaffinity(0, {{{last_cpu()}}})"
    victim, antagonist = python_task(pinned, WORK), python_task(pinned, "while True: pass")
    idle = python_task(pinned, "time.sleep(0.01)")
    clock, fs = SystemClock(), HostFs()
    with ExitStack() as stack:
        hurt, busy, calm = (stack.enter_context(cpu_cgroup()) for _ in range(3))
        stack.enter_context(ending(victim, antagonist, idle))
        for cgroup, task in ((hurt, victim), (busy, antagonist), (calm, idle)):
            cgroup.add(task)
        place = next(m.folder for m in cgroup_mounts(fs) if "cpu" in m.controllers)
        paths = [str(each.path.relative_to(place)) for each in (hurt, busy, calm)]
        kinds = ("online", "offline", "offline")
        chosen = [Subject(path, kind) for path, kind in zip(paths, kinds, strict=True)]
        read = RunQueueReader(fs, clock, lambda p, m: programs[p].maps.get(m), lambda: chosen)
        kept = stores.in_memory(1.0, 900.0, Now(clock.monotonic(), clock.wall(), ""))
        cpu = [Series(f"cgroup/{path}.cpu_seconds", "counter") for path in paths]

        def tick(used: Sequence[float]) -> None:
            values = dict(read(clock.monotonic()))
            values.update(zip(cpu, used, strict=True))
            kept.put(clock.monotonic(), clock.wall(), values)

        tick((0.0, 0.0, 0.0))
        victim.work()
        tick((0.1, 0.0, 0.0))
        antagonist.start()
        total = [0.0]

        detector = Runq(0.95, 0.0002, 3600.0, "offline")
        found: list[Suspect] = []

        def worked_and_waited() -> bool:
            victim.work()
            total[0] += 1.0
            tick((0.1, total[0], 0.0))
            moment = list(replay(kept))[-1]
            known = subjects_in(kept.series(), lambda path: path in paths[1:])
            view, *others = sorted(
                map(moment.view, known), key=lambda v: v.subject.work != "online"
            )
            finding = detector.evaluate(view)
            found[:] = rank(view, finding, others) if finding is not None else []
            return bool(found) and "held the CPU" in found[0].evidence

        assert eventually(worked_and_waited, 60.0)
        assert found[0].subject == Asked("container", f"/{paths[1]}", work="offline")
        assert found[0].preemptions is not None
