"""A running program as a collector of its metrics.

The rule: one map, one key that is wrong costs itself and nothing else. Knows the map seam
(maps.py); loads and attaches nothing. How programs themselves are is status.py's.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache

from prometheus_client import Metric

from exporter.clock import Clock, SystemClock
from exporter.ebpf import facts
from exporter.ebpf.cgroupids import CgroupIds
from exporter.ebpf.elf import BpfObject
from exporter.ebpf.eventcounts import EventCounts
from exporter.ebpf.eviction import Eviction
from exporter.ebpf.layout import Layout, layout_of, needs_types
from exporter.ebpf.mapmetric import Decode, MapMetric
from exporter.ebpf.maps import LoadedProgram, MapInfo, MapRows
from exporter.ebpf.metricspec import CounterSpec, MetricSpec, evict_after
from exporter.ebpf.spans import SpanReader
from exporter.ebpf.spec import CgroupIdMapSpec, ProgramSpec
from exporter.errors import BpfError, KernmeshError
from exporter.hostfs import HostFs

log = logging.getLogger(__name__)


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
        clock = self._clock = clock or SystemClock()
        self.read_at: float | None = None
        """When all maps were read last (monotonic seconds); None: never."""
        self.counted: int | None = None
        """Events up to then: those of its busiest counter or histogram, as several mostly count the
        same ones. None where it has none, or before."""
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
        if not facts.FROM_MAPS.isdisjoint(names) or any(
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
        if len(metrics) == len(self.metrics):  # a part of them says nothing of the rest
            counts = [each.counted for each in metrics if each.shape.kind != "gauge"]
            self.counted, self.read_at = max(counts, default=None), self._clock.monotonic()
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
