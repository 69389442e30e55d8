"""Usage of containers and pods by their cgroups, with names and class: one pass reads them all.

The rule: a cgroup that is gone between listing and reading costs its own row and nothing else.
Totals are the kernel's; nothing is added up here. Knows neither families nor windows.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from exporter.errors import NoData
from exporter.host.cgroup_limits import Limits, read_limits
from exporter.host.cgroup_stat import Layout, Usage, UsageReader, layout_of
from exporter.host.kubepods import PodPath, levels
from exporter.host.mounts import cgroup_mounts
from exporter.host.open_files import Descriptors, Gone, affordable
from exporter.host.podtree import PodTree
from exporter.host.text import read_text
from exporter.hostfs import HostFs
from exporter.memory import limit_bytes
from exporter.usage.podnames import Names
from exporter.usage.series import Kind, Series

TREE_AGE_SECONDS = 15.0
"""How old a tree will do for who reads every second, or seldom: whoever reads pods every ten looks
for cgroups for all."""
# Limits change seldom and cost seven files: a hundredth of all is read again at each pass.
_LIMITS_SHARE = 100
_ID_SHOWN = 12
_KEPT: tuple[tuple[str, Kind], ...] = (
    ("cpu_seconds", "counter"),
    ("throttled_periods", "counter"),
    ("throttled_seconds", "counter"),
    ("memory_bytes", "gauge"),
    ("working_set_bytes", "gauge"),
    ("read_bytes", "counter"),
    ("written_bytes", "counter"),
)
_KEPT_AT = tuple(Usage._fields.index(name) for name, _ in _KEPT)


class Offline:
    """Which cgroups are offline work: those at or below one of the configured roots, which are
    written as cgroupfs has them ("kubepods/besteffort") or as systemd has; and those of `pods`."""

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = tuple(levels(root) for root in roots)
        self.elsewhere = frozenset(
            root.strip("/") for root in roots if "kubepods" not in levels(root)
        )
        """Roots that are not kubelet's, as they were written."""
        self.pods: frozenset[str] = frozenset()
        """Uids of pods that are offline wherever they stand (their annotations say so); another
        set at each change."""

    def has(self, path: str, uid: str = "") -> bool:
        """`uid` is the pod's whose cgroup it is, or is in; "" where that does not matter."""
        return uid in self.pods or self.in_roots(path)

    def in_roots(self, path: str) -> bool:
        place = levels(path)
        return any(place[: len(root)] == root for root in self._roots)


class Kubepods:
    """The node's pod cgroups, found once for all who read them. Hold `turn` while using it."""

    def __init__(self, fs: HostFs) -> None:
        self._fs = fs
        self._layout: Layout | None = None
        self._tree: PodTree | None = None
        self._fresh_until = float("-inf")
        self.budget = Descriptors(affordable(limit_bytes(fs)))
        self.turn = threading.RLock()

    def layout(self) -> Layout:
        """Raises NoData where nothing accounts for cgroups, OSError where that cannot be read."""
        if self._layout is None:
            mounts = cgroup_mounts(self._fs)
            if not mounts:
                with suppress(FileNotFoundError):
                    read_text(str(self._fs.proc / "self/mountinfo"))
            self._layout = layout_of(mounts)
        return self._layout

    def tree(self, now: float, age: float = 0.0) -> PodTree:
        """As it was at most `age` seconds ago. Raises NoData where there are no pods to see."""
        if self._tree is None:
            self._tree = PodTree(self.layout().listing)
        if now >= self._fresh_until + age:
            self._tree.refresh(now)
            self._fresh_until = now
        if not self._tree.levels and not self._tree.containers:
            raise NoData("no kubepods cgroup here: this node runs no pods")
        return self._tree


class Labels(NamedTuple):
    """Where there is no name, `namespace` is "", `pod` the uid and `container` the first twelve
    digits of the id, which also tell two apart that bear one name (one of them ending)."""

    namespace: str
    pod: str
    container: str
    qos: str
    kind: str


class Container:
    """One container's cgroup. `limits` are those of the last time they were read, `kept` the usage
    that the store has last been given."""

    __slots__ = ("kept", "labels", "limits", "pod", "reader", "series")

    def __init__(self, pod: PodPath, labels: Labels, reader: UsageReader, limits: Limits) -> None:
        self.pod, self.labels, self.reader, self.limits = pod, labels, reader, limits
        self.kept: Usage | None = None
        thing = f"pod/{pod.uid}/{labels.container}"
        self.series = tuple(Series(f"{thing}.{name}", kind) for name, kind in _KEPT)


def _key(labels: Labels) -> tuple[str, str, str]:
    return labels.namespace, labels.pod, labels.container


class Row(NamedTuple):
    container: Container
    usage: Usage


class PodUsage:
    """Any thread may call; callers wait for one another."""

    def __init__(self, kubepods: Kubepods, names: Names | None, offline: Offline) -> None:
        """`names` None: nobody is to be asked for names."""
        self._kubepods = kubepods
        self._names = names
        self._offline = offline
        self._containers: dict[str, Container] = {}
        self._seen: tuple[int, int] | None = None
        self._next_limits = 0
        self._there: list[Container] = []
        self._values: dict[Series, float] = {}

    def rows(self, now: float) -> list[Row]:
        """Every container that could be read, in the same order while they stay the same. `now`
        in monotonic seconds. Raises NoData where there are no pods."""
        with self._kubepods.turn:
            tree = self._kubepods.tree(now)
            self._sync(tree, now)
            rows = []
            for path, container in self._containers.items():
                try:
                    rows.append(Row(container, container.reader.read()))
                except (Gone, ValueError, KeyError):  # a text cut short says as little as none
                    tree.lost(path)
            self._read_some_limits()
            return rows

    def read(self, now: float) -> Mapping[Series, float]:
        """For the store: pod/<uid>/<container>.<measure>; nothing where there are no pods."""
        with self._kubepods.turn:
            try:
                rows = self.rows(now)
            except NoData:
                return {}
            there = [row.container for row in rows]
            if there != self._there:
                self._there, self._values = there, {}
                for container in there:
                    container.kept = None
            values = self._values
            for container, usage in rows:
                if usage is container.kept:  # most pods rest most of the time
                    continue
                container.kept = usage
                for series, at in zip(container.series, _KEPT_AT, strict=True):
                    value = usage[at]
                    if value is not None:
                        values[series] = value
                    else:
                        values.pop(series, None)
            return values.copy()

    def runs(self) -> Mapping[str, int]:
        """By uid, of pods with containers: a number that is another one where any of them has run
        between two readings. With `turn` held."""
        found: dict[str, int] = {}
        for container in self._containers.values():
            uid = container.pod.uid
            found[uid] = found.get(uid, 0) + container.reader.runs
        return found

    def look_for_names(self, now: float) -> int:
        """Reads names where they seem to have changed; the answer is another number where they
        did, so that who keeps labels makes them anew. With `turn` held."""
        if self._names is None:
            return 0
        nameless = any(not each.labels.namespace for each in self._containers.values())
        self._names.refresh(now, nameless)
        return self._names.changes

    def pod_labels(self, pod: PodPath, path: str) -> Labels:
        """Of a pod's own cgroup: `container` is ""."""
        named = self._names.pods.get(pod.uid) if self._names else None
        namespace, name = named or ("", pod.uid)
        kind = "offline" if self._offline.has(path, pod.uid) else "online"
        return Labels(namespace, name, "", pod.qos, kind)

    def _sync(self, tree: PodTree, now: float) -> None:
        seen = tree.changes, self.look_for_names(now)
        if seen == self._seen:
            return
        renamed = self._seen is None or self._seen[1] != seen[1]
        self._seen = seen
        before, self._containers = self._containers, {}
        layout = self._kubepods.layout()
        taken = {} if renamed else {_key(each.labels): path for path, each in before.items()}
        for path, pod in tree.containers.items():
            known = before.pop(path, None)
            if known is not None and not renamed:
                self._containers[path] = known
                continue
            labels = self._labels(pod, path, taken)
            reader = known.reader if known else UsageReader(layout, path, self._kubepods.budget)
            limits = known.limits if known else read_limits(layout, path)
            self._containers[path] = Container(pod, labels, reader, limits)
        for gone in before.values():
            gone.reader.close()

    def _labels(self, pod: PodPath, path: str, taken: dict[tuple[str, str, str], str]) -> Labels:
        """`taken`: which path has a name; a pod that is made anew has that of the one ending."""
        short = pod.container[:_ID_SHOWN]
        name = (self._names.containers.get(pod.container) if self._names else None) or short
        labels = self.pod_labels(pod, path)._replace(container=name)
        if taken.setdefault(_key(labels), path) == path:
            return labels
        return labels._replace(container=f"{name}-{short}")

    def _read_some_limits(self) -> None:
        paths = list(self._containers)
        layout = self._kubepods.layout()
        for _ in range(-(-len(paths) // _LIMITS_SHARE)):
            self._next_limits = (self._next_limits + 1) % len(paths)
            path = paths[self._next_limits]
            self._containers[path].limits = read_limits(layout, path)
