"""Usage of all online and all offline pods: read from the cgroups that hold them, not added up.

The rule: a cgroup's totals have in them what ended pods had, so a class's never fall because a
pod ends. Offline is the sum of the offline roots; online is kubepods less those of them in it.
Where annotations count, single pods are offline too, and come and go: then counters are what was
used since the agent began.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.errors import NoData
from exporter.host.cgroup_stat import Usage, UsageReader
from exporter.host.kubepods import levels
from exporter.host.open_files import Gone
from exporter.metrics.table import FastFamily, Shape
from exporter.usage.pods import TREE_AGE_SECONDS, Kubepods, Offline
from exporter.usage.series import Kind, Series

_MEASURES: tuple[tuple[str, Kind, str, str], ...] = (
    ("cpu_seconds", "counter", "cpu_usage_seconds_total", "Time on CPUs"),
    ("working_set_bytes", "gauge", "memory_working_set_bytes", "Memory less inactive files"),
    ("read_bytes", "counter", "fs_reads_bytes_total", "Bytes read from block devices"),
    ("written_bytes", "counter", "fs_writes_bytes_total", "Bytes written to block devices"),
)
_AT = tuple(Usage._fields.index(name) for name, *_ in _MEASURES)
_SHAPES = tuple(
    Shape(kind, f"kernmesh_class_{name}", f"{text}, all pods of the class.", ["class"])
    for _, kind, name, text in _MEASURES
)
_SERIES = {
    each: tuple(Series(f"class/{each}.{measure}", kind) for measure, kind, *_ in _MEASURES)
    for each in ("online", "offline")
}
Totals = tuple[float | None, ...]
"""By _MEASURES; None where no cgroup says."""


class _Places(NamedTuple):
    """The kubepods cgroups, and the topmost offline ones."""

    roots: frozenset[str]
    offline: frozenset[str]


class _Online(NamedTuple):
    """Of the reading before: all of kubepods, and what was said of the online part."""

    whole: Totals
    rest: Totals


class _Growing:
    """A sum over cgroups that come and go: of counters what they have grown since each was first
    read, of gauges what they are now. One that is new, or was gone, begins where it is."""

    def __init__(self) -> None:
        self._last: Mapping[str, Totals] = {}
        self._grown = [0.0] * len(_MEASURES)

    def take(self, readings: Mapping[str, Totals]) -> Totals:
        for path, read in readings.items():
            before = self._last.get(path)
            for at, (old, new) in enumerate(zip(before or (), read, strict=before is not None)):
                if old is not None and new is not None:
                    self._grown[at] += new if new < old else new - old
        self._last = readings
        now = _sum(readings.values()) or (0.0,) * len(_MEASURES)
        return tuple(
            grown if kind == "counter" and value is not None else value
            for (_, kind, *_), grown, value in zip(_MEASURES, self._grown, now, strict=True)
        )


class ClassUsage:
    """A source of the store and a collector. Any thread may call."""

    def __init__(
        self, kubepods: Kubepods, offline: Offline, clock: Clock, annotated: bool = False
    ) -> None:
        """`annotated`: pods may be offline by their annotations."""
        self._growing = (_Growing(), _Growing(), _Growing()) if annotated else None
        self._had_offline = False
        self._kubepods = kubepods
        self._offline = offline
        self._clock = clock
        self._readers: dict[str, UsageReader] = {}
        # Bare hosts may have offline work in a cgroup of its own, beside kubepods or without.
        self._elsewhere = offline.elsewhere
        self._before: _Places | None = None
        self._online: _Online | None = None

    def totals(self, now: float) -> dict[str, Totals]:
        """By class; a class that has no cgroup is not in it. Raises NoData where there is none."""
        with self._kubepods.turn:
            places = self._places(now)
            if places != self._before:
                self._before = places
                if self._growing is None:
                    self._online = None
                for path in self._readers.keys() - places.roots - places.offline:
                    self._readers.pop(path).close()
            # The parts first: what runs in between then makes the rest larger, never smaller.
            parts = {path: read for path in places.offline if (read := self._read(path))}
            whole = {path: read for path in places.roots if (read := self._read(path))}
            within = {path: read for path, read in parts.items() if _in_kubepods(path)}
            if self._growing is not None:
                beside = {path: read for path, read in parts.items() if path not in within}
                return self._since_the_start(whole, within, beside)
            found = {}
            if whole:
                found["online"] = self._rest(_sum(whole.values()), _sum(within.values()))
            if parts:
                found["offline"] = _sum(parts.values())
            return found

    def _since_the_start(self, *readings: Mapping[str, Totals]) -> dict[str, Totals]:
        """Of kubepods, of what is offline in it and of what is beside it."""
        assert self._growing is not None
        totals = [sums.take(each) for sums, each in zip(self._growing, readings, strict=True)]
        whole, within, beside = totals
        found = {}
        if readings[0]:
            found["online"] = self._rest(whole, within)
        self._had_offline = self._had_offline or bool(readings[1] or readings[2])
        if self._had_offline:
            found["offline"] = _sum((within, beside))
        return found

    def _places(self, now: float) -> _Places:
        try:
            tree = self._kubepods.tree(now, TREE_AGE_SECONDS)
        except NoData:
            if not self._elsewhere:
                raise
            return _Places(frozenset(), self._elsewhere)
        roots = {path for path in tree.levels if len(levels(path)) == 1}
        offline = {path for path in tree.levels if self._offline.has(path)}
        offline |= {path for path, pod in tree.pods.items() if pod.uid in self._offline.pods}
        topmost = {
            path for path in offline if not any(path.startswith(f"{other}/") for other in offline)
        }
        return _Places(frozenset(roots), self._elsewhere | topmost)

    def _read(self, path: str) -> Totals | None:
        reader = self._readers.get(path)
        if reader is None:
            layout, budget = self._kubepods.layout(), self._kubepods.budget
            reader = self._readers[path] = UsageReader(layout, path, budget)
        try:
            usage = reader.read()
        except (Gone, ValueError, KeyError):
            self._readers.pop(path).close()
            return None
        return tuple(usage[at] for at in _AT)

    def _rest(self, whole: Totals, part: Totals) -> Totals:
        """Of a counter, not less than before: the two readings are not of one moment. But where
        the whole fell, it is another cgroup of the same name."""
        rest = tuple(map(_less, whole, part)) if part else whole
        if self._online is not None:
            before = self._online
            rest = tuple(
                old
                if kind == "counter" and _fell(old, new) and not _fell(all_old, all_new)
                else new
                for (_, kind, *_), new, old, all_new, all_old in zip(
                    _MEASURES, rest, before.rest, whole, before.whole, strict=True
                )
            )
        self._online = _Online(whole, rest)
        return rest

    def read(self, now: float) -> Mapping[Series, float]:
        """For the store: class/<online|offline>.<measure>; nothing where there are no pods."""
        try:
            totals = self.totals(now)
        except NoData:
            return {}
        return {
            series: value
            for name, values in totals.items()
            for series, value in zip(_SERIES[name], values, strict=True)
            if value is not None
        }

    def collect(self) -> Iterable[Metric]:
        totals = self.totals(self._clock.monotonic())
        for index, shape in enumerate(_SHAPES):
            rows = {
                (name,): value
                for name, values in totals.items()
                if (value := values[index]) is not None
            }
            if rows:
                yield FastFamily.of(shape, rows)


def _less(whole: float | None, part: float | None) -> float | None:
    return None if whole is None or part is None else max(whole - part, 0.0)


def _fell(old: float | None, new: float | None) -> bool:
    return old is not None and new is not None and new < old


def _in_kubepods(path: str) -> bool:
    return levels(path)[0] == "kubepods"


def _sum(parts: Iterable[Totals]) -> Totals:
    """What one of them does not know is unknown of all; () of nothing."""
    return tuple(
        None if any(value is None for value in column) else sum(v for v in column if v is not None)
        for column in zip(*parts, strict=True)
    )
