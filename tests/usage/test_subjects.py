"""Chosen cgroups every second: on machines of files, and on this machine's own cgroups."""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from exporter.errors import NoData
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from exporter.usage.pods import Kubepods, Offline
from exporter.usage.series import Read
from exporter.usage.subjects import (
    MEASURES,
    PodSubjects,
    Subject,
    SubjectReader,
    series_of,
)
from tests.usage.cgroup_trees import (
    DRIVERS,
    MACHINES,
    Driver,
    Machine,
    Numbers,
    pod_path,
    put,
    remove,
)
from tests.usage.cgroup_trees import machine as machine_of

UID, OTHER = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a", "11111111-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
OFFLINE = Offline(["kubepods/besteffort", "batch.slice"])


def reader(host: HostFs, *paths: str, measures: tuple[str, ...] = MEASURES) -> Read:
    subjects = [Subject(path, "offline") for path in paths]
    return SubjectReader(Kubepods(host), lambda: subjects, measures)


def values(read: Read, path: str, now: float = 0.0) -> dict[str, float]:
    begin = f"cgroup/{path.strip('/')}."
    return {
        series.name.removeprefix(begin): value
        for series, value in read(now).items()
        if series.name.startswith(begin)
    }


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("kind", MACHINES)
def test_every_measure_that_the_machine_has_is_there(
    kind: Machine, driver: Driver, tmp_path: Path
) -> None:
    host = machine_of(tmp_path, kind)
    path = pod_path(driver, "besteffort", UID)
    put(host, kind, path, Numbers())
    want = {
        "cpu_seconds": 1.5,
        "throttled_seconds": 0.25,
        "throttled_periods": 7,
        "working_set_bytes": 8000,
        "memory_bytes": 9000,
        "cache_bytes": 6 if kind == "v2" else 7,
        "read_bytes": 4097,
        "written_bytes": 12,
        "read_ios": 5,
        "written_ios": 6,
        "pids": 3,
    }
    if kind != "v1":
        for resource in ("cpu", "memory", "io"):
            want |= {f"{resource}_some_seconds": 2.5, f"{resource}_full_seconds": 0.5}
        assert want.keys() == set(MEASURES)
    assert values(reader(host, f"/{path}"), path) == want


def test_kinds_are_counters_but_for_what_is_now() -> None:
    gauges = {m for m in MEASURES if series_of("a", m).kind == "gauge"}
    assert gauges == {"working_set_bytes", "memory_bytes", "cache_bytes", "pids"}
    assert series_of("/a/b/", "pids").name == "cgroup/a/b.pids"


def test_an_unknown_measure_is_refused() -> None:
    with pytest.raises(KeyError):
        series_of("a", "cpu_secs")


def test_files_that_no_measure_needs_are_not_opened(tmp_path: Path) -> None:
    host = machine_of(tmp_path, "v2")
    put(host, "v2", "a", Numbers())
    kubepods = Kubepods(host)
    had = kubepods.budget.left
    read = SubjectReader(kubepods, lambda: [Subject("a", "offline")], ("io_full_seconds",))
    assert values(read, "a") == {"io_full_seconds": 0.5}
    assert had - kubepods.budget.left == 3


def test_the_list_is_asked_at_each_tick_and_what_left_it_is_closed(tmp_path: Path) -> None:
    host = machine_of(tmp_path, "v2")
    for path in ("a", "b"):
        put(host, "v2", path, Numbers())
    chosen = [Subject("a", "offline")]
    kubepods = Kubepods(host)
    had = kubepods.budget.left
    read = SubjectReader(kubepods, lambda: chosen, MEASURES)
    assert values(read, "a")
    chosen[:] = [Subject("b", "online", UID)]
    assert values(read, "b", 1.0)
    assert values(read, "a", 2.0) == {}
    chosen.clear()
    assert read(3.0) == {}
    assert kubepods.budget.left == had


def test_nothing_chosen_yet_is_no_failure(tmp_path: Path) -> None:
    def nothing() -> list[Subject]:
        raise NoData("no pods")

    assert SubjectReader(Kubepods(machine_of(tmp_path, "v2")), nothing, MEASURES)(0.0) == {}


def test_one_that_vanished_costs_its_own_values_and_may_come_back(tmp_path: Path) -> None:
    host = machine_of(tmp_path, "v2")
    put(host, "v2", "a", Numbers())
    read = reader(host, "a", "b")
    assert values(read, "b") == {}
    assert values(read, "a", 1.0)
    put(host, "v2", "b", Numbers(cpu_us=7_000_000))
    found = [values(read, "b", float(now)).get("cpu_seconds") for now in range(2, 9)]
    assert found[-1] == 7.0
    assert set(found) == {None, 7.0}


@pytest.mark.parametrize("file", ["cpu.stat", "memory.current", "io.stat", "cpu.pressure"])
def test_a_text_without_sense_is_missing_and_never_the_old_value(file: str, tmp_path: Path) -> None:
    host = machine_of(tmp_path, "v2")
    put(host, "v2", "a", Numbers())
    read = reader(host, "a")
    whole = values(read, "a")
    put(host, "v2", "a", Numbers(cpu_us=1_600_000))  # it has run, so all is looked at
    (host.cgroup / "a" / file).write_text("some rubbish=x\n" if "io" not in file else "rbytes=x\n")
    broken = [values(read, "a", now) for now in (1.0, 2.0)][-1]  # pressure: every second time
    gone = whole.keys() - broken.keys()
    assert gone >= ({"cpu_some_seconds"} if "pressure" in file else {"cpu_seconds", "memory_bytes"})
    assert values(read, "a", 2.5).keys().isdisjoint(gone)
    put(host, "v2", "a", Numbers())
    assert [values(read, "a", float(now)) for now in range(3, 12)][-1] == whole


def test_pods_and_offline_cgroups_are_subjects_offline_first(tmp_path: Path) -> None:
    host = machine_of(tmp_path, "v2")
    online, offline = pod_path("cgroupfs", "burstable", UID), f"kubepods/besteffort/pod{OTHER}"
    for path in (f"{online}/{'3f' * 32}", f"{offline}/{'4e' * 32}", "batch.slice"):
        put(host, "v2", path, Numbers())
    kubepods = Kubepods(host)
    wanted = [
        Subject("batch.slice", "offline"),
        Subject(offline, "offline", OTHER),
        Subject(online, "online", UID),
    ]
    assert PodSubjects(kubepods, OFFLINE, lambda: 0.0)() == wanted
    few = PodSubjects(kubepods, OFFLINE, lambda: 0.0, most=2)
    assert few() == wanted[:2]
    assert few.left_out == 1
    remove(host, offline)
    later = PodSubjects(kubepods, OFFLINE, lambda: 100.0)
    assert later() == [wanted[0], wanted[2]]


def test_without_pods_configured_cgroups_are_subjects_still(tmp_path: Path) -> None:
    kubepods = Kubepods(machine_of(tmp_path, "v2"))
    chosen = PodSubjects(kubepods, OFFLINE, lambda: 0.0)
    assert chosen() == [Subject("batch.slice", "offline")]
    with pytest.raises(NoData):
        PodSubjects(kubepods, Offline(["kubepods/offline"]), lambda: 0.0)()


# --- this machine's own


_WORK = """
import mmap, os, sys
sys.stdin.readline()
end = os.times().user + 0.3
while os.times().user < end:
    pass
kept = bytearray(b"x" * 20_000_000)
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
page = mmap.mmap(-1, 1 << 20)
os.pwrite(fd, page, 0)
os.preadv(fd, [page], 0)
print("done", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def cgroup() -> Iterator[str]:
    """A cgroup of this machine in every hierarchy that is mounted, with a quota of a quarter CPU,
    and a limit that nothing reaches for the disk, since v1 counts for none that has no limit."""
    name = f"kernmesh-{uuid.uuid4()}"
    folders = [mount.folder / name for mount in cgroup_mounts(HostFs())]
    disk = Path.cwd().stat().st_dev
    limits = {
        "cpu.cfs_quota_us": "25000",
        "cpu.max": "25000 100000",
        "blkio.throttle.read_bps_device": f"{os.major(disk)}:{os.minor(disk)} {1 << 40}",
    }
    for folder in folders:
        folder.mkdir()
        for file, text in limits.items():
            if (folder / file).exists():
                (folder / file).write_text(text)
    yield name
    for folder in folders:
        folder.rmdir()


def join(cgroup: str, pid: int) -> None:
    for mount in cgroup_mounts(HostFs()):
        with suppress(OSError):  # a cpuset without CPUs takes nobody
            (mount.folder / cgroup / "cgroup.procs").write_text(str(pid))


@pytest.mark.bpf
def test_what_a_process_does_is_in_its_own_cgroup(cgroup: str) -> None:
    read = reader(HostFs(), cgroup)
    command = [sys.executable, "-c", _WORK, str(Path.cwd() / f".{cgroup}")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            join(cgroup, process.pid)
            before = values(read, cgroup)
            process.stdin.write("go\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"
            # every sixth reading reads all
            after = [values(read, cgroup, float(now)) for now in range(2, 9)][-1]
        finally:
            process.send_signal(signal.SIGKILL)
            Path(f".{cgroup}").unlink(missing_ok=True)
    assert before.keys() == after.keys() == set(MEASURES)
    spent = {name: after[name] - before[name] for name in MEASURES}
    assert 0.3 <= spent["cpu_seconds"] < 5.0
    assert spent["throttled_periods"] > 0
    assert spent["throttled_seconds"] > 0.1
    assert spent["cpu_some_seconds"] > 0
    assert after["memory_bytes"] >= 20_000_000 * 0.9
    assert after["working_set_bytes"] <= after["memory_bytes"]
    assert after["pids"] == 1
    assert spent["written_bytes"] >= 1 << 20
    assert spent["read_bytes"] >= 1 << 20
    assert spent["read_ios"] >= 1
    assert spent["written_ios"] >= 1


@pytest.mark.bpf
def test_a_cgroup_removed_while_it_is_read_is_missing(cgroup: str) -> None:
    inside = f"{cgroup}/inside"
    folders = [mount.folder / inside for mount in cgroup_mounts(HostFs())]
    for folder in folders:
        folder.mkdir()
    read = reader(HostFs(), inside, cgroup)
    assert values(read, inside)
    for folder in folders:
        folder.rmdir()
    assert values(read, inside, 1.0) == {}
    assert values(read, cgroup, 2.0)
