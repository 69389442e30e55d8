"""Scrapes of one agent as what happened between them.

The rule: counters are only ever compared with themselves, and an agent that restarted begins
anew. Pure. What the counts mean is mesh.py's.
"""

import re
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from pingmesh.mesh import Report, Tally
from pingmesh.mesh_results import (
    FAIL,
    NAMES,
    PROBES,
    RTT,
    STAMP,
    Asked,
    Labels,
    is_count,
    rack_of,
)
from pingmesh.topology import RackId

_LINE = re.compile(r"([a-z_]+)\{(.*)\} (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class Buckets(NamedTuple):
    """A histogram as exposed: cumulative counts by ascending bound. Packed, because a window of
    a mesh holds a million numbers; the bounds are one tuple for all."""

    bounds: tuple[float, ...]
    counts: "array[float]"

    def at(self, bound: float) -> float:
        where = bisect_left(self.bounds, bound)
        found = where < len(self.bounds) and self.bounds[where] == bound
        return self.counts[where] if found else 0.0


EMPTY = Buckets((), array("d"))


class Snapshot(NamedTuple):
    """One scrape. Counts are since the agent's start. `stamps`: when each lane's last round
    ended."""

    at: float
    sent: Mapping[RackId, float]
    lost: Mapping[RackId, float]
    buckets: Mapping[RackId, Buckets]
    failing: frozenset[str]
    stamps: frozenset[tuple[str, str]]


def snapshot(text: str, at: float, asked: Asked) -> Snapshot:
    """Reads one scrape. Lines that are none of ours, or cannot be read, are passed over."""
    sent: dict[RackId, float] = {}
    lost: dict[RackId, float] = {}
    buckets: dict[RackId, dict[float, float]] = {}
    failing: set[str] = set()
    stamps: set[tuple[str, str]] = set()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        name, raw, written = match.groups()
        if name not in NAMES:
            continue
        labels = _labels(raw)
        if name == FAIL:
            failing.add(labels.get("target", ""))
            continue
        if name == STAMP:
            stamps.add((labels.get("lane", ""), written))
            continue
        rack = rack_of(labels, asked)
        try:
            value = float(written)
            bound = float(labels.get("le", "inf"))
        except ValueError:
            continue
        if rack is None or not is_count(value):
            continue
        if name == RTT:
            of_rack = buckets.setdefault(rack, {})
            of_rack[bound] = of_rack.get(bound, 0.0) + value
        else:
            counts = sent if name == PROBES else lost
            counts[rack] = counts.get(rack, 0.0) + value
    packed_by = {rack: packed(of_rack) for rack, of_rack in buckets.items()}
    return Snapshot(at, sent, lost, packed_by, frozenset(failing), frozenset(stamps))


def report(source: str, taken: Sequence[Snapshot], recent: float = 0.0) -> Report | None:
    """What happened between the first and the last; None where nothing can be said yet. `recent`:
    how many seconds before the last its `recent` begins."""
    since = 0
    for index in range(1, len(taken)):
        if _restarted(taken[index - 1], taken[index]):
            since = index
    taken = taken[since:]
    if len(taken) < 2:
        return None
    first, last = taken[0], taken[-1]
    failing: dict[str, int] = {}
    rounds = 0
    for before, now in pairwise(taken):
        if now.stamps != before.stamps:  # another round than was seen before
            rounds += 1
            for target in now.failing:
                failing[target] = failing.get(target, 0) + 1
    late = next((s for s in reversed(taken[:-1]) if s.at <= last.at - recent), first)
    return Report(source, _tallies(first, last), rounds, failing, _tallies(late, last))


def _tallies(first: Snapshot, last: Snapshot) -> dict[RackId, Tally]:
    racks = {}
    for rack, sent in last.sent.items():
        probes = sent - first.sent.get(rack, 0.0)
        if probes <= 0:
            continue
        lost = min(probes, last.lost.get(rack, 0.0) - first.lost.get(rack, 0.0))
        racks[rack] = Tally(
            probes, lost, between(first.buckets.get(rack, EMPTY), last.buckets.get(rack, EMPTY))
        )
    return racks


def _restarted(before: Snapshot, now: Snapshot) -> bool:
    return any(now.sent.get(rack, 0.0) < count for rack, count in before.sent.items())


def packed(buckets: Mapping[float, float]) -> Buckets:
    bounds = tuple(sorted(buckets))
    return Buckets(_same(bounds), array("d", [buckets[bound] for bound in bounds]))


@lru_cache(maxsize=64)
def _same(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """One object for all that are equal."""
    return bounds


def between(first: Buckets, last: Buckets) -> tuple[tuple[float, float], ...]:
    """Cumulative buckets of two scrapes as one window's, each for itself. Empty ones are left out
    but for those that say where the next begins."""
    found: list[tuple[float, float]] = []
    below, empty = 0.0, None
    for bound, count in zip(*last, strict=True):
        since = count - first.at(bound)
        if since > below:
            if empty is not None:
                found.append((empty, 0.0))
            found.append((bound, since - below))
            below, empty = since, None
        else:
            empty = bound
    return tuple(found)


@lru_cache(maxsize=100_000)
def _labels(raw: str) -> Labels:
    found = _LABEL.findall(raw)
    if "\\" not in raw:
        return dict(found)
    return {
        name: _ESCAPED.sub(lambda m: "\n" if m[1] == "n" else m[1], value) for name, value in found
    }
