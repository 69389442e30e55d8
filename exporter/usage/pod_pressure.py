"""Pressure (PSI) of pods, and of the cgroups that hold them: kubepods, burstable, besteffort, ….

Pressure files are v2's: on hybrid machines they are there for those cgroups that the unified
hierarchy has too. Where it has none, that is no error. Totals only.

The store's readings leave out pods that rest: whoever is to wait must have run, or waits already
and is seen to. Of two hundred pods those are a third of all the readings of a tick.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.errors import KernmeshError, NoData
from exporter.host.kubepods import levels
from exporter.host.open_files import Gone
from exporter.host.podtree import PodTree
from exporter.host.psi import Pressure, PressureReader, PressureSeries
from exporter.metrics.table import FastFamily, Shape
from exporter.usage.pods import TREE_AGE_SECONDS, Kubepods, PodUsage
from exporter.usage.series import Series

# A pod whose files could not be read may have them later: v2's cgroup is not always the first.
_LOOK_AGAIN_SECONDS = 60.0
_RESTING_TURNS = 6
_POD_LABELS = ("namespace", "pod", "uid", "qos", "class")
_WORDS = {
    "some": ("waiting", "Time in which some task waited for the resource."),
    "full": ("stalled", "Time in which no task could work for want of the resource."),
}
_SHAPES = {
    (what, kind): Shape(
        "counter",
        f"kernmesh_{what}_pressure_{word}_seconds_total",
        text,
        (*labels, "resource"),
    )
    for what, labels in (("pod", _POD_LABELS), ("cgroup", ("cgroup",)))
    for kind, (word, text) in _WORDS.items()
}


class _Rest:
    """Whether a pod's pressure is worth reading. It is not where none of its containers has run and
    nobody waited at the last reading, which would have counted those who still did. Each has a turn
    in six when it is read whatever was: who was woken since may not have come to run."""

    __slots__ = ("_quiet", "_read", "_runs", "_turn")

    def __init__(self, path: str) -> None:
        self._turn = hash(path) % _RESTING_TURNS  # so that not all are read all at once
        self._read: Mapping[str, Pressure] | None = None
        self._runs: int | None = None
        self._quiet = False

    def last(self, runs: int | None, turn: int) -> Mapping[str, Pressure] | None:
        """What was read last, None where it is to be read again. `runs` as PodUsage.runs() has it,
        None where that is not known."""
        if runs is None or runs != self._runs or turn % _RESTING_TURNS == self._turn:
            return None
        return self._read if self._quiet else None

    def take(self, runs: int | None, read: Mapping[str, Pressure]) -> None:
        self._quiet = read == self._read
        self._read, self._runs = read, runs


class _Place(NamedTuple):
    """A cgroup whose pressure is read. `what` and `labels` are those of its family, `uid` a pod's,
    "" for what holds pods."""

    uid: str
    labels: tuple[str, ...]
    reader: PressureReader
    series: PressureSeries
    rest: _Rest

    @property
    def what(self) -> str:
        return "pod" if self.uid else "cgroup"


class _Found(NamedTuple):
    place: _Place
    pressures: Mapping[str, Pressure]


class PodPressure:
    """A source of the store and a collector. Any thread may call."""

    def __init__(self, kubepods: Kubepods, pods: PodUsage, clock: Clock) -> None:
        self._kubepods = kubepods
        self._pods = pods
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._seen: tuple[int, int] | None = None
        self._look_at = float("inf")
        self._turn = 0

    def pressures(self, now: float, what: str) -> list[_Found]:
        """Of every "pod", or every "cgroup" that holds pods, that has pressure files. Raises NoData
        where there are no pods."""
        with self._kubepods.turn:
            places = self._places_of(now, what)
            return list(self._read(now, places))

    def _kept(self, now: float) -> list[_Found]:
        """The same of pods, where those that rest are as they were when this was last asked."""
        with self._kubepods.turn:
            places = self._places_of(now, "pod")
            runs = self._pods.runs()
            self._turn += 1
            found, moving = [], {}
            for path, place in places.items():
                last = place.rest.last(runs.get(place.uid), self._turn)
                if last is None:
                    moving[path] = place
                else:
                    found.append(_Found(place, last))
            for place, read in self._read(now, moving):
                place.rest.take(runs.get(place.uid), read)
                found.append(_Found(place, read))
            return found

    def _places_of(self, now: float, what: str) -> dict[str, _Place]:
        tree = self._kubepods.tree(now, TREE_AGE_SECONDS)
        seen = tree.changes, self._pods.look_for_names(now)
        if seen != self._seen or now >= self._look_at:
            self._seen, self._look_at = seen, float("inf")
            self._sync(tree)
        return {path: place for path, place in self._places.items() if place.what == what}

    def _read(self, now: float, places: Mapping[str, _Place]) -> Iterator[_Found]:
        for path, place in places.items():
            try:
                yield _Found(place, place.reader.read())
            except (Gone, KernmeshError):
                del self._places[path]
                place.reader.close()
                self._look_at = min(self._look_at, now + _LOOK_AGAIN_SECONDS)

    def _sync(self, tree: PodTree) -> None:
        unified = self._kubepods.layout().pressure
        there = {path for path in tree.levels if unified and Path(unified, path).is_dir()}
        wanted: dict[str, tuple[str, ...]] = {}
        uids: dict[str, str] = {}
        for path in sorted(there):  # a second kubepods, of the other driver, has its path as name
            name = ("/".join(levels(path)),)
            wanted[path] = (path,) if name in wanted.values() else name
        for path, pod in tree.pods.items():
            if path.rpartition("/")[0] in there:
                namespace, pod_name, _, qos, kind = self._pods.pod_labels(pod, path)
                wanted[path] = (namespace, pod_name, pod.uid, qos, kind)
                uids[path] = pod.uid
        before, self._places = self._places, {}
        for path, labels in wanted.items():
            known = before.pop(path, None)
            if known is not None:
                self._places[path] = known._replace(labels=labels)
                continue
            uid = uids.get(path, "")
            thing = f"pod/{uid}" if uid else f"cgroup/{labels[0]}"
            reader = PressureReader(unified + path, self._kubepods.budget)
            self._places[path] = _Place(uid, labels, reader, PressureSeries(thing), _Rest(path))
        for gone in before.values():
            gone.reader.close()

    def reads(self, what: str) -> Callable[[float], Mapping[Series, float]]:
        """For the store: pod/<uid>.psi… of every "pod", cgroup/<path>.psi… of every "cgroup"."""

        def read(now: float) -> Mapping[Series, float]:
            try:
                found = self._kept(now) if what == "pod" else self.pressures(now, what)
            except NoData:
                return {}
            kept: dict[Series, float] = {}
            for place, pressures in found:
                kept.update(place.series.values(pressures))
            return kept

        return read

    def collect(self) -> Iterable[Metric]:
        rows: dict[tuple[str, str], dict[tuple[str, ...], float]] = {key: {} for key in _SHAPES}
        now = self._clock.monotonic()
        for place, found in (*self.pressures(now, "cgroup"), *self.pressures(now, "pod")):
            for resource, pressure in found.items():
                for kind, value in zip(Pressure._fields, pressure, strict=True):
                    if value is not None:
                        rows[place.what, kind][(*place.labels, resource)] = value
        if not any(rows.values()):
            raise NoData("no cgroup of a pod has pressure files here: they need PSI and cgroup v2")
        for key, values in rows.items():
            if values:
                yield FastFamily.of(_SHAPES[key], values)
