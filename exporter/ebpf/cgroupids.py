"""The map by which a program knows the cgroups that it is to look at, kept current by their paths.

What upstream calls cgroup_id_map: its key is a cgroup's id, or the cgroup itself (cgrp_storage),
its value is 1. Knows which paths are wanted; not what for.
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from exporter.decoders import regexp
from exporter.ebpf.maps import BpfMap
from exporter.ebpf.spec import CgroupIdMapSpec
from exporter.errors import BpfError
from exporter.host.mounts import CgroupMount, cgroup_mounts
from exporter.hostfs import HostFs

_ONE = struct.pack("=Q", 1)
KEY_SIZES = {"hash": 8, "cgrp_storage": 4}
"""The id as u64; a file descriptor of the cgroup's folder (kernel: map_cgrp_storage.rst)."""


class CgroupIds:
    """`run` is called now and then. Paths are the host's, of the hierarchy whose ids
    bpf_get_current_cgroup_id() gives: the unified one; v1's memory one where there is none."""

    def __init__(self, bpf_map: BpfMap, spec: CgroupIdMapSpec, fs: HostFs) -> None:
        """Raises BpfError for a map of other sizes, DecodeError for a bad expression."""
        info, key = bpf_map.info, KEY_SIZES[spec.type]
        if (info.key_size, info.value_size) != (key, len(_ONE)):
            raise BpfError(
                f"cgroup_id_map: map {info.name} has {info.key_size} bytes of key and "
                f"{info.value_size} of value, want {key} and {len(_ONE)} for type {spec.type}"
            )
        self.selected = 0
        """Cgroups in the map since the last `run`."""
        self._map, self._fs = bpf_map, fs
        self._matches: Callable[[str], bool] = regexp.matcher(spec.regexps)
        self._set = self._set_storage if spec.type == "cgrp_storage" else self._set_ids
        self._judged: dict[tuple[int, str], bool] = {}
        self._stored: set[tuple[int, str]] = set()

    @property
    def map_name(self) -> str:
        return self._map.info.name

    def run(self) -> None:
        """Raises BpfError where the kernel refuses, most likely because the map is full."""
        mount = _mount(self._fs)
        if mount is None:
            raise BpfError("cgroup_id_map: no cgroup hierarchy is mounted")
        there = {
            (number, path): self._judged.get((number, path))
            for number, path in _walk(mount.folder, mount.place)
        }
        # An expression is asked once about each cgroup.
        self._judged = {
            each: self._matches(each[1]) if known is None else known
            for each, known in there.items()
        }
        wanted = {each for each, matches in self._judged.items() if matches}
        self._set(wanted, mount)
        self.selected = len(wanted)

    def _set_ids(self, wanted: set[tuple[int, str]], _: CgroupMount) -> None:
        ids = {struct.pack("=Q", number) for number, _ in wanted}
        rows = self._map.read()
        present = {rows.keys[at : at + 8] for at in range(0, len(rows.keys), 8)}
        self._map.delete(sorted(present - ids))  # first: there may be no room otherwise
        for key in sorted(ids - present):
            self._map.put(key, _ONE)

    def _set_storage(self, wanted: set[tuple[int, str]], mount: CgroupMount) -> None:
        """The kernel takes it away with the cgroup."""
        self._stored &= wanted
        for number, path in sorted(wanted - self._stored):
            below = path[len(mount.place) :].lstrip("/")
            try:
                fd = os.open(mount.folder / below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError:  # removed meanwhile
                continue
            try:
                self._map.put(struct.pack("=i", fd), _ONE)
            finally:
                os.close(fd)
            self._stored.add((number, path))


def _mount(fs: HostFs) -> CgroupMount | None:
    mounts = cgroup_mounts(fs)
    unified = (mount for mount in mounts if mount.version == 2)
    memory = (mount for mount in mounts if "memory" in mount.controllers)
    return next(unified, None) or next(memory, None) or next(iter(mounts), None)


def _walk(folder: Path, place: str) -> Iterator[tuple[int, str]]:
    """Id and host path of every cgroup; the id is the folder's inode number (kernfs, 64 bits)."""
    try:
        yield folder.stat().st_ino, place
    except OSError:
        return
    pending = [(str(folder), place)]
    while pending:
        here, path = pending.pop()
        try:
            with os.scandir(here) as entries:
                folders = [
                    (entry.inode(), entry.path, f"{path}/{entry.name}")
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError:  # removed meanwhile
            continue
        for number, inside, below in folders:
            yield number, below
            pending.append((inside, below))
