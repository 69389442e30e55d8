"""Cgroup paths by id, on v1, v2 and hybrid mounts, for cgroups made at any time.

An id is the inode number of the cgroup's directory (kernfs, 64-bit kernels). The kernel opens a
directory by its id where it lets us (CAP_DAC_READ_SEARCH): no walk, however many there are.
Else the tree is walked, when an id is not known and not too often. A cgroup that was seen keeps
its last path after it is gone, since its counters stay; how many are kept is bounded.
"""

import contextlib
import ctypes
import errno
import functools
import os
import struct
from collections import OrderedDict
from pathlib import Path

from exporter.clock import Clock
from exporter.host.mounts import CgroupMount, cgroup_mounts
from exporter.hostfs import HostFs

_MOST_KEPT = 32_768  # paths, per hierarchy
_MOUNTS_SECONDS = 60.0
_WALK_SECONDS = 1.0
_WALK_SHARE = 20  # a walk that took t seconds is not repeated for 20 t: 5 % of a core at most
_FILEID_KERNFS = 0xFE  # include/linux/exportfs.h
_HANDLE = struct.Struct("=IiQ")  # struct file_handle: handle_bytes, handle_type, the id


class CgroupPaths:
    """`path(id, controller)`: as the host names it ("/sys/fs/cgroup/memory/a"), None if unknown."""

    def __init__(self, fs: HostFs, clock: Clock) -> None:
        self._fs = fs
        self._clock = clock
        self._hierarchies: dict[str, _Hierarchy] = {}  # by place
        self._mounts: list[CgroupMount] = []
        self._mounts_read_at: float | None = None

    def path(self, number: int, controller: str = "") -> str | None:
        """`controller` "" is the unified hierarchy; where none is mounted, v1's memory one (or
        the first), as only the root of the unified one is in use then."""
        mount = self._mount(controller)
        if mount is None:
            return None
        hierarchy = self._hierarchies.get(mount.place)
        if hierarchy is None:
            hierarchy = self._hierarchies[mount.place] = _Hierarchy(mount, self._clock)
        return hierarchy.path(number)

    def _mount(self, controller: str) -> CgroupMount | None:
        now = self._clock.monotonic()
        if self._mounts_read_at is None or now - self._mounts_read_at >= _MOUNTS_SECONDS:
            self._mounts_read_at = now
            self._mounts = cgroup_mounts(self._fs)
        mounts = self._mounts
        if controller:
            return next((mount for mount in mounts if controller in mount.controllers), None)
        unified = next((mount for mount in mounts if mount.version == 2), None)
        memory = next((mount for mount in mounts if "memory" in mount.controllers), None)
        return unified or memory or next(iter(mounts), None)


class _Hierarchy:
    def __init__(self, mount: CgroupMount, clock: Clock) -> None:
        self._mount = mount
        self._clock = clock
        self._known: OrderedDict[int, str] = OrderedDict()  # id → path below the mount
        self._root: str | None = None  # as the kernel names it to us
        self._opens_by_id = True
        self._walk_not_before = float("-inf")

    def path(self, number: int) -> str | None:
        below = self._known.get(number)
        if below is None:
            below = self._ask_kernel(number) if self._opens_by_id else None
            if below is not None:
                self._keep(number, below)
            elif not self._opens_by_id and self._clock.monotonic() >= self._walk_not_before:
                self._walk()
                below = self._known.get(number)
            if below is None:
                return None
        else:
            self._known.move_to_end(number)
        place = self._mount.place.rstrip("/")
        return f"{place}/{below}" if below else place

    def _keep(self, number: int, below: str) -> None:
        self._known[number] = below
        self._known.move_to_end(number)
        if len(self._known) > _MOST_KEPT:
            self._known.popitem(last=False)

    def _ask_kernel(self, number: int) -> str | None:
        root = self._root or os.path.realpath(self._mount.folder)
        if self._root is None:  # first use: see whether the kernel finds the root by its own id
            self._root = root
            try:
                self._opens_by_id = _open_by_id(root, Path(root).stat().st_ino) == root
            except OSError:
                self._opens_by_id = False
            if not self._opens_by_id:
                return None
        try:
            full = _open_by_id(root, number)
        except OSError as error:
            self._opens_by_id = error.errno == errno.ESTALE  # no such cgroup; else not allowed
            return None
        if full == root:
            return ""
        if full.startswith(root + "/") and not full.endswith(" (deleted)"):
            return full[len(root) + 1 :]
        return None

    def _walk(self) -> None:
        started = self._clock.monotonic()
        root = self._mount.folder
        with contextlib.suppress(OSError):
            self._keep(root.stat().st_ino, "")
        pending = [""]
        while pending:
            below = pending.pop()
            try:
                with os.scandir(root / below) as entries:
                    folders = [
                        (entry.inode(), entry.name)
                        for entry in entries
                        if entry.is_dir(follow_symlinks=False)
                    ]
            except OSError:
                continue  # removed meanwhile
            for number, name in folders:
                path = f"{below}/{name}" if below else name
                self._keep(number, path)
                pending.append(path)
        ended = self._clock.monotonic()
        self._walk_not_before = ended + max(_WALK_SECONDS, _WALK_SHARE * (ended - started))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _open_by_id(root: str, number: int) -> str:
    """The directory's path as this process sees it, by open_by_handle_at(2) with the id as handle
    (fs/kernfs/mount.c, kernfs_fh_to_dentry). Raises OSError: ESTALE if there is none."""
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        handle = _HANDLE.pack(8, _FILEID_KERNFS, number)
        fd = _libc().open_by_handle_at(root_fd, handle, os.O_PATH | os.O_CLOEXEC)
        if fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        try:
            return str(Path(f"/proc/self/fd/{fd}").readlink())
        finally:
            os.close(fd)
    finally:
        os.close(root_fd)
