"""Keys that stopped changing leave their map: for the YAML's `evict_after`.

The rule: a row of the metric goes as a whole or stays. Where several keys make one row (label sets
that decode alike, a histogram's buckets), the row would fall without starting over at zero, which
Prometheus takes for a reset to what is left. Knows maps and rows, no YAML and no schedule.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from exporter.clock import Clock
from exporter.ebpf.maps import BpfMap, MapRows


class Reader(Protocol):
    """A metric over the map."""

    def see(self, rows: MapRows) -> None:
        """These are the map's rows now."""

    def rows_of(self, key: bytes) -> Iterable[str]:
        """The rows that the key is a part of; none where it is left out or in "other", whose sum
        keeps what its keys had."""


class Eviction:
    """Of one map. `after` is seconds without any change of a key's value, seen by `run`, which is
    called now and then while no metric is collected."""

    def __init__(
        self, bpf_map: BpfMap, readers: Sequence[Reader], after: float, clock: Clock
    ) -> None:
        self.evicted = 0
        """Keys deleted so far."""
        self._map, self._readers, self._after, self._clock = bpf_map, readers, after, clock
        self._since: dict[bytes, tuple[bytes, float]] = {}

    @property
    def map_name(self) -> str:
        return self._map.info.name

    def run(self) -> None:
        """Raises BpfError where the kernel refuses. What a program adds to a key between this
        read and its end is lost: a millisecond of what did nothing for `after` seconds."""
        rows = self._map.read()
        now = self._clock.monotonic()
        self._since = {
            key: before if (before := self._since.get(key)) and before[0] == value else (value, now)
            for key, value in _pairs(rows, self._map)
        }
        idle = {key for key, (_, since) in self._since.items() if now - since >= self._after}
        if not idle:
            return
        for reader in self._readers:
            reader.see(rows)
        idle = self._whole_rows(idle)
        if idle:
            self._map.delete(sorted(idle))
            self.evicted += len(idle)
            self._since = {key: seen for key, seen in self._since.items() if key not in idle}

    def _whole_rows(self, idle: set[bytes]) -> set[bytes]:
        """Those whose rows have no other keys, in any of the metrics."""
        while True:
            stays = {
                (number, row)
                for number, reader in enumerate(self._readers)
                for key in self._since.keys() - idle
                for row in reader.rows_of(key)
            }
            whole = {
                key
                for key in idle
                if not any(
                    (number, row) in stays
                    for number, reader in enumerate(self._readers)
                    for row in reader.rows_of(key)
                )
            }
            if whole == idle:
                return idle
            idle = whole


def _pairs(rows: MapRows, bpf_map: BpfMap) -> Iterable[tuple[bytes, bytes]]:
    size, width = bpf_map.info.key_size, bpf_map.info.value_stride * bpf_map.info.cpus
    return (
        (rows.keys[row * size : (row + 1) * size], rows.values[row * width : (row + 1) * width])
        for row in range(rows.count)
    )
