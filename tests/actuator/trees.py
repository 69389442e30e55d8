"""Cgroups to act on: folders of files for v1 and v2, and real ones under this machine's mounts."""

import os
import select
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from exporter.actuator.cgroups import Hierarchy
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs

UNLIMITED = "9223372036854771712"
V1_CPU = {
    "cpu.cfs_quota_us": "-1",
    "cpu.cfs_period_us": "100000",
    "cpu.shares": "1024",
    "cpu.idle": "0",
}
V2 = {
    "cpu.max": "max 100000",
    "cpu.weight": "100",
    "cpu.idle": "0",
    "memory.high": "max",
    "memory.max": "max",
    "memory.current": "1073741824",
    "io.max": "",
    "io.stat": "254:0 rbytes=4096 wbytes=0 rios=1 wios=0\n",
}


def make(folder: Path, path: str, files: Mapping[str, str]) -> Path:
    made = folder / path
    made.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (made / name).write_text(f"{text}\n")
    return made


def hierarchy(folder: Path, controller: str, version: int) -> dict[str, Hierarchy]:
    return {controller: Hierarchy(controller, version, str(folder))}


class RealCgroups:
    """A cgroup of this test's own in every v1 hierarchy that actions use, and in v2. `path` is
    below the mounts; "off" in it is what may be acted on, "on" what may not."""

    def __init__(self) -> None:
        self.path = f"kernmesh-test-{uuid4().hex[:12]}"
        self.folders = {
            name: mount.folder
            for mount in cgroup_mounts(HostFs())
            for name in (mount.controllers or {"v2"})
            if name in ("cpu", "memory", "blkio", "v2")
        }
        for folder in self.folders.values():
            for part in ("off/inner", "on"):
                (folder / self.path / part).mkdir(parents=True)

    @property
    def offline(self) -> str:
        return f"{self.path}/off"

    def file(self, controller: str, path: str, name: str) -> Path:
        return self.folders[controller] / self.path / path / name

    def read(self, controller: str, path: str, name: str) -> str:
        return self.file(controller, path, name).read_text().strip()

    def close(self) -> None:
        for folder in self.folders.values():
            for here, _, _ in os.walk(folder / self.path, topdown=False):
                with suppress(OSError):
                    Path(here).rmdir()


@contextmanager
def real_cgroups() -> Iterator[RealCgroups]:
    cgroups = RealCgroups()
    try:
        yield cgroups
    finally:
        cgroups.close()


def wait_for_end(pid: int, seconds: float = 20.0) -> bool:
    """Whether a process, which need not be ours, has ended by then."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))
    finally:
        os.close(descriptor)


def workers_of(keeper: int) -> list[int]:
    text = Path(f"/proc/{keeper}/task/{keeper}/children").read_text()
    return [int(word) for word in text.split()]


def began(pid: int) -> int:
    """Field 22 of its stat."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rfind(")") + 2 :].split()[19])
