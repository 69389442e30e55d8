"""Which mounted filesystems hold a node's data, and how full they are.

Real ones only: on a disk of this machine and writable. Not network ones, whose server may hang
whoever asks, nor images (always full), nor memory. Kernel: fs/proc_namespace.c, statfs(2).
"""

import os
from pathlib import Path
from typing import NamedTuple

from exporter.host.mounts import unescape
from exporter.hostfs import HostFs

# Types that are written to a disk of this machine; their source is a device or a pool's name.
REAL_TYPES = frozenset(
    (
        *("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "jfs", "reiserfs", "bcachefs"),
        *("nilfs2", "vfat", "exfat", "ntfs3", "gfs2", "ocfs2"),
    )
)


class Filesystem(NamedTuple):
    """`place` is the host's path of the mount, `folder` where this process finds it."""

    place: str
    folder: Path


class Space(NamedTuple):
    """Bytes. `available` is what work without privilege may still write; what root alone may use
    is in neither `used` nor `available`, as df has it."""

    used: int
    available: int


def real_filesystems(fs: HostFs) -> list[Filesystem]:
    """Each once, however often it is mounted (a pod's volumes are bind mounts): by its device
    number, at the place where it is mounted first with its root, or else at all. Raises OSError
    where neither init's mountinfo nor ours can be read."""
    try:
        text = (fs.proc / "1/mountinfo").read_text(errors="replace")
    except OSError:
        text = (fs.proc / "self/mountinfo").read_text(errors="replace")
    found: dict[str, tuple[bool, Filesystem]] = {}
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        left, right = before.split(), after.split()
        if not separator or len(left) < 6 or len(right) < 3 or right[0] not in REAL_TYPES:
            continue
        device, root, place = left[2], left[3], unescape(left[4])
        if "ro" in left[5].split(",") or "ro" in right[-1].split(","):
            continue
        whole = root == "/"
        if device not in found or (whole and not found[device][0]):
            found[device] = whole, Filesystem(place, fs.root / place.lstrip("/"))
    return [filesystem for _, filesystem in found.values()]


def space(folder: Path) -> Space:
    """Raises OSError. Blocks for as long as the disk does."""
    stat = os.statvfs(folder)
    return Space((stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_bavail * stat.f_frsize)


def full_percent(space: Space) -> float | None:
    """As df's Use%, not rounded up. None for one without blocks."""
    total = space.used + space.available
    return 100.0 * space.used / total if total > 0 else None
