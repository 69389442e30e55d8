"""Waits for a CPU by cgroup and by who held it meanwhile: the kernel programs' maps as series.

From bpf/runqlat (runq_latency_seconds, runq_behind, runq_forks) and bpf/preemptions, where they
run. A chosen cgroup's numbers are those of all cgroups below it together, as a pod's are its
containers'. Knows maps and cgroup ids; loads nothing.

    cgroup/<path>.runq_wait_seconds  .runq_waits  .forks
    online ones: .runq_waits_<µs>  .waited_for_offline_seconds  .offline_waits_<µs>
                 .preempted_by_offline
    cgroup/<online>//<offline>.waited_seconds  .preemptions     the pairs that there were
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from exporter.clock import Clock
from exporter.ebpf.maps import BpfMap
from exporter.errors import NoData
from exporter.hostfs import HostFs
from exporter.interference.signals import OFFLINE_WAIT_MEASURES, WAIT_MEASURES, pair_series
from exporter.interference.sources.cgroup_maps import FindMap, Owners, rows_of
from exporter.interference.waits import BOUNDS_MICROSECONDS, bucket_of_slot
from exporter.usage.series import Series
from exporter.usage.subjects import Chosen, thing_of

MOST_PAIRS = 1000
SLOTS = 27
_MICRO = 1e-6


class RunQueueReader:
    """A Read."""

    def __init__(self, fs: HostFs, clock: Clock, map_of: FindMap, chosen: Chosen) -> None:
        self._map_of, self._chosen = map_of, chosen
        self._owners = Owners(fs, clock)
        self._made: dict[str, _Series] = {}
        self._pairs: set[tuple[str, str]] = set()
        self._before: frozenset[str] = frozenset()

    def __call__(self, now: float) -> Mapping[Series, float]:
        """Raises NoData where neither program runs, BpfError where a map cannot be read."""
        waits = self._map_of("runqlat", "runq_latency_seconds")
        preemptions = self._map_of("preemptions", "preemptions_total")
        if waits is None and preemptions is None:
            raise NoData("neither runqlat nor preemptions runs")
        kinds = {each.path.strip("/"): each.kind for each in self._chosen()}
        self._owners.choose(kinds.keys())
        self._made = {path: self._made.get(path) or _Series(path) for path in kinds}
        values: dict[Series, float] = {}
        waited, preempted = _Pairs(), _Pairs()
        if waits is not None:
            self._waits(waits, kinds, values)
            behind = self._map_of("runqlat", "runq_behind")
            forks = self._map_of("runqlat", "runq_forks")
            if behind is not None:
                waited = self._behind(behind, kinds, values)
            if forks is not None:
                self._forks(forks, values)
        if preemptions is not None:
            preempted = self._preempted(preemptions, kinds, values)
        self._keep_pairs(waited, preempted, values)
        return values

    def _waits(
        self, bpf_map: BpfMap, kinds: Mapping[str, str], values: dict[Series, float]
    ) -> None:
        found = {path: [0] * (SLOTS + 2) for path in kinds}
        for (number,), words in rows_of(bpf_map, "=Q", SLOTS + 2, self._is_owned):
            path = self._owners.of(number)
            if path is not None:
                found[path] = [a + b for a, b in zip(found[path], words, strict=True)]
        for path, words in found.items():
            made = self._made[path]
            values[made.delay] = words[-1] * _MICRO
            values[made.times] = sum(words[:-1])
            if kinds[path] != "offline":
                values.update(zip(made.waits, _buckets(words), strict=True))

    def _behind(
        self, bpf_map: BpfMap, kinds: Mapping[str, str], values: dict[Series, float]
    ) -> "_Pairs":
        pairs = _Pairs()
        total = {p: [0] * (SLOTS + 2) for p, kind in kinds.items() if kind != "offline"}
        for (victim, by), words in rows_of(bpf_map, "=QQ", SLOTS + 2, self._is_owned):
            pair = self._pair(victim, by, kinds)
            if pair is not None:
                pairs[pair] = pairs.get(pair, 0.0) + words[-1] * _MICRO
                total[pair[0]] = [a + b for a, b in zip(total[pair[0]], words, strict=True)]
        for path, words in total.items():
            made = self._made[path]
            values[made.for_offline] = words[-1] * _MICRO
            values.update(zip(made.offline_waits, _buckets(words), strict=True))
        return pairs

    def _forks(self, bpf_map: BpfMap, values: dict[Series, float]) -> None:
        found = Counter(dict.fromkeys(self._made, 0))
        for (number,), (count,) in rows_of(bpf_map, "=Q", 1, self._is_owned):
            path = self._owners.of(number)
            if path is not None:
                found[path] += count
        values.update((self._made[path].forks, count) for path, count in found.items())

    def _preempted(
        self, bpf_map: BpfMap, kinds: Mapping[str, str], values: dict[Series, float]
    ) -> "_Pairs":
        pairs = _Pairs()
        total = Counter({path: 0 for path, kind in kinds.items() if kind != "offline"})
        for (victim, by), (count,) in rows_of(bpf_map, "=QQ", 1, self._is_owned):
            pair = self._pair(victim, by, kinds)
            if pair is not None:
                pairs[pair] = pairs.get(pair, 0.0) + count
                total[pair[0]] += count
        values.update((self._made[path].preempted, count) for path, count in total.items())
        return pairs

    def _pair(self, victim: int, by: int, kinds: Mapping[str, str]) -> tuple[str, str] | None:
        one, other = self._owners.of(victim), self._owners.of(by)
        if one is None or other is None:
            return None
        return (one, other) if kinds[one] != "offline" and kinds[other] == "offline" else None

    def _keep_pairs(
        self, waited: "_Pairs", preempted: "_Pairs", values: dict[Series, float]
    ) -> None:
        """Those that had room stay: a series that pauses would lose its next delta. One that was
        not there at the reading before had 0 then, and that is said now, or its first delta, by
        which it is found out, would be lost; what it has is said at the next reading."""
        present = waited.keys() | preempted.keys()
        begun = {pair for pair in present - self._pairs if self._before.issuperset(pair)}
        self._pairs &= present
        new = sorted(present - self._pairs, key=lambda pair: -waited.get(pair, 0.0))
        self._pairs.update(new[: max(MOST_PAIRS - len(self._pairs), 0)])
        for victim, by in self._pairs:
            thing = self._made[victim].thing
            for name, found in (("waited_seconds", waited), ("preemptions", preempted)):
                if (victim, by) in found:
                    total = 0.0 if (victim, by) in begun else found[victim, by]
                    values[pair_series(thing, by, name)] = total
        self._before = frozenset(self._made)

    def _is_owned(self, key: Sequence[int]) -> bool:
        return all(self._owners.of(number) is not None for number in key)


class _Pairs(dict[tuple[str, str], float]):
    """By victim and by whom; seconds, or times."""


class _Series:
    """Of one cgroup, made once."""

    __slots__ = (
        "delay",
        "for_offline",
        "forks",
        "offline_waits",
        "preempted",
        "thing",
        "times",
        "waits",
    )

    def __init__(self, path: str) -> None:
        self.thing = thing_of(path)

        def counter(measure: str) -> Series:
            return Series(f"{self.thing}.{measure}", "counter")

        self.delay = counter("runq_wait_seconds")
        self.times = counter("runq_waits")
        self.waits = tuple(map(counter, WAIT_MEASURES))
        self.for_offline = counter("waited_for_offline_seconds")
        self.offline_waits = tuple(map(counter, OFFLINE_WAIT_MEASURES))
        self.preempted = counter("preempted_by_offline")
        self.forks = counter("forks")


def _buckets(words: Sequence[int]) -> list[float]:
    found = [0.0] * len(BOUNDS_MICROSECONDS)
    for slot, count in enumerate(words[:SLOTS]):
        found[_BUCKETS[slot]] += count
    found[-1] += words[SLOTS]
    return found


_BUCKETS = tuple(bucket_of_slot(slot) for slot in range(SLOTS))
