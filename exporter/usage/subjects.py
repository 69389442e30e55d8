"""Chosen cgroups every second: what detection looks at, one by one and not by class only.

The rule: nothing is opened for a cgroup that nobody chose, and one that is gone costs its own
values and nothing else. Totals are the kernel's. Knows neither rules nor windows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from exporter.errors import KernmeshError, NoData
from exporter.host.cgroup_stat import Layout, Usage, UsageReader
from exporter.host.open_files import Descriptors, Gone
from exporter.host.psi import PressureReader
from exporter.usage.pods import TREE_AGE_SECONDS, Kubepods, Offline
from exporter.usage.series import Kind, Series

MOST_SUBJECTS = 500
# Where a cgroup has no pressure files (hybrid: it may get its place in v2 later), or is not there
# at all, the next look is so many readings later.
_LOOK_AGAIN_READINGS = 5
# The kernel brings PSI's totals up to date every 2 s (kernel/sched/psi.c, PSI_FREQ), so half of
# the cgroups are asked at each reading of a second.
_PRESSURE_READINGS = 2

_USAGE: Mapping[str, tuple[Kind, str]] = {
    "cpu_seconds": ("counter", "cpu_seconds"),
    "throttled_seconds": ("counter", "throttled_seconds"),
    "throttled_periods": ("counter", "throttled_periods"),
    "working_set_bytes": ("gauge", "working_set_bytes"),
    "memory_bytes": ("gauge", "memory_bytes"),
    "cache_bytes": ("gauge", "cache_bytes"),
    "read_bytes": ("counter", "read_bytes"),
    "written_bytes": ("counter", "written_bytes"),
    "read_ios": ("counter", "reads"),
    "written_ios": ("counter", "writes"),
    "pids": ("gauge", "tasks"),
}
_PRESSURE: Mapping[str, tuple[str, int]] = {
    f"{resource}_{kind}_seconds": (resource, at)
    for resource in ("cpu", "memory", "io")
    for at, kind in enumerate(("some", "full"))
}
MEASURES: tuple[str, ...] = (*_USAGE, *_PRESSURE)
"""What stands after the last dot of `cgroup/<path>.<measure>`. `…_some_seconds` and
`…_full_seconds` are PSI totals, which the kernel brings up to date every 2 s only, and which are
read as often: deltas over less than 4 s say nothing."""


class Subject(NamedTuple):
    """`path` below the hierarchies' mounts, as /proc/<pid>/cgroup has it ("/" at its begin or
    not). `kind` is "online" or "offline". `uid` is the pod's, None where it is not a pod's."""

    path: str
    kind: str
    uid: str | None = None


Chosen = Callable[[], Iterable[Subject]]
"""Which are to be read at this tick; called at each. NoData is as good as none."""


def thing_of(path: str) -> str:
    """What stands before a measure in the names of its series: "cgroup/kubepods/burstable/pod…"."""
    return f"cgroup/{path.strip('/')}"


def series_of(path: str, measure: str) -> Series:
    """The name under which the store has it. Raises KeyError for no measure of MEASURES."""
    kind: Kind = "counter" if measure in _PRESSURE else _USAGE[measure][0]
    return Series(f"{thing_of(path)}.{measure}", kind)


class PodSubjects:
    """A `Chosen`: the configured offline cgroups that are not kubelet's, and every pod's own
    cgroup, offline ones first; `most` of them at most."""

    def __init__(
        self,
        kubepods: Kubepods,
        offline: Offline,
        now: Callable[[], float],
        most: int = MOST_SUBJECTS,
    ) -> None:
        """`now` in monotonic seconds."""
        self._kubepods, self._offline, self._now, self._most = kubepods, offline, now, most
        self._seen: tuple[int, frozenset[str]] | None = None
        self._elsewhere = [Subject(path, "offline") for path in sorted(offline.elsewhere)]
        self._found = self._elsewhere
        self.left_out = 0
        """Pods that found no room at the last call."""

    def __call__(self) -> Sequence[Subject]:
        """Raises NoData where nothing accounts for cgroups."""
        with self._kubepods.turn:
            try:
                tree = self._kubepods.tree(self._now(), TREE_AGE_SECONDS)
            except NoData:
                if not self._elsewhere:
                    raise
                return self._elsewhere
            seen = tree.changes, self._offline.pods
            if seen != self._seen:
                self._seen = seen
                pods = [
                    Subject(path, self._kind(path, pod.uid), pod.uid)
                    for path, pod in tree.pods.items()
                ]
                everything = self._elsewhere + sorted(pods, key=lambda pod: (pod.kind, pod.path))
                self._found = everything[: self._most]
                self.left_out = len(everything) - len(self._found)
            return self._found

    def _kind(self, path: str, uid: str) -> str:
        return "offline" if self._offline.has(path, uid) else "online"


class SubjectReader:
    """A Read of `cgroup/<path>.<measure>`, of whatever `chosen` names at the tick: of `measures`
    (of MEASURES) those that the cgroup has; files that none of them needs are not opened. One
    thread at a time, its own turn among all who read cgroups."""

    def __init__(self, kubepods: Kubepods, chosen: Chosen, measures: tuple[str, ...]) -> None:
        self._kubepods, self._chosen, self._measures = kubepods, chosen, measures
        self._open: dict[str, _Cgroup] = {}

    def __call__(self, now: float) -> Mapping[Series, float]:
        """Raises NoData where nothing accounts for cgroups."""
        with self._kubepods.turn:
            layout, budget = self._kubepods.layout(), self._kubepods.budget
            try:
                chosen = list(self._chosen())
            except NoData:
                chosen = []
            values: dict[Series, float] = {}
            before, self._open = self._open, {}
            for subject in chosen:
                path = subject.path.strip("/")
                if path in self._open:
                    continue
                cgroup = before.pop(path, None)
                if cgroup is None:
                    cgroup = _Cgroup(layout, path, budget, self._measures)
                self._open[path] = cgroup
                cgroup.read(values)
            for gone in before.values():
                gone.close()
            return values


class _Cgroup:
    """One chosen cgroup: its readers, those of them that anything is asked of, and its series."""

    __slots__ = (
        "_pressure",
        "_pressure_rest",
        "_pressure_series",
        "_rest",
        "_seconds",
        "_usage",
        "_usage_series",
    )

    def __init__(
        self, layout: Layout, path: str, budget: Descriptors, measures: Sequence[str]
    ) -> None:
        self._usage_series = tuple(
            (series_of(path, measure), Usage._fields.index(_USAGE[measure][1]))
            for measure in measures
            if measure in _USAGE
        )
        self._pressure_series = tuple(
            (series_of(path, measure), *_PRESSURE[measure])
            for measure in measures
            if measure in _PRESSURE
        )
        self._usage = UsageReader(layout, path, budget) if self._usage_series else None
        self._pressure: PressureReader | None = None
        if self._pressure_series and layout.pressure:
            self._pressure = PressureReader(layout.pressure + path, budget)
        self._rest = [0, 0]  # readings until each is looked for again
        self._pressure_rest = hash(path) % _PRESSURE_READINGS  # the first: not all at once
        self._seconds: dict[Series, float] = {}  # waited, as of the last time it was asked

    def read(self, values: dict[Series, float]) -> None:
        """Adds what is known now."""
        if self._usage is not None and self._awake(0):
            try:
                usage = self._usage.read()
            except (Gone, ValueError, KeyError):  # a text cut short says as little as none
                self._lost(0, self._usage)
                self._rest[1] = 0  # gone or not, what was is not what is
            else:
                for series, at in self._usage_series:
                    value = usage[at]
                    if value is not None:
                        values[series] = value
        if self._pressure is not None:
            if self._awake(1):
                self._seconds = {}
                try:
                    pressures = self._pressure.read()
                except (Gone, KernmeshError):
                    self._lost(1, self._pressure)
                else:
                    self._rest[1] = self._pressure_rest
                    self._pressure_rest = _PRESSURE_READINGS - 1
                    for series, resource, at in self._pressure_series:
                        pressure = pressures.get(resource)
                        if pressure is not None and (seconds := pressure[at]) is not None:
                            self._seconds[series] = seconds
            values.update(self._seconds)

    def _awake(self, which: int) -> bool:
        if self._rest[which]:
            self._rest[which] -= 1
            return False
        return True

    def _lost(self, which: int, reader: UsageReader | PressureReader) -> None:
        reader.close()
        self._rest[which] = _LOOK_AGAIN_READINGS - 1

    def close(self) -> None:
        if self._usage is not None:
            self._usage.close()
        if self._pressure is not None:
            self._pressure.close()
