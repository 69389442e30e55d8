"""What rounds found out, as metric families.

The rule: a pair's gauge belongs to the round that made it and goes with the next; a healthy pair
has no series of its own. Everything else is bounded: by class (probe, zone and rack of both
ends), by reason, by lane. Knows no socket and no schedule.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple, TypeVar

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.metrics.gotext import GoTexts
from exporter.metrics.table import Column, FastFamily, Lines, Shape
from pingmesh.flight import ANSWERED, FAILED, Flight
from pingmesh.probe import Outcome, Probe

BOUNDS = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5, 1.0, 2.5,
)  # fmt: skip
MAX_CLASSES = 512
"""An agent of 10,000 nodes in 200 racks probes some 75 racks, one of 10,000 in racks of 16 some
260; each class has about 22 series."""
MAX_NUMBERED = 100
"""Targets whose own numbers (clock offset, certificate) are exported, per number."""
DROP_WINDOW_SECONDS = 600.0
OTHER = "other"

_PAIR = ["target", "tor"]
_CLASS = ["probe", "source_zone", "source_rack", "target_zone", "target_rack"]
_FAIL = Shape("gauge", "pingmesh_fail", "1: the target did not answer in the last round.", _PAIR)
_DURATION = Shape(
    "gauge",
    "pingmesh_duration_milliseconds",
    "Round trip in the last round, of targets that took longer than the pinglist's delay.",
    _PAIR,
)
_RTT = Shape("histogram", "pingmesh_rtt_seconds", "Round trips of answers.", _CLASS, BOUNDS)
_PHASE = Shape(
    "histogram",
    "pingmesh_phase_seconds",
    "Parts of probes that have several.",
    ["probe", "phase"],
    BOUNDS,
)
_PROBES = Shape("counter", "pingmesh_probes_total", "Probes that were made.", _CLASS)
_LOST = Shape(
    "counter", "pingmesh_lost_total", "Probes without a good answer.", [*_CLASS, "reason"]
)
_SKIPPED = Shape(
    "counter",
    "pingmesh_skipped_total",
    "Probes that were not made, for a reason that lies here and not with the target.",
    ["probe", "reason"],
)
_DROP = Shape(
    "gauge",
    "pingmesh_drop_ratio",
    "Share of probes lost in the last ten minutes, an estimate of the drop rate.",
    _CLASS,
)
_RETRANSMITS = Shape(
    "counter", "pingmesh_tcp_retransmits_total", "Segments that TCP probes sent again.", _CLASS
)
_ROUNDS = Shape("counter", "pingmesh_rounds_total", "Rounds finished.", ["lane"])
_STAMP = Shape(
    "gauge", "pingmesh_last_round_timestamp_seconds", "When the last round ended.", ["lane"]
)
_TOOK = Shape(
    "gauge",
    "pingmesh_round_duration_seconds",
    "From the first probe of the last round to its last answer or timeout.",
    ["lane"],
)
_PERIOD = Shape(
    "gauge", "pingmesh_round_period_seconds", "Time that a round's sends are spread over.", ["lane"]
)
_LATE = Shape(
    "gauge",
    "pingmesh_round_lateness_seconds",
    "The most that a send of the last round was behind its time.",
    ["lane"],
)
_RESULTS = Shape(
    "gauge",
    "pingmesh_round_probes",
    "Probes of the last round by result (ok, lost, skipped).",
    ["lane", "result"],
)
_NUMBERS = {
    "ntp_offset_seconds": "How far the server's clock is ahead of this one.",
    "tls_expiry_timestamp_seconds": "When the certificate ends.",
}
_NUMBER_SHAPES = {
    name: Shape("gauge", f"pingmesh_{name}", text, _PAIR) for name, text in _NUMBERS.items()
}

_Key = TypeVar("_Key", bound=tuple[str, ...])
ClassKey = tuple[str, str, str, str, str]


class Facts(NamedTuple):
    """A finished round: seconds; `ended` on the wall clock. `delay` in milliseconds."""

    ended: float
    duration: float
    period: float
    lateness: float
    delay: float


class Tally:
    """Counts of one class since the start, and of its last ten minutes."""

    __slots__ = ("counts", "lost", "recent", "retransmits", "sent", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0
        self.sent = 0
        self.retransmits = 0
        self.lost: Counter[str] = Counter()
        self.recent: deque[tuple[float, int, int]] = deque()

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def note(self, now: float, sent: int, lost: int) -> None:
        """A round's share, for `drop_ratio`."""
        self.recent.append((now, sent, lost))
        while self.recent[0][0] < now - DROP_WINDOW_SECONDS:
            self.recent.popleft()

    def drop_ratio(self, now: float) -> float | None:
        """None where nothing was sent in the window."""
        window = [entry for entry in list(self.recent) if entry[0] >= now - DROP_WINDOW_SECONDS]
        sent = sum(entry[1] for entry in window)
        return sum(entry[2] for entry in window) / sent if sent else None


class _Last(NamedTuple):
    """A lane's last round."""

    facts: Facts
    fails: Mapping[tuple[str, str], float]
    slow: Mapping[tuple[str, str], float]
    numbers: Mapping[str, Mapping[tuple[str, str], float]]
    results: Mapping[str, int]
    reasons: Mapping[tuple[str, str], str]


class Board:
    """Collector of all lanes. Lanes publish from the loop; a scrape reads in its thread: what it
    reads is replaced, not changed, or is a single number."""

    def __init__(self, clock: Clock, max_classes: int = MAX_CLASSES) -> None:
        self._clock = clock
        self.max_classes = max_classes
        self._folded: set[ClassKey] = set()
        self._tallies: dict[ClassKey, Tally] = {}
        self._phases: dict[tuple[str, str], Tally] = {}
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._rounds: Counter[str] = Counter()
        self._last: dict[str, _Last] = {}

    def tallies(self, probes: Sequence[Probe], here: Mapping[str, str]) -> list[Tally]:
        """Each probe's, for `publish`. `here`: labels zone and rack of this agent."""
        zone, rack = here.get("zone", ""), here.get("rack", "")
        return [
            self._tally((probe.kind, zone, rack, probe.series[0].zone, probe.series[0].rack))
            for probe in probes
        ]

    def _tally(self, key: ClassKey) -> Tally:
        found = self._tallies.get(key)
        if found is None:
            if len(self._tallies) >= self.max_classes:
                self._folded.add(key)
                key = (key[0], *[OTHER] * 4)  # type: ignore[assignment] # five it is
            found = self._tallies.setdefault(key, Tally())
        return found

    @property
    def folded(self) -> int:
        """Classes that found no room and are counted as "other"."""
        return len(self._folded)

    def publish(
        self,
        lane: str,
        probes: Sequence[Probe],
        tallies: Sequence[Tally],
        flight: Flight,
        facts: Facts,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        """One finished round; it replaces that lane's last one."""
        fails: dict[tuple[str, str], float] = {}
        slow: dict[tuple[str, str], float] = {}
        reasons: dict[tuple[str, str], str] = {}
        results = {"ok": 0, "lost": 0, "skipped": 0}
        states, rtts = flight.states, flight.rtts
        before = {id(tally): (tally.sent, tally.lost.total()) for tally in tallies}
        border = facts.delay / 1000.0
        for index, tally in enumerate(tallies):
            state = states[index]
            if state == ANSWERED:
                results["ok"] += 1
                tally.sent += 1
                rtt = rtts[index]
                tally.counts[bisect_left(BOUNDS, rtt)] += 1
                tally.total += rtt
                if rtt > border:
                    for series in probes[index].series:
                        slow[series.target, series.tor] = rtt * 1000.0
                continue
            reason = flight.reasons.get(index, "error")
            if state == FAILED:
                results["lost"] += 1
                tally.sent += 1
                tally.lost[reason] += 1
                for series in probes[index].series:
                    fails[series.target, series.tor] = 1.0
                    reasons[series.target, series.tor] = reason
            else:
                results["skipped"] += 1
                self._skipped[probes[index].kind, reason] += 1
        now = self._clock.monotonic()  # the wall clock may be set
        for tally in {id(tally): tally for tally in tallies}.values():
            sent, lost = before[id(tally)]
            tally.note(now, tally.sent - sent, tally.lost.total() - lost)
        numbers = self._outcomes(probes, tallies, outcomes)
        self._rounds[lane] += 1
        self._last[lane] = _Last(facts, fails, slow, numbers, results, reasons)

    def _outcomes(
        self,
        probes: Sequence[Probe],
        tallies: Sequence[Tally],
        outcomes: Mapping[int, Outcome],
    ) -> Mapping[str, Mapping[tuple[str, str], float]]:
        numbers: dict[str, dict[tuple[str, str], float]] = {name: {} for name in _NUMBERS}
        for index, outcome in outcomes.items():
            probe = probes[index]
            for phase, seconds in outcome.phases.items():
                self._phases.setdefault((probe.kind, phase), Tally()).observe(seconds)
            for name, number in outcome.numbers.items():
                if name == "tcp_retransmits":
                    tallies[index].retransmits += int(number)
                elif name in numbers and len(numbers[name]) < MAX_NUMBERED:
                    for series in probe.series:
                        numbers[name][series.target, series.tor] = number
        return numbers

    def failing(self) -> Mapping[tuple[str, str], str]:
        """(target, tor) of what failed in the last rounds, and why."""
        return {
            pair: reason for last in self._last.values() for pair, reason in last.reasons.items()
        }

    def slow(self) -> Mapping[tuple[str, str], float]:
        """(target, tor) of what took longer than the pinglist's delay in the last rounds, and how
        many milliseconds."""
        return {pair: ms for last in self._last.values() for pair, ms in last.slow.items()}

    def results(self) -> Mapping[str, Mapping[str, int]]:
        """By lane, probes of the last round by result: ok, lost, skipped."""
        return {lane: last.results for lane, last in self._last.items()}

    def lossy(self) -> Mapping[ClassKey, float]:
        """Share lost in the last ten minutes, of classes that lost anything since the start."""
        lossy = {key: tally for key, tally in dict(self._tallies).items() if tally.lost}
        drops = dict(_drops(lossy, self._clock.monotonic()))
        return {key: drops[key] for key in lossy if drops.get(key)}

    def last_round(self, lane: str) -> Facts | None:
        last = self._last.get(lane)
        return last.facts if last else None

    def retain(self, lane: str, pairs: Collection[tuple[str, str]]) -> None:
        """The list has changed: of this lane's last round only these pairs' series stay."""
        last = self._last.get(lane)
        if last is None or not pairs:
            self.drop(lane)
            return
        self._last[lane] = last._replace(
            fails={pair: value for pair, value in last.fails.items() if pair in pairs},
            slow={pair: value for pair, value in last.slow.items() if pair in pairs},
            reasons={pair: value for pair, value in last.reasons.items() if pair in pairs},
            numbers={
                name: {pair: value for pair, value in rows.items() if pair in pairs}
                for name, rows in last.numbers.items()
            },
        )

    def drop(self, lane: str) -> None:
        """This lane probes no more: its pairs' series go, its counters stay."""
        self._last.pop(lane, None)

    def collect(self) -> Iterable[Metric]:
        """Families; the pairs' two first."""
        last = dict(self._last)
        lasts = list(last.values())
        yield from _pairs(_FAIL, (each.fails for each in lasts))
        yield from _pairs(_DURATION, (each.slow for each in lasts))
        for name, shape in _NUMBER_SHAPES.items():
            yield from _pairs(shape, (each.numbers[name] for each in lasts))
        tallies = dict(self._tallies)
        if tallies:
            yield _histogram(_RTT, tallies)
            yield FastFamily.of(_PROBES, {key: float(t.sent) for key, t in tallies.items()})
            yield from _some(_LOST, dict(_losses(tallies)))
            yield from _some(_DROP, dict(_drops(tallies, self._clock.monotonic())))
            retransmits = {k: float(t.retransmits) for k, t in tallies.items() if k[0] == "tcp"}
            yield from _some(_RETRANSMITS, retransmits)
        if self._phases:
            yield _histogram(_PHASE, dict(self._phases))
        yield from _some(_SKIPPED, {key: float(n) for key, n in dict(self._skipped).items()})
        yield from _some(_ROUNDS, {(lane,): float(n) for lane, n in dict(self._rounds).items()})
        for shape, number in _OF_FACTS:
            yield from _some(shape, {(lane,): number(each.facts) for lane, each in last.items()})
        results = {
            (lane, result): float(count)
            for lane, each in last.items()
            for result, count in each.results.items()
        }
        yield from _some(_RESULTS, results)


_OF_FACTS: tuple[tuple[Shape, Callable[[Facts], float]], ...] = (
    (_STAMP, lambda facts: facts.ended),
    (_TOOK, lambda facts: facts.duration),
    (_PERIOD, lambda facts: facts.period),
    (_LATE, lambda facts: facts.lateness),
)


def _pairs(shape: Shape, found: Iterable[Mapping[tuple[str, str], float]]) -> Iterator[FastFamily]:
    rows: dict[tuple[str, str], float] = {}
    for each in found:
        rows.update(each)
    return _some(shape, rows)


def _some(shape: Shape, rows: Mapping[_Key, float]) -> Iterator[FastFamily]:
    if rows:
        yield FastFamily.of(shape, rows)


def _losses(tallies: Mapping[ClassKey, Tally]) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, tally in tallies.items():
        for reason, count in dict(tally.lost).items():
            yield (*key, reason), float(count)


def _drops(
    tallies: Mapping[ClassKey, Tally], now: float
) -> Iterator[tuple[tuple[str, ...], float]]:
    for key, tally in tallies.items():
        ratio = tally.drop_ratio(now)
        if ratio is not None:
            yield key, ratio


def _histogram(shape: Shape, tallies: Mapping[_Key, Tally]) -> FastFamily:
    lines: list[str] = []
    rows: list[list[float]] = []
    for key, tally in tallies.items():
        lines += shape.lines(key)
        buckets = list(accumulate(tally.counts))
        rows.append([*buckets, buckets[-1], tally.total])
    return FastFamily(
        shape,
        Lines(lines),
        [Column(list(column), GoTexts(exact=False)) for column in zip(*rows, strict=True)],
    )
