"""Processes that do a piece of work when told and rest in between, and cgroups to put them in."""

import os
import platform
import select
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporter.ebpf.elf import verify_object
from exporter.ebpf.spec import HookSpec, Program
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from tests.kernel.conftest import program
from tests.kernel.workloads import eventually

WATCHDOG_SECONDS = 120.0
_READ = {"x86_64": "0", "aarch64": "63"}[platform.machine()]

_PYTHON = """
import os, select, time
{before}
while os.read(0, 1):
    {work}
    os.write(1, b".")
"""


class Task:
    """A process that waits in read(2) whenever it does not work."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self._process.pid

    def work(self) -> None:
        """Until it is done and rests again."""
        self.start()
        self.done()

    def done(self) -> None:
        """Waits for the end of what start() began."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], WATCHDOG_SECONDS)
        assert ready, "the task does not answer"
        assert self._process.stdout.read(1) == b".", "the task has ended"
        self.rest()

    def start(self) -> None:
        """To work, without waiting for an end that may never come."""
        assert self._process.stdin is not None
        self._process.stdin.write(b".")

    def rest(self) -> None:
        """Waits until it waits for work: then nothing of it happens any more."""
        assert eventually(self._resting, WATCHDOG_SECONDS)

    def _resting(self) -> bool:
        # Its state alone says too little: who is about to wait has it already, and may still be
        # preempted. This file waits until the task is off its CPU (lib/syscall.c), and says the
        # call that it is in and the file descriptor: ours is read(0, …).
        return Path(f"/proc/{self.pid}/syscall").read_text().split()[:2] == [_READ, "0x0"]

    def schedstat(self) -> tuple[int, int, int]:
        """Documentation/scheduler/sched-stats.rst: ns on CPUs, ns waited for one, times on one."""
        ran, waited, times = map(int, Path(f"/proc/{self.pid}/schedstat").read_text().split())
        return ran, waited, times

    def page_faults(self) -> int:
        """proc(5), /proc/<pid>/stat: minflt and majflt."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[7]) + int(fields[9])

    def switches_against_its_will(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("nonvoluntary_ctxt_switches:"):
                return int(line.split()[1])
        raise AssertionError("/proc/<pid>/status has no nonvoluntary_ctxt_switches")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def python_task(before: str, work: str) -> Task:
    """`before` runs once, `work` (one statement, or lines of them) each time."""
    indented = work.replace("\n", "\n    ")
    code = _PYTHON.format(before=before, work=indented)
    return Task([sys.executable, "-S", "-E", "-c", code])


class CpuCgroup:
    """A new cgroup of the hierarchy with the cpu controller, v1 or v2."""

    def __init__(self, below: str = "") -> None:
        mounts = cgroup_mounts(HostFs())
        mount = next((each for each in mounts if "cpu" in each.controllers), mounts[0])
        self._top = mount.folder / f"kernmesh-{uuid.uuid4()}"
        self.path = self._top / below if below else self._top
        self.path.mkdir(parents=True)
        self.key = self.path.stat().st_ino.to_bytes(8, sys.byteorder)

    def add(self, task: Task) -> None:
        (self.path / "cgroup.procs").write_text(str(task.pid))

    def remove(self) -> None:
        folder = self.path
        while folder != self._top.parent:
            assert eventually(lambda folder=folder: _removed(folder))  # type: ignore[misc]
            folder = folder.parent


def _removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@contextmanager
def cpu_cgroup(below: str = "") -> Iterator[CpuCgroup]:
    made = CpuCgroup(below)
    try:
        yield made
    finally:
        made.remove()


@contextmanager
def ending(*tasks: Task) -> Iterator[None]:
    try:
        yield
    finally:
        for task in tasks:
            task.end()


def by_way(folder: Path, name: str, *functions: str) -> Program:
    """A shipped program that uses these of its functions and no others."""
    others = verify_object(folder / f"{name}.bpf.o").functions.keys() - set(functions)
    hooks = [HookSpec("wanted", (functions,))]
    if others:
        hooks.append(HookSpec("unwanted", (("none", *sorted(others)),), optional=True))
    return program(folder, name, hooks)


def last_cpu() -> int:
    return max(os.sched_getaffinity(0))
