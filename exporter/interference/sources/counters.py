"""Cycles and instructions by cgroup: bpf/cpi's maps as series.

cgroup/<path>.cycles  .instructions
"""

from collections.abc import Mapping

from exporter.clock import Clock
from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.interference.sources.cgroup_maps import FindMap, Owners, rows_of
from exporter.usage.series import Series
from exporter.usage.subjects import Chosen, thing_of

PROGRAM = "cpi"
COUNTED = {"cycles": "cgroup_cycles_total", "instructions": "cgroup_instructions_total"}
"""Measures, and the maps that have them."""


class CounterReader:
    """A Read."""

    def __init__(self, fs: HostFs, clock: Clock, map_of: FindMap, chosen: Chosen) -> None:
        self._map_of, self._chosen = map_of, chosen
        self._owners = Owners(fs, clock)
        self._made: dict[tuple[str, str], Series] = {}

    def __call__(self, now: float) -> Mapping[Series, float]:
        """Raises NoData where the program does not run, BpfError where a map cannot be read."""
        paths = [each.path.strip("/") for each in self._chosen()]
        self._owners.choose(paths)
        found = {
            (path, measure): total
            for measure, name in COUNTED.items()
            for path, total in self._totals(name, paths).items()
        }
        self._made = {key: self._made.get(key) or _series(*key) for key in found}
        return {self._made[key]: total for key, total in found.items()}

    def _totals(self, name: str, paths: list[str]) -> Mapping[str, float]:
        counters = self._map_of(PROGRAM, name)
        if counters is None:
            raise NoData(f"{PROGRAM} does not run")
        totals = dict.fromkeys(paths, 0.0)
        of = self._owners.of
        for (number,), (count,) in rows_of(counters, "=Q", 1, lambda key: of(key[0]) is not None):
            path = of(number)
            if path is not None:
                totals[path] += count
        return totals


def _series(path: str, measure: str) -> Series:
    return Series(f"{thing_of(path)}.{measure}", "counter")
