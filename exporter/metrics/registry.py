"""The one registry: prometheus_client's, with collectors measured and kept apart.

The rule: one collector, one family, one label set that is wrong costs itself and is said once;
it hides nothing else. Registering calls nothing; a scrape calls each collector once, never two at
a time. Knows neither programs nor HTTP.
"""

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol, TypeGuard, runtime_checkable

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from exporter.clock import Clock, SystemClock
from exporter.errors import NoData
from exporter.metrics import families
from exporter.metrics.table import FastFamily, Shape

log = logging.getLogger(__name__)


@runtime_checkable
class Choosy(Protocol):
    """A collector that need not do all its work where only some sample names are wanted."""

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        """At least every family that has a sample in `names`; the registry leaves out the rest."""


@runtime_checkable
class Group(Protocol):
    """Several collectors that come and go together, each measured under its own name."""

    def members(self) -> Sequence[tuple[str, Collector]]:
        """Name and collector, asked for at every scrape."""


Named = tuple[str, Collector | Group]
"""Its label in kernmesh_collector_*, and what collects."""


class Outcome(NamedTuple):
    """How a collector's last turn went. `detail` is the error's or NoData's text, else ""."""

    collector: str
    ok: bool
    seconds: float
    detail: str


_DURATION = Shape(
    "gauge",
    "kernmesh_collector_duration_seconds",
    "Time that the collector took in this scrape.",
    ["collector"],
)
_SUCCESS = Shape(
    "gauge",
    "kernmesh_collector_success",
    "Whether the collector did its work in this scrape; having nothing to say is success.",
    ["collector"],
)
_LEFT_OUT = Shape(
    "gauge",
    "kernmesh_family_conflict_info",
    "Families left out of this scrape because an earlier one has the name and differs.",
    ["collector", "family"],
)
_OWN_NAMES = frozenset(shape.exposed for shape in (_DURATION, _SUCCESS, _LEFT_OUT))


class Registry(CollectorRegistry):
    """Takes everything that a CollectorRegistry takes, so instruments of prometheus_client and
    collectors of its ecosystem register as they always do; Groups too."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__(auto_describe=False)
        self._clock = clock or SystemClock()
        self._names: dict[int, str] = {}
        self._turn = threading.Lock()
        self._said: dict[str, str] = {}
        self._outcomes: tuple[Outcome, ...] = ()

    def register(self, collector: Collector | Group, name: str = "") -> None:
        """`name` is its label in kernmesh_collector_*; by default its class's name.

        Never calls `collect`. Raises prometheus_client's DuplicateTimeseries only for collectors
        that `describe` what they have, as its own instruments do.
        """
        self._names[id(collector)] = name or type(collector).__name__
        super().register(collector)  # type: ignore[arg-type]

    def unregister(self, collector: Collector | Group) -> None:
        super().unregister(collector)  # type: ignore[arg-type]
        self._names.pop(id(collector), None)

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """No collector is called while this is held: for whoever takes away what they read."""
        with self._turn:
            yield

    def outcomes(self) -> tuple[Outcome, ...]:
        """Of the last unfiltered scrape, in order; empty before it."""
        return self._outcomes

    def collect(self) -> Iterable[Metric]:
        """Every family, alike ones merged, then how the collectors did."""
        return self._collect(None)

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        """Only samples so named. Collectors that say they have none of them are not called,
        unless it is asked how the collectors do."""
        return self._collect(frozenset(names))

    def _collect(self, names: frozenset[str] | None) -> list[Metric]:
        run_all = names is None or not names.isdisjoint(_OWN_NAMES)
        merged = families.Merged()
        outcomes: list[Outcome] = []
        with self._turn:
            if (target := self._target()) is not None:
                merged.add("target_info", target)
            for name, collector in self._turns(None if run_all else names):
                found, outcome = self._run(name, collector, None if run_all else names)
                for family in found:
                    if (refusal := merged.add(name, family)) is not None:
                        self._say(f"{name} {family.name}", refusal)
                if not isinstance(collector, MetricWrapperBase):
                    outcomes.append(outcome)
            if names is None:
                self._outcomes = tuple(outcomes)
        own = _self_families(outcomes, merged.left_out) if run_all else ()
        result = [*merged, *own]
        if names is None:
            return result
        kept = (families.only(family, names) for family in result)
        return [family for family in kept if family is not None]

    def _target(self) -> Metric | None:
        labels = self.get_target_info()
        if not labels:
            return None
        metric = Metric("target", "Target metadata", "info")
        metric.add_sample("target_info", labels, 1)
        return metric

    def _turns(self, names: frozenset[str] | None) -> Iterator[tuple[str, Collector]]:
        with self._lock:
            registered = dict(self._collector_to_names)
        for collector, known in registered.items():
            if names is not None and known and names.isdisjoint(known):
                continue  # it described itself, and has none of these
            name = self._names[id(collector)]
            if _is_group(collector):
                yield from collector.members()
            else:
                yield name, collector

    def _run(
        self, name: str, collector: Collector, names: frozenset[str] | None
    ) -> tuple[list[Metric], Outcome]:
        found: list[Metric] = []
        ok, detail = True, ""
        started = self._clock.monotonic()
        try:
            if names is not None and _is_choosy(collector):
                turn = collector.collect_names(names)
            else:
                turn = collector.collect()
            for family in turn:
                found.append(family)  # one by one: what came before an error is not lost
        except NoData as reason:
            detail = str(reason)
        except Exception as error:
            ok, detail = False, str(error) or type(error).__name__
            self._say(name, f"collector {name} failed: {type(error).__name__}: {detail}")
        if ok:
            self._said.pop(name, None)
        return found, Outcome(name, ok, self._clock.monotonic() - started, detail)

    def _say(self, about: str, message: str) -> None:
        """Once, until it is something else that is wrong."""
        if self._said.get(about) != message:
            self._said[about] = message
            log.error("%s", message)


def _is_group(collector: Collector | Group) -> TypeGuard[Group]:
    """What isinstance() of a protocol says, which takes 10 µs each time."""
    return hasattr(collector, "members")


def _is_choosy(collector: Collector) -> TypeGuard[Choosy]:
    return hasattr(collector, "collect_names")


def _self_families(
    outcomes: Iterable[Outcome], left_out: Mapping[tuple[str, ...], float]
) -> Iterator[Metric]:
    seconds: dict[tuple[str, ...], float] = {}
    success: dict[tuple[str, ...], float] = {}
    for outcome in outcomes:  # two of one name are one to the reader
        key = (outcome.collector,)
        seconds[key] = seconds.get(key, 0.0) + outcome.seconds
        success[key] = min(success.get(key, 1.0), float(outcome.ok))
    if seconds:
        yield FastFamily.of(_DURATION, seconds)
        yield FastFamily.of(_SUCCESS, success)
    if left_out:
        yield FastFamily.of(_LEFT_OUT, left_out)
