"""Processes moved into cgroups of their own, and back: real processes, real hierarchies."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from exporter.actuator.byhand import undo
from exporter.actuator.client import Actuator
from exporter.actuator.protocol import Move, Process, Start
from exporter.hostfs import HostFs
from exporter.testing import FakeClock
from exporter.usage.job_cgroups import JobCgroups
from exporter.usage.jobs import Jobs
from exporter.usage.jobs_file import JobPattern
from tests.actuator.trees import RealCgroups, began, real_cgroups, wait_for_end, workers_of

pytestmark = pytest.mark.bpf

# A parent that forks at each line that it reads, and says so.
SERVICE = """
import os, signal, sys
print('up', flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    print(pid, flush=True)
"""


class Service:
    def __init__(self, cgroups: RealCgroups, mark: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.pids = [self._process.pid]
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"up\n"
        for folder in cgroups.folders.values():
            (folder / cgroups.path / "on/cgroup.procs").write_text(str(self.pids[0]))

    def fork(self) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        self.pids.append(int(self._process.stdout.readline()))
        return self.pids[-1]

    def close(self) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


def where(pid: int, cgroups: RealCgroups) -> set[str]:
    """In the hierarchies that jobs are moved in."""
    found = set()
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if (names or "v2") in cgroups.folders:
            found.add(path)
    return found


@pytest.fixture
def job() -> str:
    return f"test-{uuid4().hex[:12]}"


@pytest.fixture
def cgroups() -> Iterator[RealCgroups]:
    with real_cgroups() as made:
        yield made


@pytest.fixture
def service(cgroups: RealCgroups, job: str) -> Iterator[Service]:
    running = Service(cgroups, job)
    yield running
    running.close()


@pytest.fixture
def actuator(job: str, tmp_path: Path) -> Iterator[Actuator]:
    made = Actuator(Start(str(tmp_path / "state"), (), jobs=(job,)))
    made.start()
    yield made
    made.close()


def following(actuator: Actuator, job: str) -> tuple[Jobs, JobCgroups]:
    import re2

    jobs = Jobs(HostFs(), [JobPattern(job, re2.compile(job))], FakeClock())
    return jobs, JobCgroups(jobs, [job], actuator)


def test_a_job_is_moved_its_new_processes_too_and_all_of_them_back(
    cgroups: RealCgroups, service: Service, actuator: Actuator, job: str
) -> None:
    jobs, cgroup = following(actuator, job)
    first = service.fork()
    jobs.usage()
    assert cgroup.follow() == 2
    assert where(first, cgroups) == {f"/kernmesh/{job}"}
    second = service.fork()  # is born there
    jobs.usage()
    cgroup.follow()
    assert cgroup.follow() == 0
    assert {where(pid, cgroups).pop() for pid in service.pids} == {f"/kernmesh/{job}"}
    actuator.close()
    for pid in (*service.pids, second):
        assert where(pid, cgroups) == {f"/{cgroups.path}/on"}
    for folder in cgroups.folders.values():
        assert not (folder / "kernmesh" / job).exists()


def test_after_everything_was_killed_undo_moves_them_back(
    cgroups: RealCgroups, service: Service, actuator: Actuator, job: str, tmp_path: Path
) -> None:
    process = Process(service.pids[0], began(service.pids[0]))
    assert actuator.ask(Move(job=job, processes=(process,))).moved == 1
    (worker,) = workers_of(actuator.pid)
    os.kill(actuator.pid, signal.SIGSTOP)
    os.kill(worker, signal.SIGKILL)
    assert wait_for_end(worker)
    said: list[str] = []
    assert undo(str(tmp_path / "state"), HostFs(), said.append)
    os.kill(actuator.pid, signal.SIGCONT)
    assert said == ["1 processes moved back to where they were"]
    assert where(service.pids[0], cgroups) == {f"/{cgroups.path}/on"}


def test_started_anew_it_is_asked_for_all_of_them_again(
    cgroups: RealCgroups, service: Service, actuator: Actuator, job: str
) -> None:
    jobs, cgroup = following(actuator, job)
    jobs.usage()
    assert cgroup.follow() == 1
    (worker,) = workers_of(actuator.pid)
    os.kill(worker, signal.SIGKILL)
    assert actuator.wait_for_start(2)
    assert where(service.pids[0], cgroups) == {f"/{cgroups.path}/on"}
    assert cgroup.follow() == 1
    assert where(service.pids[0], cgroups) == {f"/kernmesh/{job}"}


def test_another_process_than_was_meant_is_not_moved(
    cgroups: RealCgroups, service: Service, actuator: Actuator, job: str
) -> None:
    pid = service.pids[0]
    answer = actuator.ask(Move(job=job, processes=(Process(pid, began(pid) + 1),)))
    assert (answer.refused, answer.moved) == ("", 0)
    assert where(pid, cgroups) == {f"/{cgroups.path}/on"}


def test_what_is_no_such_job_is_refused(service: Service, actuator: Actuator, job: str) -> None:
    process = Process(service.pids[0], began(service.pids[0]))
    for name in ("other", "../on", job + "/x"):
        answer = actuator.ask(Move(job=name, processes=(process,)))
        assert answer.refused.startswith(f"job '{name}'") or "not a path" in answer.refused


def test_kernel_threads_pods_and_kernmesh_itself_stay_where_they_are(
    cgroups: RealCgroups, service: Service, actuator: Actuator, job: str
) -> None:
    pod = cgroups.folders["cpu"] / cgroups.path / "on" / "kubepods"
    pod.mkdir()
    (pod / "cgroup.procs").write_text(str(service.pids[0]))
    (worker,) = workers_of(actuator.pid)
    pids = (2, service.pids[0], worker, actuator.pid)
    processes = tuple(Process(pid, began(pid)) for pid in pids)
    answer = actuator.ask(Move(job=job, processes=processes))
    assert answer.moved == 0
    for word in ("is the kernel's", "is in a pod", "is kernmesh itself"):
        assert any(word in note for note in answer.notes)
    (cgroups.folders["cpu"] / "cgroup.procs").write_text(str(service.pids[0]))
