"""Where loads run: a file system on a loop device, and cgroups of whatever version is mounted.

An emulated machine is its own: all its memory may be taken, and nothing need be cleaned up. This
machine is not: what was made is removed, and only cgroups run out of memory.
"""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from exporter.host.mounts import CgroupMount, cgroup_mounts
from exporter.hostfs import HostFs

MIB = 1 << 20
_CONTROLLERS = ("cpu", "memory")
_LOOP_SET_FD = 0x4C00  # include/uapi/linux/loop.h
_MKFS = ("mkfs.ext4", "-q", "-F", "-O", "^has_journal")


class Group(NamedTuple):
    """A cgroup: one folder by controller, the same under v2."""

    cpu: Path
    memory: Path

    def join(self) -> None:
        for folder in self:
            (folder / "cgroup.procs").write_text("0")


class Ground:
    """`mount` is a folder on the disk of this name, which nobody else uses. `own_machine`: whether
    everything here may be used up."""

    def __init__(self, mount: Path, disk: str, own_machine: bool, prefix: str = "") -> None:
        self.mount, self.disk, self.own_machine = mount, disk, own_machine
        self._prefix = prefix
        self._made: dict[Path, None] = {}
        self._mounts = {each: _mount_of(each) for each in _CONTROLLERS}

    def group(
        self, name: str, memory: int | None = None, cpu: tuple[int, int] | None = None
    ) -> Group:
        """A cgroup with limits: bytes, and µs in each period of so many. It stays as long as the
        ground does, so that whoever reads the metrics can still name it."""
        folders = {}
        for controller, mount in self._mounts.items():
            folders[controller] = mount.folder / f"{self._prefix}{name}"
            folders[controller].mkdir(exist_ok=True)
            self._made[folders[controller]] = None
        if memory is not None:
            file = {1: "memory.limit_in_bytes", 2: "memory.max"}[self._mounts["memory"].version]
            (folders["memory"] / file).write_text(str(memory))
        if cpu is not None:
            quota, period = cpu
            if self._mounts["cpu"].version == 2:
                (folders["cpu"] / "cpu.max").write_text(f"{quota} {period}")
            else:
                (folders["cpu"] / "cpu.cfs_period_us").write_text(str(period))
                (folders["cpu"] / "cpu.cfs_quota_us").write_text(str(quota))
        return Group(**folders)

    def clean_up(self) -> None:
        for folder in self._made:
            until = time.monotonic() + 10
            while folder.exists() and time.monotonic() < until:
                with suppress(OSError):  # it takes a moment until the dead are gone
                    folder.rmdir()


def _mount_of(controller: str) -> CgroupMount:
    return next(each for each in cgroup_mounts(HostFs()) if controller in each.controllers)


def of_guest(scratch: Path) -> Ground:
    """Once per emulated machine, whose root OOM spares from now on."""
    Path("/proc/self/oom_score_adj").write_text("-1000")
    root = Path("/sys/fs/cgroup")
    (root / "cgroup.subtree_control").write_text("+memory +cpu +pids")
    with suppress(OSError):
        (root / "cgroup.subtree_control").write_text("+io")
    # there are no udev and no losetup
    file = os.open(scratch / "disk", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, 24 * MIB)
    disk = os.open("/dev/loop0", os.O_RDWR)
    fcntl.ioctl(disk, _LOOP_SET_FD, file)
    os.close(disk)
    os.close(file)
    _run(*_MKFS, "/dev/loop0")
    mount = scratch / "mounted"
    mount.mkdir()
    _run("busybox", "mount", "-t", "ext4", "/dev/loop0", str(mount))
    return Ground(mount, "loop0", own_machine=True)


@contextmanager
def of_this_machine() -> Iterator[Ground]:
    """Everything that was made for it is gone afterwards."""
    with TemporaryDirectory() as name:
        scratch = Path(name)
        file, mount = scratch / "disk", scratch / "mounted"
        mount.mkdir()
        with file.open("wb") as out:
            out.truncate(24 * MIB)
        device = _said("losetup", "--find", "--show", str(file))
        try:
            _run(*_MKFS, device)
            _run("mount", "-t", "ext4", device, str(mount))
            prefix = f"kernmesh-{os.getpid()}-"
            ground = Ground(mount, Path(device).name, own_machine=False, prefix=prefix)
            try:
                yield ground
            finally:
                ground.clean_up()
                _run("umount", str(mount))
        finally:
            _run("losetup", "--detach", device)


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
