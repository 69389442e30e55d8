"""Pressure (PSI) of pods, and of the cgroups that hold them: kubepods, burstable, besteffort, ….

Pressure files are v2's: on hybrid machines they are there for those cgroups that the unified
hierarchy has too. Where it has none, that is no error. Totals only.
"""

from collections.abc import Callable, Iterable, Mapping
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
from exporter.usage.pods import Kubepods, PodUsage
from exporter.usage.series import Series

_FRESH_SECONDS = 15.0  # whoever reads usage by pod looks for cgroups more often
# A pod whose files could not be read may have them later: v2's cgroup is not always the first.
_LOOK_AGAIN_SECONDS = 60.0
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


class _Place(NamedTuple):
    """A cgroup whose pressure is read. `what` and `labels` are those of its family."""

    what: str
    labels: tuple[str, ...]
    reader: PressureReader
    series: PressureSeries


class PodPressure:
    """A source of the store and a collector. Any thread may call."""

    def __init__(self, kubepods: Kubepods, pods: PodUsage, clock: Clock) -> None:
        self._kubepods = kubepods
        self._pods = pods
        self._clock = clock
        self._places: dict[str, _Place] = {}
        self._seen: tuple[int, int] | None = None
        self._look_at = float("inf")

    def pressures(self, now: float, what: str) -> list[tuple[_Place, Mapping[str, Pressure]]]:
        """Of every "pod", or every "cgroup" that holds pods, that has pressure files. Raises NoData
        where there are no pods."""
        with self._kubepods.turn:
            tree = self._kubepods.tree(now, _FRESH_SECONDS)
            seen = tree.changes, self._pods.look_for_names(now)
            if seen != self._seen or now >= self._look_at:
                self._seen, self._look_at = seen, float("inf")
                self._sync(tree)
            found: list[tuple[_Place, Mapping[str, Pressure]]] = []
            for path, place in list(self._places.items()):
                if place.what != what:
                    continue
                try:
                    found.append((place, place.reader.read()))
                except (Gone, KernmeshError):
                    del self._places[path]
                    place.reader.close()
                    self._look_at = min(self._look_at, now + _LOOK_AGAIN_SECONDS)
            return found

    def _sync(self, tree: PodTree) -> None:
        unified = self._kubepods.layout().pressure
        there = {path for path in tree.levels if unified and Path(unified, path).is_dir()}
        wanted: dict[str, tuple[str, ...]] = {}
        for path in sorted(there):  # a second kubepods, of the other driver, has its path as name
            name = ("/".join(levels(path)),)
            wanted[path] = (path,) if name in wanted.values() else name
        for path, pod in tree.pods.items():
            if path.rpartition("/")[0] in there:
                namespace, pod_name, _, qos, kind = self._pods.pod_labels(pod, path)
                wanted[path] = (namespace, pod_name, pod.uid, qos, kind)
        before, self._places = self._places, {}
        for path, labels in wanted.items():
            known = before.pop(path, None)
            if known is not None:
                self._places[path] = known._replace(labels=labels)
                continue
            what = "cgroup" if path in there else "pod"
            thing = f"cgroup/{labels[0]}" if what == "cgroup" else f"pod/{labels[2]}"
            reader = PressureReader(unified + path, self._kubepods.budget)
            self._places[path] = _Place(what, labels, reader, PressureSeries(thing))
        for gone in before.values():
            gone.reader.close()

    def reads(self, what: str) -> Callable[[float], Mapping[Series, float]]:
        """For the store: pod/<uid>.psi… of every "pod", cgroup/<path>.psi… of every "cgroup"."""

        def read(now: float) -> Mapping[Series, float]:
            try:
                found = self.pressures(now, what)
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
