"""Which cgroups are pods and containers, kept up to date without listing what has not changed.

A cgroup's folder has 2 + n links where it has n folders in it (fs/kernfs/dir.c), so one stat says
whether to list it again; a file system that keeps no such count (one link) is listed each time. A
container that took the place of another between two looks is told by `lost`, since the other's
files can no longer be read. Knows names, reads no file.
"""

import os
from collections.abc import Iterator

from exporter.host.kubepods import PodPath, is_kubepods, read_path

_SEARCH_SECONDS = 60.0
_SEARCH_DEPTH = 4  # docker/<id>/kubelet.slice/kubelet-kubepods.slice: a node in a container
_UNKNOWN = -1
# A pod's containers come within seconds or minutes of it; later a new one mostly takes the place
# of an old one, which is noticed. So pods that have not changed lately are looked at in turn.
_YOUNG_SECONDS = 300.0
_QUIET_TURNS = 8


class PodTree:
    """`containers`, `pods` and `levels` (kubepods itself, burstable, …: whatever holds pods) by
    their path below the mount. `changes` counts refreshes that found a difference."""

    def __init__(self, folder: str) -> None:
        """`folder`: the mount of the hierarchy to look in, ending in "/"."""
        self._folder = folder
        self._links: dict[str, int] = {}  # of levels and pods, as they were when last listed
        self._children: dict[str, set[str]] = {}
        self._quiet_from: dict[str, float] = {}  # from when on a pod is looked at in turn only
        self._turn = 0
        self._search_at = float("-inf")
        self.containers: dict[str, PodPath] = {}
        self.pods: dict[str, PodPath] = {}
        self.levels: dict[str, PodPath] = {}
        self.changes = 0

    def refresh(self, now: float) -> None:
        """Kubepods itself is looked for once a minute, what is in it at each call; `now` in
        monotonic seconds."""
        before = len(self.containers), len(self.pods), len(self.levels)
        self._changed = False
        if now >= self._search_at:
            self._search_at = now + _SEARCH_SECONDS
            self._search()
        self._turn = (self._turn + 1) % _QUIET_TURNS
        for number, path in enumerate(list(self._links)):
            if path not in self._links:
                continue  # one above it took it along
            if (number + self._turn) % _QUIET_TURNS == 0 or now < self._quiet_from[path]:
                self._look(path, now)
        if self._changed or before != (len(self.containers), len(self.pods), len(self.levels)):
            self.changes += 1

    def lost(self, path: str) -> None:
        """The cgroup's files could not be read: it is gone, and what holds it is listed anew."""
        self._drop(path)
        holder = path.rpartition("/")[0]
        if holder in self._links:
            self._watch(holder)
        self.changes += 1

    def _watch(self, path: str) -> None:
        """To be listed at the next look, which is soon."""
        self._links[path] = _UNKNOWN
        self._quiet_from[path] = float("inf")

    def _look(self, path: str, now: float) -> None:
        try:
            links = os.stat(self._folder + path).st_nlink  # noqa: PTH116
        except OSError:
            self._drop(path)
            return
        if links != self._links[path] or links < 2:
            self._links[path] = links
            if path in self.pods:
                self._quiet_from[path] = now + _YOUNG_SECONDS
            self._list(path, now)

    def _list(self, path: str, now: float) -> None:
        found = {f"{path}/{name}" for name in self._folders(path)}
        before = self._children.get(path, set())
        self._children[path] = found
        for child in before - found:
            self._drop(child)
        in_pod = path in self.pods
        for child in sorted(found - before):
            pod = read_path(child)
            if pod.container:
                self._changed = True
                self.containers[child] = pod
            elif not in_pod:
                self._changed = True
                (self.pods if pod.uid else self.levels)[child] = pod
                self._watch(child)
                self._look(child, now)

    def _drop(self, path: str) -> None:
        self._quiet_from.pop(path, None)
        for kept in (self.containers, self.pods, self.levels, self._links):
            if kept.pop(path, None) is not None:
                self._changed = True
        self._children.get(path.rpartition("/")[0], set()).discard(path)
        for child in self._children.pop(path, ()):
            self._drop(child)

    def _search(self) -> None:
        """Finds kubepods at any place that kubelet may have been told, and containers that
        containerd put beside it (":cri-containerd:"), which are looked for only here."""
        beside = {path for path in self.containers if ":" in path.rpartition("/")[2]}
        for path in self._candidates("", 1):
            pod = read_path(path)
            if pod.container:
                beside.discard(path)
                self._changed = self._changed or path not in self.containers
                self.containers[path] = pod
            elif not pod.uid and path not in self._links:
                self._changed = True
                self.levels[path] = pod
                self._watch(path)
        for path in beside:
            self._drop(path)

    def _candidates(self, path: str, depth: int) -> Iterator[str]:
        try:
            links = os.stat(self._folder + path).st_nlink  # noqa: PTH116
        except OSError:
            return
        if links == 2:  # nothing in it
            return
        for name in self._folders(path):
            child = f"{path}/{name}" if path else name
            if is_kubepods(name):
                yield child
            elif depth < _SEARCH_DEPTH:
                yield from self._candidates(child, depth + 1)

    def _folders(self, path: str) -> list[str]:
        try:
            with os.scandir(self._folder + path) as entries:
                return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []  # removed meanwhile
