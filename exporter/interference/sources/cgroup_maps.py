"""Maps that kernel programs keep by cgroup, read for chosen cgroups.

The rule: a chosen cgroup's numbers are those of all cgroups below it together, as a pod's are its
containers'. Knows maps and cgroup ids; loads nothing, knows no measure.
"""

import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence

from exporter.clock import Clock
from exporter.decoders.cgroup_paths import CgroupPaths
from exporter.ebpf.maps import BpfMap
from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs

FindMap = Callable[[str, str], BpfMap | None]
"""map_of(program, map): None while that program does not run."""


class Owners:
    """Which chosen cgroup an id belongs to: its own, or that of the nearest chosen one above."""

    def __init__(self, fs: HostFs, clock: Clock) -> None:
        self._fs, self._paths = fs, CgroupPaths(fs, clock)
        self._chosen: frozenset[str] = frozenset()
        self._known: dict[int, str | None] = {}
        self._places: tuple[str, ...] | None = None

    def choose(self, paths: Iterable[str]) -> None:
        chosen = frozenset(paths)
        if chosen != self._chosen:
            self._chosen, self._known = chosen, {}

    def of(self, number: int) -> str | None:
        try:
            return self._known[number]
        except KeyError:
            full = self._paths.path(number, "cpu") or self._paths.path(number)
            if full is None:  # maybe soon: it is not asked for each time, but not for good
                return None
            self._known[number] = found = self._owner(full)
            return found

    def _owner(self, full: str) -> str | None:
        if self._places is None:
            places = {mount.place.rstrip("/") for mount in cgroup_mounts(self._fs)}
            self._places = tuple(sorted(places, key=len, reverse=True))
        place = next((each for each in self._places if full.startswith(each)), "")
        below = full[len(place) :].strip("/")
        while below:
            if below in self._chosen:
                return below
            below = below.rpartition("/")[0]
        return None


def rows_of(
    bpf_map: BpfMap, key: str, words: int, wanted: Callable[[Sequence[int]], bool]
) -> Iterator[tuple[tuple[int, ...], Sequence[int]]]:
    """Keys and values (u64s, CPUs added up) of the rows whose keys are wanted."""
    info, rows = bpf_map.info, bpf_map.read()
    keys, value = struct.Struct(key), struct.Struct(f"={words}Q")
    size, stride = value.size, info.value_stride
    for at in range(rows.count):
        numbers = keys.unpack_from(rows.keys, at * info.key_size)
        if not wanted(numbers):
            continue
        start = at * info.cpus * stride
        # A CPU's value is added as one long number: no count comes near to carry into the next.
        total = sum(
            int.from_bytes(rows.values[part : part + size], sys.byteorder)
            for part in range(start, start + info.cpus * stride, stride)
        )
        yield numbers, value.unpack(total.to_bytes(size, sys.byteorder))
