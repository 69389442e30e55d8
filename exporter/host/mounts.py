"""Which cgroup hierarchies are mounted where, from mountinfo: v1, v2 or both (hybrid).

Knows two names of each mount: where the host has it, and where this process finds its files.
"""

import re
from pathlib import Path
from typing import NamedTuple

from exporter.hostfs import HostFs

_USUAL_PLACE = "/sys/fs/cgroup"
_OCTAL = re.compile(r"\\([0-7]{3})")  # how mountinfo writes blanks in paths
_NO_CONTROLLERS = {"rw", "ro", "xattr", "clone_children", "noprefix", "cpuset_v2_mode"}


class CgroupMount(NamedTuple):
    """One hierarchy. `controllers` of v2 are those it offers now (cgroup.controllers), of v1 those
    it was mounted with, `name=…` included. `place` is the host's path, `folder` ours."""

    version: int
    controllers: frozenset[str]
    place: str
    folder: Path


def cgroup_mounts(fs: HostFs) -> list[CgroupMount]:
    """Every hierarchy once, v2 first. Empty where none is mounted or mountinfo cannot be read.

    Init's mounts come first, as they are the host's when <proc> is; ours where there are none.
    Fields: Documentation/filesystems/proc.rst, section 3.5.
    """
    for process in ("1", "self"):
        try:
            text = (fs.proc / process / "mountinfo").read_text(errors="replace")
        except OSError:
            continue
        mounts = _parse(text, fs)
        if mounts:
            return mounts
    return []


def _parse(text: str, fs: HostFs) -> list[CgroupMount]:
    found: dict[str, tuple[int, CgroupMount]] = {}  # by device number, as bind mounts repeat it
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if not separator or len(left) < 5 or len(right) < 3:
            continue
        device, depth = left[2], len(left[3])  # the mount of the most of the tree is the one
        if right[0] not in ("cgroup", "cgroup2") or (device in found and found[device][0] <= depth):
            continue
        place = unescape(left[4])
        folder = _folder(place, fs)
        if right[0] == "cgroup2":
            found[device] = depth, CgroupMount(2, _offered(folder), place, folder)
        else:
            controllers = frozenset(right[-1].split(",")) - _NO_CONTROLLERS
            found[device] = depth, CgroupMount(1, controllers, place, folder)
    return sorted((mount for _, mount in found.values()), key=lambda mount: -mount.version)


def unescape(path: str) -> str:
    """A path as mountinfo writes it, blanks and line breaks as octal, as it is."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), path)


def _folder(place: str, fs: HostFs) -> Path:
    if place == _USUAL_PLACE or place.startswith(_USUAL_PLACE + "/"):
        return fs.cgroup / place[len(_USUAL_PLACE) :].lstrip("/")
    return fs.root / place.lstrip("/")


def _offered(folder: Path) -> frozenset[str]:
    try:
        return frozenset((folder / "cgroup.controllers").read_text(errors="replace").split())
    except (OSError, ValueError):  # or a place with a NUL in it
        return frozenset()
