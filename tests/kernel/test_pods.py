"""Usage by pod against real cgroups: what is read is what the kernel says of the same work."""

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.host.cgroup_stat import Layout, layout_of
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.testing import FakeClock
from exporter.usage.classes import ClassUsage
from exporter.usage.pod_pressure import PodPressure
from exporter.usage.pods import Kubepods, Offline, PodUsage, Row
from tests.kernel.tasks import Task, ending, last_cpu, python_task
from tests.kernel.workloads import eventually

pytestmark = pytest.mark.bpf

BURN = "end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
OFFLINE = Offline(["kubepods/besteffort"])


class Pod:
    """A pod of one container, in every hierarchy, below a kubepods of its own."""

    def __init__(self, qos: str) -> None:
        self.uid, self.container = str(uuid.uuid4()), os.urandom(32).hex()
        self.top = f"kernmesh-{uuid.uuid4()}"
        self.level = f"{self.top}/kubepods/{qos}"
        self.path = f"{self.level}/pod{self.uid}/{self.container}"
        self.mounts = [
            mount
            for mount in cgroup_mounts(HostFs())
            if mount.version == 2
            or mount.controllers & {"cpu", "cpuacct", "memory", "pids", "blkio"}
        ]
        for mount in self.mounts:
            folder = mount.folder
            for name in self.path.split("/"):
                if mount.version == 2:
                    for each in mount.controllers & {"cpu", "memory", "io", "pids"}:
                        with suppress(OSError):
                            (folder / "cgroup.subtree_control").write_text(f"+{each}")
                folder = folder / name
                folder.mkdir()

    def add(self, task: Task) -> None:
        for mount in self.mounts:
            (mount.folder / self.path / "cgroup.procs").write_text(str(task.pid))

    def file(self, folder: str, name: str) -> Path:
        return Path(folder, self.path, name)

    def row(self, usage: PodUsage, now: float) -> Row | None:
        try:
            rows = usage.rows(now)
        except NoData:
            return None
        return next((row for row in rows if row.container.pod.uid == self.uid), None)

    def remove(self) -> None:
        for mount in self.mounts:
            folder = mount.folder / self.path
            while folder != mount.folder:
                assert eventually(lambda folder=folder: removed(folder))  # type: ignore[misc]
                folder = folder.parent


def removed(folder: Path) -> bool:
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


@pytest.fixture
def pod() -> Iterator[Pod]:
    made = Pod("burstable")
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture
def layout() -> Layout:
    return layout_of(cgroup_mounts(HostFs()))


def cpu_seconds(pod: Pod, layout: Layout) -> float:
    if "cpu" not in layout.v2:
        return int(pod.file(layout.cpuacct, "cpuacct.usage").read_text()) / 1e9
    return words(pod.file(layout.cpu, "cpu.stat"))["usage_usec"] / 1e6


def words(file: Path) -> dict[str, int]:
    return {key: int(value) for key, value in map(str.split, file.read_text().splitlines())}


def test_cpu_memory_and_threads_are_the_kernels(pod: Pod, layout: Layout) -> None:
    usage = PodUsage(Kubepods(HostFs()), None, OFFLINE)
    task = python_task("import time", f"kept = bytearray(16 << 20)\n{BURN}")
    with ending(task):
        pod.add(task)
        assert eventually(lambda: pod.row(usage, time.monotonic()) is not None)
        before = cpu_seconds(pod, layout)
        task.work()
        low = cpu_seconds(pod, layout)
        row = pod.row(usage, time.monotonic())
        high = cpu_seconds(pod, layout)
        assert row is not None
        assert row.container.labels.qos == "burstable"
        assert row.usage.cpu_seconds is not None
        assert low - 1e-5 <= row.usage.cpu_seconds <= high + 1e-5
        assert low - before >= 0.29
        assert row.usage.tasks == 1
        assert row.usage.working_set_bytes is not None
        assert row.usage.memory_bytes is not None
        assert 16 << 20 <= row.usage.working_set_bytes <= row.usage.memory_bytes <= 64 << 20


def test_a_quota_throttles_and_is_shown_beside_usage(pod: Pod, layout: Layout) -> None:
    if "cpu" in layout.v2:
        pod.file(layout.cpu, "cpu.max").write_text("20000 100000")
    else:
        pod.file(layout.cpu, "cpu.cfs_quota_us").write_text("20000")
    task = python_task("import time", BURN)
    with ending(task):
        pod.add(task)
        task.work()
        usage = PodUsage(Kubepods(HostFs()), None, OFFLINE)
        row = pod.row(usage, time.monotonic())
        stat = words(pod.file(layout.cpu, "cpu.stat"))
        assert row is not None
        assert row.container.limits.cpu_cores == 0.2
        assert row.usage.throttled_periods is not None
        assert row.usage.throttled_periods > 0
        assert row.usage.throttled_periods <= stat["nr_throttled"]
        assert row.usage.throttled_seconds is not None
        assert row.usage.throttled_seconds > 0.05


def test_a_removed_cgroup_is_gone_at_the_next_reading(layout: Layout) -> None:
    pod, other = Pod("burstable"), Pod("burstable")
    try:
        usage = PodUsage(Kubepods(HostFs()), None, OFFLINE)
        for each in (pod, other):
            assert each.row(usage, 0.0) is not None
        folders = [mount.folder / pod.path for mount in pod.mounts]
        for folder in folders:
            folder.rmdir()
        assert pod.row(usage, 1.0) is None
        assert other.row(usage, 1.0) is not None
        for folder in folders:  # another one in its place, before anybody looked
            folder.mkdir()
        assert pod.row(usage, 2.0) is not None
    finally:
        pod.remove()
        other.remove()


def test_a_container_that_took_anothers_place_is_read_anew(pod: Pod) -> None:
    usage = PodUsage(Kubepods(HostFs()), None, OFFLINE)
    first = pod.row(usage, 0.0)
    assert first is not None
    for mount in pod.mounts:
        (mount.folder / pod.path).rmdir()
        (mount.folder / pod.path).mkdir()  # as many links as before
    assert pod.row(usage, 1.0) is None
    again = pod.row(usage, 2.0)
    assert again is not None
    assert again.usage.cpu_seconds == 0.0


def test_offline_work_is_summed_and_stays_when_its_pod_has_ended(layout: Layout) -> None:
    pod = Pod("besteffort")
    try:
        classes = ClassUsage(Kubepods(HostFs()), OFFLINE, FakeClock())

        def offline(now: float) -> float:
            found = {series.name: value for series, value in classes.read(now).items()}
            return found["class/offline.cpu_seconds"]

        before = offline(0.0)
        task = python_task("import time", BURN)
        with ending(task):
            pod.add(task)
            task.work()
            worked = cpu_seconds(pod, layout)
        assert offline(1.0) - before >= 0.29
        for mount in pod.mounts:
            folder = mount.folder / pod.path
            assert eventually(lambda folder=folder: removed(folder))  # type: ignore[misc]
        assert offline(2.0) - before >= worked
        for mount in pod.mounts:
            (mount.folder / pod.path).mkdir()
    finally:
        pod.remove()


def test_a_pods_pressure_is_the_kernels(pod: Pod, layout: Layout) -> None:
    kubepods = Kubepods(HostFs())
    pressure = PodPressure(kubepods, PodUsage(kubepods, None, OFFLINE), FakeClock())
    before = f"import os, time; os.sched_setaffinity(0, {{{last_cpu()}}})"
    tasks = [python_task(before, BURN) for _ in range(2)]
    with ending(*tasks):
        for task in tasks:
            pod.add(task)
        for task in tasks:
            task.start()
        for task in tasks:
            task.done()
        found = {series.name: value for series, value in pressure.reads("pod")(0.0).items()}
        file = Path(layout.pressure, pod.path).parent / "cpu.pressure"
        total = int(file.read_text().splitlines()[0].rpartition("=")[2]) / 1e6
    ours = found[f"pod/{pod.uid}.psi.cpu.some_seconds"]
    assert 0.1 < ours <= total
