"""Containers' usage, limits and names as metric families; conventions are cadvisor's.

The rule: a row that says nothing of a measure is not in its family. The lines are kept while the
containers stay the same, for most of a scrape of a thousand of them would be making these anew.
"""

from collections.abc import Iterable, Sequence

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.host.cgroup_stat import Usage
from exporter.metrics.gotext import GoTexts
from exporter.metrics.table import Column, FastFamily, Kind, Lines, Shape
from exporter.usage.pods import Container, PodUsage, Row

_LABELS = ("namespace", "pod", "container", "qos", "class")
_FAMILIES: tuple[tuple[str, Kind, str, str], ...] = (
    ("cpu_seconds", "counter", "cpu_usage_seconds_total", "Time on CPUs."),
    ("periods", "counter", "cpu_cfs_periods_total", "Periods of its CPU quota that it ran in."),
    (
        "throttled_periods",
        "counter",
        "cpu_cfs_throttled_periods_total",
        "Periods in which it used up its CPU quota.",
    ),
    (
        "throttled_seconds",
        "counter",
        "cpu_cfs_throttled_seconds_total",
        "Time in which its CPU quota kept it from running.",
    ),
    ("memory_bytes", "gauge", "memory_usage_bytes", "Memory in use, page cache included."),
    (
        "working_set_bytes",
        "gauge",
        "memory_working_set_bytes",
        "Memory in use less inactive files, which is what kubelet evicts by.",
    ),
    ("read_bytes", "counter", "fs_reads_bytes_total", "Bytes read from block devices."),
    ("written_bytes", "counter", "fs_writes_bytes_total", "Bytes written to block devices."),
    ("reads", "counter", "fs_reads_total", "Reads from block devices."),
    ("writes", "counter", "fs_writes_total", "Writes to block devices."),
    ("tasks", "gauge", "threads", "Threads in it."),
)
_CPU_LIMIT = Shape(
    "gauge",
    "kernmesh_container_spec_cpu_limit_cores",
    "Its CPU quota in processors; missing where it has none.",
    _LABELS,
)
_MEMORY_LIMIT = Shape(
    "gauge",
    "kernmesh_container_spec_memory_limit_bytes",
    "Its memory limit; missing where it has none.",
    _LABELS,
)
_IO_LIMITS = {
    unit: Shape(
        "gauge",
        f"kernmesh_container_spec_fs_limit_{unit}_per_second",
        f"How many {unit} per second it may read from, or write to, a block device.",
        (*_LABELS, "device", "operation"),
    )
    for unit in ("bytes", "operations")
}
_INFO = Shape(
    "gauge",
    "kernmesh_container_info",
    "Which pod uid and container id the labels of the other metrics stand for.",
    (*_LABELS, "uid", "id"),
)


class _Column:
    """One measure's family, with the lines of those rows that had it last time."""

    def __init__(self, measure: str, kind: Kind, name: str, text: str) -> None:
        self._at = Usage._fields.index(measure)
        self._shape = Shape(kind, f"kernmesh_container_{name}", text, _LABELS)
        self._text = GoTexts(exact=not measure.endswith("_seconds"))
        self._having: list[Container] = []
        self._lines = Lines([])

    def family(self, rows: Sequence[Row]) -> FastFamily | None:
        at = self._at
        having = [row.container for row in rows if row.usage[at] is not None]
        if having != self._having:
            self._having = having
            self._lines = Lines([self._shape.lines(each.labels)[0] for each in having])
        values = [value for _, usage in rows if (value := usage[at]) is not None]
        if not values:
            return None
        return FastFamily(self._shape, self._lines, (Column(values, self._text),))


class PodsCollector:
    def __init__(self, usage: PodUsage, clock: Clock) -> None:
        self._usage = usage
        self._clock = clock
        self._columns = [_Column(*each) for each in _FAMILIES]
        self._seen: list[Container] = []
        self._info = FastFamily.of(_INFO, {})

    def collect(self) -> Iterable[Metric]:
        """Raises NoData where the node runs no pods."""
        rows = self._usage.rows(self._clock.monotonic())
        for column in self._columns:
            family = column.family(rows)
            if family is not None:
                yield family
        yield from self._limits(rows)
        seen = [row.container for row in rows]
        if seen != self._seen:
            self._seen = seen
            ids = ((*each.labels, each.pod.uid, each.pod.container) for each in seen)
            self._info = FastFamily.of(_INFO, dict.fromkeys(ids, 1))
        if seen:
            yield self._info

    def _limits(self, rows: Sequence[Row]) -> Iterable[Metric]:
        cpu, memory = {}, {}
        io: dict[str, dict[tuple[str, ...], float]] = {unit: {} for unit in _IO_LIMITS}
        for container, _ in rows:
            limits = container.limits
            if limits.cpu_cores is not None:
                cpu[container.labels] = limits.cpu_cores
            if limits.memory_bytes is not None:
                memory[container.labels] = float(limits.memory_bytes)
            for each in limits.io:
                key = (*container.labels, each.device, each.operation)
                io[each.unit][key] = float(each.rate)
        if cpu:
            yield FastFamily.of(_CPU_LIMIT, cpu)
        if memory:
            yield FastFamily.of(_MEMORY_LIMIT, memory)
        for unit, found in io.items():
            if found:
                yield FastFamily.of(_IO_LIMITS[unit], found)
