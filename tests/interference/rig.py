"""Real pods to look at: cgroups as kubelet makes them, a victim in one, batch work in others.

Each rig has a name of its own in every hierarchy, so that several may run on one machine, and takes
only what it made away.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs
from tests.peers import PROGRAMS, environment

STRESS = PROGRAMS / "stress-ng"
PINNED = ("taskset", "--cpu-list", "0")
"""All of a rig on one CPU: whatever else the machine does, they are in each other's way."""
_GONE_SECONDS = 10.0
VICTIM = """
import threading, time
def serve():
    while True:
        time.sleep(0.004)
        until = time.thread_time() + 0.0007
        while time.thread_time() < until: pass
threads = [threading.Thread(target=serve) for _ in range(4)]
for thread in threads: thread.start()
"""
"""Four that answer 0.7 ms' worth of requests, some 700 of them a second if nobody is in the way."""


class Rig:
    """`offline` is the cgroup below which work may be acted on (usage.offline.cgroups)."""

    def __init__(self) -> None:
        name = uuid4().hex[:8]
        self.top = f"kernmesh-{name}/kubepods"
        self.offline = f"{self.top}/batch-{name}"
        self._folders = {
            key: mount.folder
            for mount in cgroup_mounts(HostFs())
            for key in (mount.controllers or {"v2"})
            if key in ("cpu", "cpuacct", "memory", "blkio", "v2")
        }
        self._running: list[subprocess.Popen[bytes]] = []
        self._made: list[str] = []
        for path in (f"kernmesh-{name}", self.top, self.offline, f"{self.top}/burstable"):
            self._make(path)
        # What else runs on this machine stands back, or it would be what the victim waits for.
        (Path(self._folders["cpu"]) / f"kernmesh-{name}/cpu.shares").write_text("262144")

    def pod(self, offline: bool = False, uid: str = "") -> str:
        """A pod's cgroup; its path below the mounts. `uid` "": one that nobody has."""
        path = f"{self.offline if offline else self.top + '/burstable'}/pod{uid or uuid4()}"
        self._make(path)
        return path

    def run(self, path: str, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        procs = [f"{folder}/{path}/cgroup.procs" for folder in set(self._folders.values())]
        enter = " && ".join(f"echo $$ > {each}" for each in procs)
        process = subprocess.Popen(
            ["sh", "-c", f'{enter} && exec "$@"', "sh", *command],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        self._running.append(process)
        return process

    def victim(self) -> str:
        path = self.pod()
        self.run(path, [*PINNED, sys.executable, "-c", VICTIM])
        return path

    def stress(self, path: str, *arguments: str) -> subprocess.Popen[bytes]:
        return self.run(path, [*PINNED, STRESS, "--quiet", *arguments])

    def end(self, process: subprocess.Popen[bytes]) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def read(self, file: str, path: str, hierarchy: str = "cpu") -> str:
        return (Path(self._folders[hierarchy]) / path / file).read_text().strip()

    def close(self) -> None:
        for process in self._running:
            self.end(process)
        until = time.monotonic() + _GONE_SECONDS
        for folder in set(self._folders.values()):
            for path in reversed(self._made):
                _remove(Path(folder) / path, until)

    def _make(self, path: str) -> None:
        self._made.append(path)
        for folder in set(self._folders.values()):
            (Path(folder) / path).mkdir(exist_ok=True)


def _remove(folder: Path, until: float) -> None:
    while folder.exists():
        for pid in (folder / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        try:
            folder.rmdir()
        except OSError:  # what was killed is not gone yet
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


@contextmanager
def rig() -> Iterator[Rig]:
    assert STRESS.exists() or shutil.which("stress-ng"), "make .cache/peers/.load unpacks stress-ng"
    made = Rig()
    try:
        yield made
    finally:
        made.close()
