"""Running programs as collectors: their metrics, and how they themselves are.

The rule: one map, one key, one program that is wrong costs itself and nothing else. Knows the
map seam (maps.py); loads and attaches nothing.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.registry import Collector

from exporter.clock import Clock, SystemClock
from exporter.ebpf.cgroupids import CgroupIds
from exporter.ebpf.elf import BpfObject
from exporter.ebpf.eventcounts import EventCounts
from exporter.ebpf.eviction import Eviction
from exporter.ebpf.layout import Layout, layout_of, needs_types
from exporter.ebpf.mapmetric import Decode, MapMetric
from exporter.ebpf.maps import LoadedProgram, MapInfo, MapRows
from exporter.ebpf.spans import SpanReader
from exporter.ebpf.spec import CgroupIdMapSpec, CounterSpec, MetricSpec, ProgramSpec, evict_after
from exporter.errors import BpfError, KernmeshError
from exporter.hostfs import HostFs
from exporter.metrics.table import Kept, Kind, Shape

log = logging.getLogger(__name__)

Numbers = dict[tuple[str, ...], float]


class ProgramCollector:
    """The metrics of one program.

    `label_decoders` has, by metric name, one compiled chain per label in the YAML's order. A
    metric whose map is missing or does not fit is off, and `problems` has a line for it. A key
    that cannot be decoded is left out and counted once while it lives, not at every scrape.
    `declared` is the object, for metrics that name members of keys and values.
    """

    def __init__(
        self,
        loaded: LoadedProgram,
        spec: ProgramSpec,
        prefix: str,
        max_series: int,
        label_decoders: Mapping[str, Sequence[Decode]],
        declared: BpfObject | None = None,
        clock: Clock | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.loaded = loaded
        self.events: dict[str, list[EventCounts]] = {}
        """By map: what counts its events."""
        self.metrics: list[MapMetric] = []
        self._problems: list[str] = []
        self._failures: dict[str, int] = {}
        groups = spec.metrics
        wanted: list[MetricSpec] = [*groups.counters, *groups.gauges, *groups.histograms]
        for metric in wanted:
            try:
                bpf_map = loaded.maps.get(metric.map_name)
                if bpf_map is None:
                    raise KernmeshError(
                        f"metric {metric.name}: the object has no map "
                        f"{metric.map_name if metric.map else 'of that name'}, "
                        f"got {', '.join(sorted(loaded.maps)) or 'none at all'}"
                    )
                decoders = label_decoders.get(metric.name, ())
                layout = _layout(metric, declared)
                if isinstance(metric, CounterSpec) and metric.perf_event_array:
                    bpf_map = self._events(metric, bpf_map.info, clock)
                made = MapMetric(bpf_map, metric, prefix, max_series, decoders, layout)
                self.metrics.append(made)
            except KernmeshError as error:
                self._problems.append(str(error))
        self.evictions = self._evictions(clock)
        self.cgroups: CgroupIds | None = None
        self.spans: list[tuple[str, SpanReader]] = []
        self._said: set[str] = set()

    def _events(self, metric: CounterSpec, info: MapInfo, clock: Clock) -> EventCounts:
        """What counts the metric's events. Raises BpfError where its map sends none."""
        size = sum(label.size + label.padding for label in metric.labels)
        counts = EventCounts(info, size, metric.flush_interval, clock)
        self.loaded.listen(info.name, counts.take)
        self.events.setdefault(info.name, []).append(counts)
        return counts

    def _evictions(self, clock: Clock) -> list[Eviction]:
        by_map: dict[str, list[MapMetric]] = {}
        for metric in self.metrics:
            if evict_after(metric.spec):
                by_map.setdefault(metric.spec.map_name, []).append(metric)
        return [
            Eviction(self.loaded.maps[name], metrics, evict_after(metrics[0].spec), clock)
            for name, metrics in by_map.items()
        ]

    def keep_up(self) -> None:
        """What is to be done now and then, scraped or not; never while it is being collected."""
        for eviction in self.evictions:
            self._run("evict_after: ", eviction.run)
        if self.cgroups is not None:
            self._run("", self.cgroups.run)

    def _run(self, what: str, work: Callable[[], None]) -> None:
        """What fails is said once, and tried again the next time."""
        try:
            work()
        except BpfError as error:
            if str(error) not in self._said:
                self._said.add(str(error))
                log.warning("program %s: %s%s", self.name, what, error)

    def note(self, problem: str) -> None:
        """One more line of `problems`."""
        self._problems.append(problem)

    def read_spans(self, readers: Sequence[tuple[str, SpanReader]]) -> None:
        """From now on each reader gets the records of its ring buffer."""
        for ringbuf, reader in readers:
            try:
                self.loaded.listen(ringbuf, reader.take)
            except BpfError as error:
                self._problems.append(f"tracing: {error}")
                continue
            self.spans.append((ringbuf, reader))

    def choose_cgroups(self, spec: CgroupIdMapSpec, fs: HostFs) -> None:
        """From now on the program's map of cgroups is kept up."""
        bpf_map = self.loaded.maps.get(spec.name)
        try:
            if bpf_map is None:
                raise BpfError(f"cgroup_id_map: the object has no map {spec.name}")
            self.cgroups = CgroupIds(bpf_map, spec, fs)
        except KernmeshError as error:
            self._problems.append(str(error))
            return
        self._run("", self.cgroups.run)

    @property
    def name(self) -> str:
        return self.loaded.name

    @property
    def problems(self) -> tuple[str, ...]:
        """One line per metric, function or optional hook that is missing."""
        return (*self.loaded.problems, *self._problems)

    @property
    def decoder_errors(self) -> int:
        records = sum(reader.failures for _, reader in self.spans)
        return records + sum(metric.rows.failures for metric in self.metrics)

    def collect(self) -> Iterable[Metric]:
        """Raises BpfError, after everything else, for maps that could not be read."""
        return self._collect(self.metrics)

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        """Reads only the maps that the names need; all where the state of maps is asked for."""
        if not _FROM_MAPS.isdisjoint(names) or any(
            name.endswith("_decoder_errors_total") for name in names
        ):
            return self._collect(self.metrics)
        return self._collect(
            [each for each in self.metrics if not each.shape.sample_names().isdisjoint(names)]
        )

    def _collect(self, metrics: Sequence[MapMetric]) -> Iterator[Metric]:
        errors: list[str] = []
        users = Counter(
            metric.spec.map_name for metric in metrics if metric.spec.map_name not in self.events
        )
        reads: dict[str, Callable[[], MapRows]] = {}
        for metric in metrics:
            name = metric.spec.map_name
            if users[name] > 1 and name not in reads:  # its metrics are of one moment
                reads[name] = cache(self.loaded.maps[name].read)
            try:
                yield metric.collect(reads.get(name))
            except BpfError as error:
                errors.append(f"metric {metric.spec.name}: {error}")
            self._tell_failures(metric)
        if errors:
            raise BpfError("; ".join(errors))

    def _tell_failures(self, metric: MapMetric) -> None:
        """The first undecodable key of a metric is said; how many there are is counted."""
        if metric.rows.failures and metric.spec.name not in self._failures:
            self._failures[metric.spec.name] = metric.rows.failures
            log.warning(
                "program %s: metric %s: %s: left out and counted, as others like it",
                self.name,
                metric.spec.name,
                metric.rows.last_failure,
            )


def _layout(metric: MetricSpec, declared: BpfObject | None) -> Layout | None:
    """None where the YAML names no members. Raises KernmeshError for one that is not there."""
    if not needs_types(metric):
        return None
    found = declared.maps.get(metric.map_name) if declared else None
    if declared is None or found is None:
        raise KernmeshError(
            f"metric {metric.name}: names members of a key or value, "
            "but the object has no type information"
        )
    try:
        return layout_of(metric, found, declared.btf)
    except BpfError as error:
        raise KernmeshError(f"metric {metric.name}: {error}") from None


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
        self._kept: dict[_Fact, Kept] = {}
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


class _Fact(NamedTuple):
    kind: Kind
    name: str
    documentation: str
    labels: tuple[str, ...]


_UP = _Fact("gauge", "kernmesh_ebpf_program_up", "Whether the program runs.", ("program",))
_OFF = _Fact(
    "gauge",
    "kernmesh_ebpf_program_off_info",
    "Why a program that is wanted does not run.",
    ("program", "reason"),
)
_HOOK = _Fact(
    "gauge", "kernmesh_ebpf_hook_info", "Hooks that the program has got.", ("program", "hook")
)
_BACKEND = _Fact(
    "gauge",
    "kernmesh_ebpf_backend_info",
    "Who loaded the program: core (libbpf) or bcc.",
    ("program", "backend"),
)
_ENTRIES = _Fact(
    "gauge", "kernmesh_ebpf_map_entries", "Entries at the last read.", ("program", "map")
)
_MAX_ENTRIES = _Fact(
    "gauge", "kernmesh_ebpf_map_max_entries", "Entries that fit.", ("program", "map")
)
_BYTES = _Fact(
    "gauge", "kernmesh_ebpf_map_bytes", "Kernel memory that the map holds.", ("program", "map")
)
_REFUSED = _Fact(
    "counter",
    "kernmesh_ebpf_map_refused_updates_total",
    "Updates that the kernel refused, mostly because the map is full.",
    ("program", "map"),
)
_EVICTED = _Fact(
    "counter",
    "kernmesh_ebpf_map_evicted_keys_total",
    "Keys taken out of the map because they had stopped changing (evict_after).",
    ("program", "map"),
)
_SPANS = _Fact(
    "counter",
    "kernmesh_ebpf_spans_total",
    "Spans made of the records of a ring buffer and given to the OTLP exporter.",
    ("program", "map"),
)
_MISSED = _Fact(
    "counter",
    "kernmesh_ebpf_missed_runs_total",
    "Events that the kernel did not show the program, as the CPU was in the same function already.",
    ("program",),
)
_LOST = _Fact(
    "counter",
    "kernmesh_ebpf_events_lost_total",
    "Events that found no room in their buffer, or were too short to be counted.",
    ("program", "map"),
)
_FOLDED = _Fact(
    "gauge",
    "kernmesh_ebpf_series_folded",
    'Map keys over max_series, summed into label value "other".',
    ("family",),
)
_CACHED = _Fact(
    "gauge",
    "kernmesh_ebpf_label_cache_entries",
    "Decoded map keys that are kept; they go with the keys.",
    ("family",),
)
_FROM_MAPS = frozenset((_ENTRIES.name, _FOLDED.name, _CACHED.name))


class _Status:
    """Facts about programs, read from the kernel or from what this scrape's reads left behind."""

    def __init__(
        self,
        prefix: str,
        kept: dict["_Fact", Kept],
        running: Sequence[ProgramCollector],
        failed: Sequence[FailedProgram],
    ) -> None:
        self._kept = kept
        self._running = running
        self._failed = failed
        self._configs = _Fact(
            "gauge", f"{prefix}_enabled_configs", "The programs that run.", ("name",)
        )
        self._errors = _Fact(
            "counter",
            f"{prefix}_decoder_errors_total",
            "Map keys that could not be decoded, each once while it lives.",
            ("config",),
        )
        self._info = _Fact(
            "gauge",
            f"{prefix}_ebpf_program_info",
            "BPF functions in the kernel.",
            ("config", "program", "tag", "id"),
        )
        self._attached = _Fact(
            "gauge", f"{prefix}_ebpf_program_attached", "Whether it is attached.", ("id",)
        )
        self._run_time = _Fact(
            "counter",
            f"{prefix}_ebpf_program_run_time_seconds",
            "Time that it ran, while kernel.bpf_stats_enabled is 1.",
            ("id",),
        )
        self._run_count = _Fact(
            "counter",
            f"{prefix}_ebpf_program_run_count_total",
            "How often it ran, while kernel.bpf_stats_enabled is 1.",
            ("id",),
        )

    def _facts(self) -> tuple[_Fact, ...]:
        upstream = (self._configs, self._errors, self._info, self._attached)
        runs = (self._run_time, self._run_count)
        states = (
            _UP,
            _OFF,
            _HOOK,
            _ENTRIES,
            _MAX_ENTRIES,
            _BYTES,
            _REFUSED,
            _EVICTED,
            _SPANS,
            _MISSED,
            _LOST,
        )
        return (*upstream, *runs, *states, _FOLDED, _CACHED, _BACKEND)

    def collect_names(self, names: Collection[str]) -> Iterable[Metric]:
        if {fact.name for fact in self._facts()}.isdisjoint(names):
            return ()
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """Raises BpfError, after everything else, for what the kernel would not tell."""
        found: dict[_Fact, Numbers] = {fact: {} for fact in self._facts()}
        errors: list[str] = []
        for program in self._running:
            found[_UP][program.name,] = 1
            found[self._configs][program.name,] = 1
            found[self._errors][program.name,] = program.decoder_errors
            self._maps(program, found)
            for ask in (self._functions, self._refused):
                try:
                    ask(program, found)
                except BpfError as error:
                    errors.append(f"program {program.name}: {error}")
        for name, reason in self._failed:
            found[_UP][name,] = 0
            found[_OFF][name, reason] = 1
        for fact, numbers in found.items():
            if numbers:
                if fact not in self._kept:
                    self._kept[fact] = Kept(Shape(*fact))
                yield self._kept[fact].family(numbers)
        if errors:
            raise BpfError("; ".join(errors))

    def _maps(self, program: ProgramCollector, found: Mapping[_Fact, Numbers]) -> None:
        for name, bpf_map in program.loaded.maps.items():
            info = bpf_map.info
            found[_MAX_ENTRIES][program.name, name] = info.max_entries
            if info.bytes is not None:
                found[_BYTES][program.name, name] = info.bytes
        if program.cgroups is not None:
            found[_ENTRIES][program.name, program.cgroups.map_name] = program.cgroups.selected
        for name, reader in program.spans:
            key = (program.name, name)
            found[_SPANS][key] = found[_SPANS].get(key, 0) + reader.spans
        for eviction in program.evictions:
            found[_EVICTED][program.name, eviction.map_name] = eviction.evicted
        for metric in program.metrics:
            if metric.entries is not None:
                found[_ENTRIES][program.name, metric.spec.map_name] = metric.entries
            for fact, number in ((_FOLDED, metric.rows.folded), (_CACHED, metric.rows.cached)):
                family = (metric.shape.exposed,)
                found[fact][family] = found[fact].get(family, 0) + number

    def _functions(self, program: ProgramCollector, found: Mapping[_Fact, Numbers]) -> None:
        for function in program.loaded.functions():
            number = str(function.id)
            found[self._info][program.name, function.name, function.tag, number] = 1
            found[self._attached][number,] = int(function.attached)
            if function.run_time_ns is not None:
                found[self._run_time][number,] = function.run_time_ns / 1e9
            if function.run_count is not None:
                found[self._run_count][number,] = function.run_count
            if function.missed is not None:
                missed = found[_MISSED].get((program.name,), 0)
                found[_MISSED][program.name,] = missed + function.missed
            if function.attached:
                found[_HOOK][program.name, function.hook] = 1
                found[_BACKEND][program.name, function.backend] = 1

    def _refused(self, program: ProgramCollector, found: Mapping[_Fact, Numbers]) -> None:
        for name, count in program.loaded.refused_updates().items():
            if name not in program.events:
                found[_REFUSED][program.name, name] = count
        for name, lost in program.loaded.lost_events().items():
            counts = program.events.get(name, ())
            found[_LOST][program.name, name] = lost + sum(each.short for each in counts)
            found[_REFUSED][program.name, name] = sum(each.refused for each in counts)
