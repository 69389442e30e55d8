"""Views over the store: one tick for all subjects, live and in replay by the same code.

The rule: a Moment stays at the tick that it was made at, whatever is stored meanwhile, and reads
each signal of each subject once. Knows stores and signals; no rules, no detectors.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import NamedTuple

from exporter.interference.model import Subject, WorkClass
from exporter.interference.signals import Devices, Signal, signal_of
from exporter.usage.history import History
from exporter.usage.series import Series, TierName
from exporter.usage.store import Store
from exporter.usage.subjects import Subject as Chosen
from exporter.usage.window import Window

_STALE_INTERVALS = (
    2.5  # a tier whose newest row is older than so many of its intervals tells nothing
)
_LOOK_FOR_DEVICES_SECONDS = 30.0
_FEW_ROWS = 16  # up to so many are read whole, once for all signals; more by column
EMPTY = Window((), (), ())


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

    def of(self, subject: Subject) -> dict[str, Signal | None]:
        return self._signals.setdefault(subject, {})

    def look(self, tiers: Sequence["Tick"], now: float) -> None:
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


RowValues = dict[int, Sequence[float]]
"""Of one store: values by column of the rows that were looked at lately."""


class _Stretch(NamedTuple):
    start: int
    stop: int
    times: Sequence[float]
    spans: Sequence[float]


class Tick:
    """A store at one of its rows. `shift` makes its elapsed seconds those of the first tier's;
    `lock` is held for as long as something is copied."""

    def __init__(
        self,
        store: Store,
        row: int,
        lock: AbstractContextManager[object],
        rows: "RowValues",
        shift: float = 0.0,
    ) -> None:
        self._store, self._row, self._lock, self._shift = store, row, lock, shift
        with lock:
            self.elapsed = store.elapsed(row) + shift
            before = store.elapsed(row - 1) if row > store.first else None
            self.series_count = len(store.series())
        self._span = None if before is None else self.elapsed - shift - before
        self._rows = rows
        self._stretches: dict[float, _Stretch] = {}

    def names(self) -> list[str]:
        with self._lock:
            return [series.name for series in self._store.series()]

    def newest(self, signal: Signal) -> tuple[bool, float | None]:
        """Whether this store has the series at all, and the signal at its row."""
        row = self._row
        values = self._row_values(row)
        with self._lock:
            columns = [self._store.column(series, row) for series in signal.inputs]
        known: list[float] = []
        found = False
        for series, column in zip(signal.inputs, columns, strict=True):
            if column >= 0:
                found = True
                if column < len(values):
                    value = values[column]
                    if series.kind == "counter":
                        value = value / self._span if self._span else float("nan")
                    if value == value:  # NaN is not itself
                        known.append(value)
                        continue
            if not signal.partial:
                return found, None
        return found, _reckoned(signal, known)

    def _row_values(self, row: int) -> Sequence[float]:
        """By column; read once, whoever asks, at this tick or one after it."""
        values = self._rows.get(row)
        if values is None:
            with self._lock:
                values = self._store.row_values(row) if row >= self._store.first else ()
            for old in [each for each in self._rows if each <= row - 2 * _FEW_ROWS]:
                del self._rows[old]
            self._rows[row] = values
        return values

    def window(self, signal: Signal, seconds: float) -> Window | None:
        """None where this store has none of the series."""
        store = self._store
        rows = self._stretches.get(seconds) or self._stretch(seconds)
        start = rows.start
        with self._lock:
            columns = [store.column(series, self._row) for series in signal.inputs]
            if not signal.partial and start < rows.stop:
                for series, column in zip(signal.inputs, columns, strict=True):
                    if column >= 0 and store.column(series, start) < 0:  # it came later
                        start = max(start, store.since(series))
        if max(columns) < 0:
            return None
        if not signal.partial and min(columns) < 0:
            return EMPTY
        if start >= rows.stop:
            return EMPTY
        own = [column for column in columns if column >= 0]
        if rows.stop - start <= _FEW_ROWS:
            lists = [self._row_values(row) for row in range(start, rows.stop)]
            nan = float("nan")
            values = [[v[at] if at < len(v) else nan for v in lists] for at in own]
        else:
            with self._lock:
                values = [store.column_values(column, start, rows.stop) for column in own]
        kinds = [
            s.kind == "counter" for s, at in zip(signal.inputs, columns, strict=True) if at >= 0
        ]
        skip = start - rows.start
        if skip:
            return _joined(signal, rows.times[skip:], rows.spans[skip:], values, kinds)
        return _joined(signal, rows.times, rows.spans, values, kinds)

    def _stretch(self, seconds: float) -> _Stretch:
        store = self._store
        with self._lock:
            start = store.row_after(self.elapsed - self._shift - seconds)
            stop = self._row + 1
            times = store.times(start, stop)
            first = store.elapsed(start - 1) if start > store.first else None
        spans = [b - a for a, b in pairwise(times)]
        spans.insert(0, 0.0 if first is None or not times else times[0] - first)
        shifted = [at + self._shift for at in times] if self._shift else times
        found = self._stretches[seconds] = _Stretch(start, stop, shifted, spans)
        return found


def _reckoned(signal: Signal, known: Sequence[float]) -> float | None:
    if not known:
        return None
    return known[0] if signal.reckon is None else signal.reckon(known)


def _of_one(times: Sequence[float], spans: Sequence[float], values: Sequence[float]) -> Window:
    """A counter's rates, nothing else to be reckoned: what is asked most."""
    rates = [
        (at, span, value / span)
        for at, span, value in zip(times, spans, values, strict=True)
        if value == value and span > 0
    ]
    return Window([r[0] for r in rates], [r[1] for r in rates], [r[2] for r in rates])


def _joined(
    signal: Signal,
    times: Sequence[float],
    spans: Sequence[float],
    columns: Sequence[Sequence[float]],
    counters: Sequence[bool],
) -> Window:
    if signal.reckon is None and counters[0]:
        return _of_one(times, spans, columns[0])
    elapsed: list[float] = []
    kept: list[float] = []
    values: list[float] = []
    for at, span, *row in zip(times, spans, *columns, strict=True):
        known = []
        for value, counter in zip(row, counters, strict=True):
            if value == value and (span > 0 or not counter):
                known.append(value / span if counter else value)
            elif not signal.partial:
                break
        else:
            answer = _reckoned(signal, known)
            if answer is not None:
                elapsed.append(at)
                kept.append(span)
                values.append(answer)
    return Window(elapsed, kept, values)


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


def containers(chosen: Iterable[Chosen]) -> list[Subject]:
    """As rules are asked of those that usage reads one by one (exporter/usage/subjects.py)."""
    return [
        Subject(
            "container",
            f"/{each.path.strip('/')}",
            uid=each.uid or "",
            work="offline" if each.kind == "offline" else "online",
        )
        for each in chosen
    ]


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
