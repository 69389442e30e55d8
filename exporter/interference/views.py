"""Views over the store: one tick for all subjects, live and in replay by the same code.

The rule: a Moment stays at the tick that it was made at, whatever is stored meanwhile, and reads
each signal of each subject once. Knows stores and signals; no rules, no detectors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext

from exporter.interference.model import Subject, WorkClass
from exporter.interference.signals import Devices, Signal, signal_of
from exporter.interference.ticks import EMPTY, RowValues, Tick
from exporter.usage.history import History
from exporter.usage.series import Series, TierName
from exporter.usage.store import Store
from exporter.usage.window import Window

_STALE_INTERVALS = (
    2.5  # a tier whose newest row is older than so many of its intervals tells nothing
)
_LOOK_FOR_DEVICES_SECONDS = 30.0


class Names:
    """What is remembered from tick to tick: how each subject's signals are read, which devices
    and jobs there are. One for each series of ticks."""

    def __init__(self) -> None:
        self.devices = Devices()
        self.jobs: tuple[str, ...] = ()
        self.rows: dict[int, RowValues] = {}
        self._signals: dict[Subject, dict[str, Signal | None]] = {}
        self._series = -1
        self._looked = float("-inf")

    def __len__(self) -> int:
        """Subjects that something is remembered of."""
        return len(self._signals)

    def of(self, subject: Subject) -> dict[str, Signal | None]:
        return self._signals.setdefault(subject, {})

    def look(self, tiers: Sequence[Tick], now: float) -> None:
        """Now and then, and when there are more or fewer series."""
        series = sum(tier.series_count for tier in tiers)
        if series == self._series and 0 <= now - self._looked < _LOOK_FOR_DEVICES_SECONDS:
            return
        self._series, self._looked = series, now
        disks, links, jobs = set[str](), set[str](), set[str]()
        for tier in tiers:
            for name in tier.names():
                thing = name.rpartition(".")[0]
                for prefix, found in (("node.disk/", disks), ("node.net/", links), ("slo/", jobs)):
                    if thing.startswith(prefix):
                        found.add(thing[len(prefix) :])
        devices, found_jobs = Devices(tuple(sorted(disks)), tuple(sorted(links))), sorted(jobs)
        if devices != self.devices or tuple(found_jobs) != self.jobs:
            self.devices, self.jobs = devices, tuple(found_jobs)
            self._signals.clear()

    def forget(self, kept: Iterable[Subject]) -> None:
        """All but these: subjects come and go."""
        present = set(kept)
        self._signals = {each: known for each, known in self._signals.items() if each in present}


class Moment:
    """All subjects at one tick. `tiers`: the first has the tick; what it has not is looked for in
    the others, at their newest row."""

    def __init__(self, tiers: Sequence[Tick], names: Names) -> None:
        self._tiers, self._names = tuple(tiers), names
        self.now = self._tiers[0].elapsed
        names.look(self._tiers, self.now)
        self._views: dict[Subject, SubjectView] = {}

    def view(self, subject: Subject) -> "SubjectView":
        """The same one for the same subject, so that what one rule read no other reads again."""
        view = self._views.get(subject)
        if view is None:
            view = self._views[subject] = SubjectView(self, subject, self._names)
        return view

    def applications(self) -> list[Subject]:
        """The jobs that values are known of."""
        jobs = dict.fromkeys(name.partition(":")[0] for name in self._names.jobs)
        return [Subject("app", job, work="online") for job in jobs]

    def newest(self, signal: Signal) -> float | None:
        for tier in self._tiers:
            found, value = tier.newest(signal)
            if found:
                return value
        return None

    def window(self, signal: Signal, seconds: float) -> Window:
        for tier in self._tiers:
            found = tier.window(signal, seconds)
            if found is not None:
                return found
        return EMPTY


class SubjectView:
    """A View (model.py)."""

    __slots__ = ("_moment", "_names", "_signals", "_subject", "_values", "_windows", "now")

    def __init__(self, moment: Moment, subject: Subject, names: Names) -> None:
        self._moment, self._subject, self._names = moment, subject, names
        self._signals = names.of(subject)
        self._values: dict[str, float | None] = {}
        self._windows: dict[tuple[str, float], Window] = {}
        self.now = moment.now

    @property
    def subject(self) -> Subject:
        return self._subject

    def value(self, signal: str) -> float | None:
        try:
            return self._values[signal]
        except KeyError:
            found = self._signal(signal)
            value = None if found is None else self._moment.newest(found)
            self._values[signal] = value
            return value

    def window(self, signal: str, seconds: float) -> Window:
        key = signal, seconds
        window = self._windows.get(key)
        if window is None:
            found = self._signal(signal)
            window = EMPTY if found is None else self._moment.window(found, seconds)
            self._windows[key] = window
        return window

    def devices(self) -> Sequence[str]:
        return (*self._names.devices.disks, *self._names.devices.links)

    def _signal(self, name: str) -> Signal | None:
        try:
            return self._signals[name]
        except KeyError:
            names = self._names
            found = signal_of(self._subject, name, names.devices, names.jobs)
            self._signals[name] = found
            return found


# --- live, and in replay

_OF_GROUPS = (".psi.cpu", ".psi.memory", ".psi.io")  # pod_pressure.py's, of what holds pods

_TIERS: tuple[TierName, ...] = ("fast", "slow", "pods")


def live(history: History, names: Names) -> Moment | None:
    """At the fast tier's newest tick; None before the first, and once the history is closed."""
    ticks: list[Tick] = []
    epoch = 0.0
    for name in _TIERS:
        tier = history.tier(name)
        if tier is None:
            continue
        store = tier.store
        with tier.lock:
            row = store.end - 1
            beginning = store.elapsed_at(0.0)
            if row < store.first:
                continue
            if not ticks:
                epoch = beginning
            shift = epoch - beginning
            elapsed = store.elapsed(row) + shift
        if ticks and ticks[0].elapsed - elapsed > _STALE_INTERVALS * store.shape.interval:
            continue
        ticks.append(Tick(store, row, tier.lock, names.rows.setdefault(id(store), {}), shift))
    return Moment(ticks, names) if ticks else None


def replay(store: Store) -> Iterator[Moment]:
    """Each tick of a recording, the oldest first."""
    names = Names()
    for row in range(store.first, store.end):
        yield at_row(store, row, names)


def at_row(store: Store, row: int, names: Names) -> Moment:
    """Of a store that nobody else writes meanwhile."""
    return Moment([Tick(store, row, nullcontext(), names.rows.setdefault(id(store), {}))], names)


def subjects_in(series: Iterable[Series], is_offline: Callable[[str], bool]) -> list[Subject]:
    """The containers that a recording knows, by path; what `is_offline` says not of is online."""
    found: dict[str, Subject] = {}
    for name, _ in series:
        thing = name.rpartition(".")[0]
        path = thing.removeprefix("cgroup/")
        if path != thing and "//" not in path and not path.endswith(_OF_GROUPS):
            work: WorkClass = "offline" if is_offline(path) else "online"
            found[path] = Subject("container", f"/{path}", work=work)
    return [found[path] for path in sorted(found)]
