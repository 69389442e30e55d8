"""The fast tier's sources for detection, which read what the rules need and can be told anew.

The rule: a source is there for good, what it reads is not: `need` exchanges that, and the next tick
reads by it. What is not needed is not opened. Knows no rules, only their Needs.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from exporter.clock import Clock
from exporter.hostfs import HostFs
from exporter.interference.needs import Needs, of_counters, of_run_queues
from exporter.interference.roster import Roster
from exporter.interference.sources.cgroup_maps import FindMap
from exporter.interference.sources.containers import ContainerReader
from exporter.interference.sources.counters import CounterReader
from exporter.interference.sources.links import LinkReader
from exporter.interference.sources.processors import ProcessorReader
from exporter.interference.sources.runqueue import RunQueueReader
from exporter.usage.pods import Kubepods
from exporter.usage.series import Read, Series, Source, TierName
from exporter.usage.subjects import MEASURES, Chosen, SubjectReader
from exporter.usage.subjects import Subject as Cgroup

_NOTHING: Mapping[Series, float] = {}


class Feed:
    """A Read that may be exchanged for another. `chosen` is what its readers are to be given:
    nobody, once, when one is exchanged, so that it closes what it has open."""

    def __init__(self, chosen: Chosen = tuple) -> None:
        self._choose = chosen
        self._wanted: tuple[object, Callable[[], Read] | None] = (None, None)
        self._made: tuple[object, Read | None] = (None, None)
        self._retiring = False

    def chosen(self) -> Iterable[Cgroup]:
        return () if self._retiring else self._choose()

    def want(self, what: object, make: Callable[[], Read] | None) -> None:
        """From the next reading on; the reader stays where `what` is the same. None: nothing."""
        self._wanted = what, make

    def __call__(self, now: float) -> Mapping[Series, float]:
        what, make = self._wanted
        if what != self._made[0]:
            self._retire(now)
            self._made = what, make() if make else None
        read = self._made[1]
        return read(now) if read else _NOTHING

    def _retire(self, now: float) -> None:
        read = self._made[1]
        if read is not None:
            self._retiring = True
            with suppress(Exception):  # it has had its time
                read(now)
            self._retiring = False


class Feeds:
    """`sources` once, before the sampler begins; `need` as often as rules change."""

    def __init__(
        self,
        fs: HostFs,
        clock: Clock,
        kubepods: Kubepods,
        roster: Roster,
        map_of: FindMap,
        slo: Read | None = None,
    ) -> None:
        self._fs, self._clock, self._kubepods = fs, clock, kubepods
        self._map_of, self._slo = map_of, slo
        self._online, self._offline = Feed(roster.online), Feed(roster.offline)
        self._containers, self._queues = Feed(roster.online), Feed(roster.cgroups)
        self._counters = Feed(roster.cgroups)
        self._busiest, self._links, self._applications = Feed(), Feed(), Feed()

    def sources(self) -> tuple[Source, ...]:
        rows: tuple[tuple[str, TierName, Feed], ...] = (
            ("online cgroups", "fast", self._online),
            ("offline cgroups", "fast", self._offline),
            ("containers", "fast", self._containers),
            ("run queues", "fast", self._queues),
            ("hardware counters", "fast", self._counters),
            ("busiest processor", "fast", self._busiest),
            ("slo", "fast", self._applications),
            ("link speeds", "slow", self._links),
        )
        return tuple(Source(name, (tier,), _same(feed)) for name, tier, feed in rows)

    def need(self, needs: Needs) -> None:
        for feed, measures in ((self._online, needs.online), (self._offline, needs.offline)):
            own = tuple(each for each in MEASURES if each in measures)
            feed.want(own, self._subjects(feed, own) if own else None)
        asked = needs.online | needs.offline
        queues, counters = any(map(of_run_queues, asked)), any(map(of_counters, asked))
        others = {
            each
            for each in needs.online - set(MEASURES)
            if not (of_run_queues(each) or of_counters(each))
        }
        _switch(
            self._containers,
            bool(others),
            lambda: ContainerReader(self._fs, self._kubepods, self._containers.chosen),
        )
        _switch(
            self._queues,
            queues,
            lambda: RunQueueReader(self._fs, self._clock, self._map_of, self._queues.chosen),
        )
        _switch(
            self._counters,
            counters,
            lambda: CounterReader(self._fs, self._clock, self._map_of, self._counters.chosen),
        )
        _switch(self._busiest, needs.busiest, lambda: ProcessorReader(self._fs))
        _switch(self._links, needs.links, lambda: LinkReader(self._fs))
        slo = self._slo
        _switch(self._applications, needs.slo and slo is not None, lambda: slo or _nothing)

    def _subjects(self, feed: Feed, measures: tuple[str, ...]) -> Callable[[], Read]:
        return lambda: SubjectReader(self._kubepods, feed.chosen, measures)


def _switch(feed: Feed, on: bool, make: Callable[[], Read]) -> None:
    feed.want(on or None, make if on else None)


def _nothing(now: float) -> Mapping[Series, float]:
    return _NOTHING


def _same(read: Read) -> Callable[[], Read]:
    return lambda: read
