"""How programs are: which run, by which hooks, how full their maps are, what was lost.

The rule: facts are read from the kernel or from what this scrape's reads left behind; what one
program would not tell costs its facts only. Loads and attaches nothing.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporter.ebpf import facts
from exporter.ebpf.collector import ProgramCollector
from exporter.ebpf.facts import Fact
from exporter.errors import BpfError
from exporter.metrics.table import Kept, Shape

Numbers = dict[tuple[str, ...], float]


class FailedProgram(NamedTuple):
    """A program that was wanted and does not run; `reason` is one line."""

    name: str
    reason: str


class ProgramsCollector:
    """All programs as one Group for the registry: each running one is the collector
    `ebpf:<name>`, and what there is to say about all of them is the collector `ebpf`."""

    def __init__(
        self,
        prefix: str,
        running: Sequence[ProgramCollector] = (),
        failed: Sequence[FailedProgram] = (),
    ) -> None:
        self._prefix = prefix
        self._kept: dict[Fact, Kept] = {}
        self._set: tuple[Sequence[ProgramCollector], Sequence[FailedProgram]] = (running, failed)

    def swap(self, running: Sequence[ProgramCollector], failed: Sequence[FailedProgram]) -> None:
        """From the next scrape on, these. Close the programs that are gone only after a scrape
        that began before has ended."""
        self._set = (tuple(running), tuple(failed))

    def members(self) -> Sequence[tuple[str, Collector]]:
        running, failed = self._set
        status = _Status(
            self._prefix, self._kept, running, failed
        )  # last: it tells what the others read
        return [*((f"ebpf:{each.name}", each) for each in running), ("ebpf", status)]


class _Status:
    """Facts about programs, read from the kernel or from what this scrape's reads left behind."""

    def __init__(
        self,
        prefix: str,
        kept: dict[Fact, Kept],
        running: Sequence[ProgramCollector],
        failed: Sequence[FailedProgram],
    ) -> None:
        self._kept = kept
        self._running = running
        self._failed = failed
        self._upstream = facts.upstream(prefix)
        self._facts = (*self._upstream, *facts.OWN)

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        if {fact.name for fact in self._facts}.isdisjoint(names):
            return ()
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Raises BpfError, after everything else, for what the kernel would not tell."""
        found: dict[Fact, Numbers] = {fact: {} for fact in self._facts}
        errors: list[str] = []
        for program in self._running:
            found[facts.UP][program.name,] = 1
            found[self._upstream.configs][program.name,] = 1
            found[self._upstream.errors][program.name,] = program.decoder_errors
            if (counted := program.counted) is not None:
                found[facts.COUNTED][program.name,] = counted
            self._maps(program, found)
            for ask in (self._functions, self._refused):
                try:
                    ask(program, found)
                except BpfError as error:
                    errors.append(f"program {program.name}: {error}")
        for name, reason in self._failed:
            found[facts.UP][name,] = 0
            found[facts.OFF][name, reason] = 1
        for fact, numbers in found.items():
            if numbers:
                if fact not in self._kept:
                    self._kept[fact] = Kept(Shape(*fact))
                yield self._kept[fact].family(numbers)
        if errors:
            raise BpfError("; ".join(errors))

    def _maps(self, program: ProgramCollector, found: Mapping[Fact, Numbers]) -> None:
        for name, bpf_map in program.loaded.maps.items():
            info = bpf_map.info
            found[facts.MAX_ENTRIES][program.name, name] = info.max_entries
            if info.bytes is not None:
                found[facts.BYTES][program.name, name] = info.bytes
        if program.cgroups is not None:
            found[facts.ENTRIES][program.name, program.cgroups.map_name] = program.cgroups.selected
        for name, reader in program.spans:
            key = (program.name, name)
            found[facts.SPANS][key] = found[facts.SPANS].get(key, 0) + reader.spans
        for eviction in program.evictions:
            found[facts.EVICTED][program.name, eviction.map_name] = eviction.evicted
        for metric in program.metrics:
            if metric.entries is not None:
                found[facts.ENTRIES][program.name, metric.spec.map_name] = metric.entries
            for fact, number in (
                (facts.FOLDED, metric.rows.folded),
                (facts.CACHED, metric.rows.cached),
            ):
                family = (metric.shape.exposed,)
                found[fact][family] = found[fact].get(family, 0) + number

    def _functions(self, program: ProgramCollector, found: Mapping[Fact, Numbers]) -> None:
        for function in program.loaded.functions():
            number = str(function.id)
            found[self._upstream.info][program.name, function.name, function.tag, number] = 1
            found[self._upstream.attached][number,] = int(function.attached)
            if function.run_time_ns is not None:
                found[self._upstream.run_time][number,] = function.run_time_ns / 1e9
            if function.run_count is not None:
                found[self._upstream.run_count][number,] = function.run_count
            if function.missed is not None:
                missed = found[facts.MISSED].get((program.name,), 0)
                found[facts.MISSED][program.name,] = missed + function.missed
            if function.attached:
                found[facts.HOOK][program.name, function.hook] = 1
                found[facts.BACKEND][program.name, function.backend] = 1

    def _refused(self, program: ProgramCollector, found: Mapping[Fact, Numbers]) -> None:
        for name, count in program.loaded.refused_updates().items():
            if name not in program.events:
                found[facts.REFUSED][program.name, name] = count
        for name, lost in program.loaded.lost_events().items():
            counts = program.events.get(name, ())
            found[facts.LOST][program.name, name] = lost + sum(each.short for each in counts)
            found[facts.REFUSED][program.name, name] = sum(each.refused for each in counts)
