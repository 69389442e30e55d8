"""Node and pod usage over time, put together: sources at their pace, stores, gauges.

Each tier is written by one thread, its own; whoever asks takes the tier's lock for as long as
copying a window takes. Windows themselves are pure and are reckoned outside it.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from exporter.clock import Clock
from exporter.config.agent import Usage
from exporter.hostfs import HostFs
from exporter.usage import grammar, window
from exporter.usage.gauges import DECIMALS, USAGE, Gauges
from exporter.usage.prediction import IdleResources
from exporter.usage.sampler import Pause, Sample, Sampler, at_pace
from exporter.usage.series import Read, Series, Source, TierName
from exporter.usage.statedir import StateDir, TierPlan, now_of, open_stores
from exporter.usage.store import Store
from exporter.usage.window import Window

FAST_SPAN = 900.0
PODS_SPAN = 3600.0
# What was read so many intervals ago is not what is: a source hangs, and its tier with it.
STALE_INTERVALS = 3.0

log = logging.getLogger(__name__)


def plans(settings: Usage) -> dict[TierName, TierPlan]:
    interval, fast = float(settings.interval), float(settings.fast_interval)
    return {
        "fast": TierPlan(fast, max(FAST_SPAN, fast)),
        "slow": TierPlan(interval, float(settings.retention)),
        "pods": TierPlan(interval, min(max(PODS_SPAN, interval), float(settings.retention))),
    }


def names_of(settings: Usage) -> tuple[str, ...]:
    """What is computed: the built-in names, and those configured besides."""
    configured = (metric.name for metric in settings.metrics)
    return tuple(dict.fromkeys((*grammar.default_names(), *configured)))


def statistics_names(settings: Usage) -> tuple[str, ...]:
    """What /statistics shows: node-metrics' eight, and those configured besides."""
    configured = (metric.name for metric in settings.metrics)
    return tuple(dict.fromkeys((*grammar.NODE_METRICS, *configured)))


class Tier:
    """One store, its sampler and what the last tick found."""

    def __init__(self, name: TierName, store: Store, readers: Mapping[str, Read], clock: Clock):
        self.name, self.store = name, store
        self.lock = threading.Lock()
        self.sampler = Sampler(clock, readers)
        self.latest: Sample | None = None
        self._said = 0

    def put(self, sample: Sample) -> OSError | None:
        """With the lock held. The error where the disk refused and the store is in memory now."""
        try:
            self.store.put(sample.at, sample.wall, sample.values)
        except OSError as error:
            return error
        finally:
            self.latest = sample
            if self.store.left_out and not self._said:
                self._said = self.store.left_out
                log.warning(
                    "usage: no room for all series in tier %s: %d are left out",
                    self.name,
                    self._said,
                )
        return None


class History:
    """`begin` once, in a thread: it reads files. Then `run`; `close` at the end."""

    def __init__(
        self, clock: Clock, host: HostFs, settings: Usage, sources: Iterable[Source]
    ) -> None:
        self._clock, self._host, self._settings = clock, host, settings
        self._sources = tuple(sources)
        self._tiers: dict[TierName, Tier] = {}
        self._gauges: Gauges | None = None
        self._state: StateDir | None = None
        self._shown: tuple[float, Mapping[str, float]] = 0.0, {}
        self._closed = False
        self.after_tick: list[Callable[[TierName], None]] = []
        """Told in the tick's thread that a tier has a new row. To be quick, and raise nothing."""
        self.idle = IdleResources(clock)

    def begin(self) -> None:
        """Opens the stores. Raises nothing that a disk may do: it goes on in memory then."""
        if self._tiers:
            return
        readers: dict[TierName, dict[str, Read]] = {}
        for source in self._sources:
            for tier in source.tiers:
                readers.setdefault(tier, {})[source.name] = source.make()
        wanted = {t: plan for t, plan in plans(self._settings).items() if t in readers}
        self._state = StateDir(self._settings.state_dir)
        self.idle.load(self._state)
        now = now_of(self._clock, self._host)
        stores = open_stores(self._state, wanted, now)
        names = [grammar.parse(name) for name in names_of(self._settings)]
        if "slow" in stores:
            self._gauges = Gauges(stores["slow"], float(self._settings.retention), names)
        self._tiers = {t: Tier(t, stores[t], readers[t], self._clock) for t in stores}

    async def run(self, pause: Pause) -> None:
        """Ticks until `pause` raises Stopped."""
        intervals = plans(self._settings)
        async with asyncio.TaskGroup() as group:
            for tier in self._tiers.values():
                act = partial(self.tick, tier.name)
                interval = intervals[tier.name].interval
                group.create_task(at_pace(self._clock, interval, act, pause, f"usage {tier.name}"))

    def tick(self, name: TierName) -> None:
        """One tick of a tier: reads, reckons, stores. Blocks."""
        tier = self._tiers[name]
        sample = tier.sampler.tick()
        values = dict(sample.values)
        with tier.lock:
            if self._closed or tier.store.elapsed_at(sample.at) <= tier.store.last_elapsed:
                return
            shown: Mapping[str, float] | None = None
            if name == "slow" and self._gauges is not None:
                shown = self._gauges.advance(tier.store.elapsed_at(sample.at), values)
                self.idle.put(sample)
            failed = tier.put(sample._replace(values=values))
            if shown is not None:  # not before it is stored: what anybody saw outlives a kill
                self._shown = sample.at, shown
        if self._state is not None:
            if failed is not None:
                self._state.fail(failed)
            if name == "slow":
                self.idle.save_if_due(self._state)
        for tell in self.after_tick:
            tell(name)

    # --- for readers

    def values(self) -> Mapping[str, float]:
        """Every gauge by its name less `node_`, percent; empty before the first tick, and where
        the ticks have stopped."""
        return self.sampled()[1]

    def sampled(self) -> tuple[float, Mapping[str, float]]:
        """Those, and the tick (monotonic seconds) that they are of: each tick is another."""
        at, shown = self._shown
        return at, {} if self._stopped("slow") else shown

    def statistics(self) -> Mapping[str, float]:
        """Those of them that /statistics shows."""
        shown = self.values()
        return {name: shown[name] for name in statistics_names(self._settings) if name in shown}

    def over(self, text: str) -> Mapping[str, float]:
        """avg, min, max and p95 of every resource over the window that is written so ("15m").
        Raises ValueError for what is no window, or longer than what is kept."""
        asked = grammar.parse_window(text)
        if asked > float(self._settings.retention):
            raise ValueError(
                f"longer than what is kept (usage.retention {self._settings.retention})"
            )
        found: dict[str, float | None] = {}
        for resource, series in USAGE.items():
            of = self.window("slow", series, asked)
            found[f"{resource}_usage_avg_{text}"] = window.mean(of)
            found[f"{resource}_usage_min_{text}"] = window.minimum(of)
            found[f"{resource}_usage_max_{text}"] = window.maximum(of)
            found[f"{resource}_usage_p95_{text}"] = window.quantile(of, 0.95)
        return {name: round(value, DECIMALS) for name, value in found.items() if value is not None}

    def window(self, tier: TierName, series: Series, seconds: float) -> Window:
        """Empty where the tier or the series is not there."""
        found = self._tiers.get(tier)
        if found is None:
            return Window((), (), ())
        with found.lock:
            if self._closed:
                return Window((), (), ())
            return found.store.window(series, seconds)

    def tier(self, tier: TierName) -> Tier | None:
        """For who reads much of one tick; take its lock. None where nothing feeds it, or before
        `begin`, or once closed."""
        return None if self._closed else self._tiers.get(tier)

    def latest(self, tier: TierName) -> Mapping[Series, float]:
        """What the tier's newest tick read: totals and values; empty where ticks have stopped."""
        found = self._tiers.get(tier)
        if found is None or found.latest is None or self._stopped(tier):
            return {}
        return found.latest.values

    def problems(self, tier: TierName) -> Mapping[str, str]:
        """Why, by source, of what the newest tick could not read, and of what it waits for."""
        found = self._tiers.get(tier)
        if found is None:
            return {}
        late = self._stopped(tier)
        if late:
            name = found.sampler.reading
            return {**found.sampler.problems, name: f"does not answer: no tick for {late:.0f} s"}
        return found.sampler.problems

    def _stopped(self, tier: TierName) -> float:
        """Seconds since the last tick where that is too long ago, else 0."""
        found = self._tiers.get(tier)
        if found is None or found.latest is None:
            return 0.0
        age = self._clock.monotonic() - found.latest.at
        return age if age > STALE_INTERVALS * found.store.shape.interval else 0.0

    def series(self, tier: TierName) -> Sequence[Series]:
        found = self._tiers.get(tier)
        if found is None:
            return ()
        with found.lock:
            return found.store.series()

    @property
    def problem(self) -> str:
        """Why nothing outlives a restart, "" where it does or is not wanted to."""
        return "" if self._state is None else self._state.problem

    def close(self) -> None:
        """A tick that is still under way is lost."""
        self._closed = True
        for tier in self._tiers.values():
            with tier.lock:
                tier.store.close()
                if tier.name == "slow" and self._state is not None:
                    self.idle.save(self._state)
        if self._state is not None:
            self._state.close()
