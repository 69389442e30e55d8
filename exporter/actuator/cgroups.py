"""Cgroup folders opened safely: below a mount, folder by folder, no link followed, never "..".

The rule: what is opened is held open, so that what was verified is what is written. A cgroup that
was removed and made anew has another inode (kernfs never uses one twice within a boot).
"""

import os
import resource
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from exporter.host.kubepods import is_kubepods, levels, read_path
from exporter.host.mounts import CgroupMount

_MOST_READ = 1 << 20
_SEARCH_DEPTH = 4  # docker/<id>/kubelet.slice/kubelet-kubepods.slice: a node in a container
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


_MOST_DESCRIPTORS = 65_536


class NotAllowed(Exception):
    """Its text says what of the request may not be, in one line."""


def allow_descriptors() -> None:
    """As many as this process may have: all cgroups of a request are open at once, and the usual
    limit (1,024) is lower than what one may ask for."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class Hierarchy(NamedTuple):
    """One mounted hierarchy, by a controller of it: "cpu", "memory", "io"; v1's blkio is "io"."""

    controller: str
    version: int
    folder: str

    @property
    def name(self) -> str:
        return self.controller if self.version == 1 else f"{self.controller}(v2)"


def hierarchies(mounts: Sequence[CgroupMount]) -> dict[str, Hierarchy]:
    """By controller, where it can be set. v2 first: on a hybrid machine a controller is in one."""
    found: dict[str, Hierarchy] = {}
    for mount in mounts:
        for controller in sorted(mount.controllers):
            name = "io" if controller == "blkio" else controller
            found.setdefault(name, Hierarchy(name, mount.version, str(mount.folder)))
    return found


class Folder:
    """One cgroup's folder, open. `path` is below the mount."""

    def __init__(self, hierarchy: Hierarchy, path: str, descriptor: int) -> None:
        self.hierarchy, self.path, self._descriptor = hierarchy, path, descriptor
        self.inode = os.fstat(descriptor).st_ino

    def has(self, name: str) -> bool:
        try:
            found = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode)

    def read(self, name: str) -> str:
        """Raises OSError."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=self._descriptor)
        try:
            return os.read(descriptor, _MOST_READ).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)

    def write(self, name: str, text: str) -> None:
        """In one write, as cgroup files want it. Raises OSError."""
        flags = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=self._descriptor)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise NotAllowed(f"{self.shown(name)}: no regular file")
            os.write(descriptor, f"{text}\n".encode())
        finally:
            os.close(descriptor)

    def folders(self) -> list[str]:
        """Names of the cgroups in it."""
        try:
            with os.scandir(self._descriptor) as entries:
                return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
        except OSError:
            return []

    def shown(self, name: str) -> str:
        return f"{self.hierarchy.name}:/{self.path}/{name}"


def parts_of(path: str) -> tuple[str, ...]:
    """Raises NotAllowed for what is no plain path below a mount."""
    parts = tuple(path.strip("/").split("/"))
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise NotAllowed(f"cgroup {path!r}: not a path below the mount (empty part, . or ..)")
    return parts


@contextmanager
def opened(hierarchy: Hierarchy, path: str) -> Iterator[Folder]:
    """Raises NotAllowed for a path that is none, or leads over a link or another mount; OSError
    (ENOENT) where there is no such cgroup."""
    parts = parts_of(path)
    descriptor = os.open(hierarchy.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        device = os.fstat(descriptor).st_dev
        for part in parts:
            try:
                below = os.open(part, _FOLDER, dir_fd=descriptor)
            except (NotADirectoryError, OSError) as error:
                if _is_link(part, descriptor):
                    raise NotAllowed(f"cgroup {path!r}: {part} is a symbolic link") from error
                raise
            os.close(descriptor)
            descriptor = below
            if os.fstat(descriptor).st_dev != device:
                raise NotAllowed(f"cgroup {path!r}: {part} is on another mount")
        yield Folder(hierarchy, "/".join(parts), descriptor)
    finally:
        os.close(descriptor)


def _is_link(name: str, descriptor: int) -> bool:
    try:
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return False
    return stat.S_ISLNK(found.st_mode)


def below(hierarchy: Hierarchy, path: str, most: int = 10_000) -> list[str]:
    """Every cgroup in it, those above first."""
    found: list[str] = []
    waiting = [path]
    while waiting and len(found) < most:
        here = waiting.pop(0)
        try:
            with opened(hierarchy, here) as folder:
                names = [f"{folder.path}/{name}" for name in folder.folders()]
        except (OSError, NotAllowed):
            continue
        found += names
        waiting += names
    return found


class Roots:
    """The configured offline roots, written as cgroupfs has them or as systemd has."""

    def __init__(self, roots: Sequence[str], pods: bool) -> None:
        for root in roots:
            parts_of(root)
        self._roots = tuple(roots)
        self._levels = tuple(levels(root) for root in roots)
        self._pods = pods

    def check(self, path: str, uid: str) -> None:
        """Raises NotAllowed where the cgroup is not ours to touch."""
        shown = "/".join(parts_of(path))
        found = read_path(shown)
        if uid and found.uid != uid:
            raise NotAllowed(f"cgroup {path!r}: is of pod {found.uid or '(none)'}, not of {uid}")
        place = levels(shown)
        if any(place[: len(root)] == root for root in self._levels):
            return
        if self._pods and uid and place[0] == "kubepods":
            return
        raise NotAllowed(
            f"cgroup {path!r}: not offline work, want one at or below {', '.join(self._roots)}"
        )

    def here(self, hierarchy: Hierarchy) -> list[str]:
        """The paths of those that there are now, none of them in another."""
        found: list[str] = []
        for root, wanted in zip(self._roots, self._levels, strict=True):
            paths = [path for path in _written(root) if _is_there(hierarchy, path)]
            if not paths and wanted[0] == "kubepods":
                paths = [path for path in _searched(hierarchy) if levels(path) == wanted]
            found += paths
        unique = sorted(set(found))
        return [p for p in unique if not any(p.startswith(f"{other}/") for other in unique)]


def _written(root: str) -> list[str]:
    plain = "/".join(parts_of(root))
    parts = plain.split("/")
    if any(part.endswith(".slice") for part in parts):
        return [plain]
    slices = [f"{'-'.join(parts[: n + 1])}.slice" for n in range(len(parts))]
    return [plain, "/".join(slices)]


def _is_there(hierarchy: Hierarchy, path: str) -> bool:
    try:
        with opened(hierarchy, path):
            return True
    except (OSError, NotAllowed):
        return False


def _searched(hierarchy: Hierarchy) -> Iterator[str]:
    """Kubepods wherever kubelet was told to have it, and its QoS levels."""

    def look(path: str, depth: int) -> Iterator[str]:
        for name in _names(hierarchy, path):
            child = f"{path}/{name}" if path else name
            if is_kubepods(name):
                yield child
                for level in _names(hierarchy, child):
                    if not read_path(f"{child}/{level}").uid:
                        yield f"{child}/{level}"
            elif depth < _SEARCH_DEPTH:
                yield from look(child, depth + 1)

    return look("", 1)


def _names(hierarchy: Hierarchy, path: str) -> list[str]:
    if path:
        try:
            with opened(hierarchy, path) as folder:
                return folder.folders()
        except (OSError, NotAllowed):
            return []
    with os.scandir(hierarchy.folder) as entries:
        return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False))
