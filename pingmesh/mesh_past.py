"""What readings of the mesh before the last said of a pair, as far as is kept: an hour of losses.

The rule: bounded whatever the mesh is (readings, pairs per reading), and what is not known is not
well. Kept is what was lost, not what was answered. Pure.
"""

from collections import deque
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pingmesh.mesh_reading import MOST_LOSSY, Reading

MOST = 120

State = Literal["lost", "no loss", "unknown"]


class Moment(NamedTuple):
    """`at` on the wall clock. `lost` of `sent` probes of the time just before it, where something
    was; "no loss" says that the source reported none, "unknown" that it did not report, or that it
    may have probed others then."""

    at: float
    state: State
    sent: float = 0.0
    lost: float = 0.0


class _Entry(NamedTuple):
    at: float
    generation: int
    silent: frozenset[str]
    lossy: Mapping[tuple[str, str], tuple[float, float]]
    whole: bool


class Past:
    """Fed with every reading. What it has is replaced, never changed, so any thread may ask."""

    def __init__(self) -> None:
        self._entries: tuple[_Entry, ...] = ()
        self._topology: object = None
        self._generation = 0

    def note(self, reading: Reading) -> None:
        if reading.topology is not self._topology:
            self._topology = reading.topology
            self._generation += 1
        silent = frozenset(reading.silent)
        if self._entries and self._entries[-1].silent == silent:
            silent = self._entries[-1].silent  # ten thousand names once, not a hundred times
        lossy = {
            (row.source.name, row.target.name): (row.recent_sent, row.recent_lost)
            for row in reading.lossy
        }
        whole = len(reading.lossy) < MOST_LOSSY
        entry = _Entry(reading.at, self._generation, silent, lossy, whole)
        self._entries = tuple(deque((*self._entries, entry), MOST))

    def pair(self, source: str, target: str) -> tuple[Moment, ...]:
        """The oldest first."""
        return tuple(self._moment(entry, source, target) for entry in self._entries)

    def _moment(self, entry: _Entry, source: str, target: str) -> Moment:
        if (found := entry.lossy.get((source, target))) is not None:
            return Moment(entry.at, "lost", *found)
        known = entry.whole and entry.generation == self._generation
        if known and source not in entry.silent:
            return Moment(entry.at, "no loss")
        return Moment(entry.at, "unknown")
