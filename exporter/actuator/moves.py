"""Processes of online jobs in cgroups of their own, /kernmesh/<job>, and back to where they were.

The rule: a process is moved with all its threads, where it was is written down first, and one
that is in a pod, is the kernel's, or is not the one that was meant is left where it is. Of v1 only
hierarchies that account or share are used: cpuset, devices, freezer and named ones would change
what a process may do, or whose it is.

Kernel: Documentation/admin-guide/cgroup-v2.rst "Processes"; cgroup-v1/cgroups.rst 2.2.
"""

import errno
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from exporter.actuator.cgroups import Folder, Hierarchy, NotAllowed, opened, parts_of
from exporter.actuator.journal import Content, Journal, JournalError, Moved
from exporter.actuator.protocol import Answer, Move
from exporter.host.kubepods import levels, read_path
from exporter.host.mounts import CgroupMount

OURS = "kernmesh"
_V1 = {"cpu", "cpuacct", "memory", "blkio"}
_ROUNDS = 5  # processes fork while they are moved


class _Place(NamedTuple):
    hierarchy: Hierarchy
    names: frozenset[str]
    """As the middle field of /proc/<pid>/cgroup has them; empty for v2."""


class Moves:
    """One per journal."""

    def __init__(
        self, journal: Journal, mounts: Sequence[CgroupMount], proc: str, jobs: Sequence[str]
    ) -> None:
        self._journal, self._proc, self._jobs = journal, proc, frozenset(jobs)
        self._places = [
            _Place(
                Hierarchy(min(m.controllers, default="v2"), m.version, str(m.folder)),
                m.controllers if m.version == 1 else frozenset(),
            )
            for m in mounts
            if m.version == 2 or m.controllers & _V1
        ]

    def move(self, request: Move) -> Answer:
        """Raises NotAllowed, JournalError or OSError, and nothing is moved then."""
        if request.job not in self._jobs or len(parts_of(f"{OURS}/{request.job}")) != 2:
            raise NotAllowed(f"job {request.job!r}: not one that is to have a cgroup of its own")
        if not self._journal.is_open:
            raise JournalError("the journal is not open")
        notes: list[str] = []
        known = {(each.pid, each.began): each for each in self._journal.content.moved}
        due: list[Moved] = []
        for process in request.processes:
            try:
                where = self._movable(process.pid, process.began)
            except NotAllowed as error:
                notes.append(str(error))
                continue
            here = f"{OURS}/{request.job}"
            if where is None or all(path == here for path in where.values()):
                continue
            before = known.get((process.pid, process.began))
            due.append(
                before or Moved(request.job, process.pid, process.began, self._not_ours(where))
            )
        if not due:
            return Answer(request.id, notes=tuple(notes))
        alive = {each: known[each] for each in known if self._began(each[0]) == each[1]}
        alive.update({(each.pid, each.began): each for each in due})
        self._save(tuple(alive.values()))
        moved = sum(self._put(each, notes) for each in due)
        return Answer(request.id, moved=moved, notes=tuple(notes))

    def back(self) -> list[str]:
        """Every process in a cgroup of ours to where it was, or its forebear was; then the cgroups
        go. Lines about what could not be."""
        moved = self._journal.content.moved
        if not moved:
            return []
        notes: list[str] = []
        left: set[str] = set()
        for place in self._places:
            for job in dict.fromkeys(each.job for each in moved):
                of_job = [each for each in moved if each.job == job]
                if not self._empty(place.hierarchy, job, of_job, notes):
                    left.add(job)
            with suppress(OSError):
                os.rmdir(f"{place.hierarchy.folder}/{OURS}")  # noqa: PTH106 # ENOTEMPTY: in use
        try:
            self._save(tuple(each for each in moved if each.job in left))
        except JournalError as error:
            notes.append(str(error))
        return notes

    def held(self) -> Mapping[str, int]:
        """Moved processes by job."""
        return Counter(each.job for each in self._journal.content.moved)

    def _save(self, moved: tuple[Moved, ...]) -> None:
        content = self._journal.content
        self._journal.save(Content(content.version, content.boot, content.entries, moved))

    def _movable(self, pid: int, began: int) -> dict[str, str] | None:
        """Where it is by hierarchy; None where it has ended, or another has its number."""
        if pid in (os.getpid(), os.getppid()):
            raise NotAllowed(f"process {pid}: is kernmesh itself")
        if self._began(pid) != began:
            return None
        try:
            with open(f"{self._proc}/{pid}/cmdline", "rb") as file:  # noqa: PTH123
                if not file.read(1):
                    raise NotAllowed(f"process {pid}: is the kernel's")
        except OSError:
            return None
        where = self._where(pid)
        for path in where.values():
            if ".." in path.split("/"):
                raise NotAllowed(f"process {pid}: is in a cgroup that is not seen from here")
            if path and (read_path(path).uid or levels(path)[0] == "kubepods"):
                raise NotAllowed(
                    f"process {pid}: is in a pod (/{path}), which is kubelet's to place"
                )
        return where or None

    def _where(self, pid: int) -> dict[str, str]:
        try:
            with open(f"{self._proc}/{pid}/cgroup") as file:  # noqa: PTH123
                lines = file.read().splitlines()
        except OSError:
            return {}
        found = {}
        for line in lines:
            _, controllers, path = line.split(":", 2)
            names = frozenset(filter(None, controllers.split(",")))
            for place in self._places:
                if place.names == names:
                    found[place.hierarchy.folder] = path.strip("/")
        return found

    def _not_ours(self, where: dict[str, str]) -> dict[str, str]:
        """Forked by one of ours: where its forebear was is not known here; back() finds it."""
        return {folder: path for folder, path in where.items() if path.split("/")[0] != OURS}

    def _began(self, pid: int) -> int | None:
        words = self._stat(pid)
        return int(words[19]) if words else None

    def _stat(self, pid: int) -> list[str]:
        try:
            with open(f"{self._proc}/{pid}/stat") as file:  # noqa: PTH123
                text = file.read()
        except OSError:
            return []
        words = text[text.rfind(")") + 2 :].split()
        return words if len(words) > 19 else []

    def _put(self, moved: Moved, notes: list[str]) -> bool:
        done = True
        for place in self._places:
            if place.hierarchy.folder not in moved.before:
                continue
            try:
                with self._job_folder(place.hierarchy, moved.job) as folder:
                    folder.write("cgroup.procs", str(moved.pid))
            except ProcessLookupError:
                return False  # ended meanwhile
            except (OSError, NotAllowed) as error:
                done = False
                notes.append(f"process {moved.pid} into {place.hierarchy.name}: {error}")
        return done

    def _job_folder(self, hierarchy: Hierarchy, job: str) -> "_Made":
        return _Made(hierarchy, f"{OURS}/{job}")

    def _empty(
        self, hierarchy: Hierarchy, job: str, moved: Sequence[Moved], notes: list[str]
    ) -> bool:
        path, failed = f"{OURS}/{job}", dict[int, str]()
        try:
            for _ in range(_ROUNDS):
                with opened(hierarchy, path) as folder:
                    pids = [int(word) for word in folder.read("cgroup.procs").split()]
                if not set(pids) - failed.keys():
                    break
                for pid in pids:
                    try:
                        self._give_back(hierarchy, pid, self._home(hierarchy, pid, moved))
                    except ProcessLookupError:
                        continue
                    except OSError as error:
                        failed[pid] = errno.errorcode.get(error.errno or 0, "?")
        except FileNotFoundError:
            return True
        except (OSError, NotAllowed) as error:
            notes.append(f"{hierarchy.name}:/{path}: {error}")
            return False
        if failed:
            some = ", ".join(f"{pid} ({reason})" for pid, reason in list(failed.items())[:5])
            notes.append(f"{hierarchy.name}:/{path}: not moved back yet: {some}")
            return False
        with suppress(OSError):
            os.rmdir(f"{hierarchy.folder}/{path}")  # noqa: PTH106
        return True

    def _home(self, hierarchy: Hierarchy, pid: int, moved: Sequence[Moved]) -> str:
        """Its own former cgroup, or the nearest forebear's, or what most of the job had."""
        homes = {
            each.pid: each.before[hierarchy.folder]
            for each in moved
            if hierarchy.folder in each.before and self._began(each.pid) in (each.began, None)
        }
        here = pid
        for _ in range(64):
            if here in homes:
                return homes[here]
            words = self._stat(here)
            if not words or here <= 1:
                break
            here = int(words[1])
        most = Counter(homes.values()).most_common(1)
        return most[0][0] if most else ""

    def _give_back(self, hierarchy: Hierarchy, pid: int, path: str) -> None:
        """Into the cgroup, or the nearest around it that there still is."""
        parts = path.split("/") if path else []
        for length in range(len(parts), 0, -1):
            try:
                with opened(hierarchy, "/".join(parts[:length])) as folder:
                    folder.write("cgroup.procs", str(pid))
                return
            except (FileNotFoundError, NotAllowed):
                continue
        with open(f"{hierarchy.folder}/cgroup.procs", "w") as file:  # noqa: PTH123
            file.write(str(pid))


class _Made:
    """The folder of a job, made where it is not there, open."""

    def __init__(self, hierarchy: Hierarchy, path: str) -> None:
        self._hierarchy, self._path = hierarchy, path

    def __enter__(self) -> Folder:
        parts = self._path.split("/")
        for length in range(1, len(parts) + 1):
            folder = f"{self._hierarchy.folder}/{'/'.join(parts[:length])}"
            with suppress(FileExistsError):
                os.mkdir(folder, 0o755)  # noqa: PTH102
                if self._hierarchy.version == 2 and length < len(parts):
                    self._offer(folder)
        manager = opened(self._hierarchy, self._path)
        self._manager = manager
        return manager.__enter__()

    def __exit__(self, *_: object) -> None:
        self._manager.__exit__(None, None, None)

    @staticmethod
    def _offer(folder: str) -> None:
        """v2: what is accounted for the jobs; a controller that is not offered here stays out."""
        for controller in ("cpu", "memory", "io", "pids"):
            with suppress(OSError), open(f"{folder}/cgroup.subtree_control", "w") as file:  # noqa: PTH123
                file.write(f"+{controller}")
