"""What the slow tier last read of the node, as it stands: totals and values for Prometheus.

The rule: nothing is read at a scrape; the numbers are those that the gauges were reckoned from.
Names are kernmesh_node_*: node_exporter has like facts per processor, which these are not.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from prometheus_client import Metric

from exporter.errors import NoData
from exporter.metrics.gotext import GoTexts
from exporter.metrics.table import Column, FastFamily, Lines, Shape
from exporter.usage.node import CpuReader, LoadReader, MemoryReader, ReclaimReader
from exporter.usage.series import Kind, Series
from exporter.usage.statistics import Usage, tell


class _Fact(NamedTuple):
    """Which family a series goes into, and with what label values."""

    shape: Shape
    labels: tuple[str, ...]


def _shape(kind: Kind, name: str, text: str, label: str = "") -> Shape:
    full = f"kernmesh_node_{name}" + ("_total" if kind == "counter" else "")
    return Shape(kind, full, text, [label] if label else [])


_CPU = _shape("counter", "cpu_seconds", "Time of all processors by what they did.", "mode")
_MEMORY = _shape("gauge", "memory_bytes", "Memory by kind, from /proc/meminfo.", "kind")
_LOAD = _shape("gauge", "load", "Tasks that run or want to, mean over so long.", "over")
_RECLAIM = {
    "direct_reclaims": "Allocations that had to reclaim memory themselves.",
    "direct_compactions": "Allocations that had to compact memory themselves.",
    "refaults": "Pages read back soon after they were reclaimed.",
    "activated": "Of those, pages that had been in use all along.",
}
_SINGLE: dict[Series, _Fact] = {
    **{s: _Fact(_CPU, (s.name[9:-8],)) for s in CpuReader.MODES},
    **{s: _Fact(_MEMORY, (s.name[9:-6],)) for s in MemoryReader.KEYS.values()},
    **{s: _Fact(_LOAD, (s.name[10:],)) for s in LoadReader.MINUTES},
    **{
        s: _Fact(_shape("counter", f"vm_{s.name[8:]}", _RECLAIM[s.name[8:]]), ())
        for s in ReclaimReader.EVENTS
    },
    CpuReader.ONLINE: _Fact(_shape("gauge", "cpus_online", "Processors online."), ()),
    CpuReader.RUNNING: _Fact(_shape("gauge", "tasks_running", "Tasks on or for a CPU."), ()),
    CpuReader.BLOCKED: _Fact(
        _shape("gauge", "tasks_blocked", "Tasks that wait uninterruptibly, mostly for disks."), ()
    ),
    CpuReader.SWITCHES: _Fact(_shape("counter", "context_switches", "Context switches."), ()),
}
_MANY: dict[str, tuple[str, Kind, dict[str, str]]] = {
    "node.disk": (
        "device",
        "counter",
        {
            "reads": "Reads completed.",
            "read_bytes": "Bytes read.",
            "read_seconds": "Time that reads took, added up.",
            "writes": "Writes completed.",
            "written_bytes": "Bytes written.",
            "write_seconds": "Time that writes took, added up.",
            "busy_seconds": "Time with at least one request in flight.",
        },
    ),
    "node.net": (
        "device",
        "counter",
        {
            f"{way}_{what}": f"{text} {did}."
            for way, did in (("receive", "received"), ("transmit", "sent"))
            for what, text in (
                ("bytes", "Bytes"),
                ("packets", "Packets"),
                ("errors", "Packets in error, not"),
                ("drops", "Packets dropped, not"),
            )
        },
    ),
    "node.filesystem": (
        "mountpoint",
        "gauge",
        {
            "used_bytes": "Bytes in use.",
            "available_bytes": "Bytes that work without privilege may still write.",
        },
    ),
}
_SHAPES = {
    (thing, measure): _shape(kind, f"{thing[5:]}_{measure}", text, label)
    for thing, (label, kind, measures) in _MANY.items()
    for measure, text in measures.items()
}


class _Family(NamedTuple):
    """A family that is rendered again and again: of the same series, with other values."""

    shape: Shape
    lines: Lines
    texts: GoTexts
    series: tuple[Series, ...]


class NodeFacts:
    """A collector over History."""

    def __init__(self, usage: Usage) -> None:
        self._usage = usage
        self._series: frozenset[Series] = frozenset()
        self._families: tuple[_Family, ...] = ()

    def collect(self) -> Iterable[Metric]:
        """Raises NoData before the first sample, KernmeshError (after what is known) where a source
        cannot be read. What is unknown is left out."""
        values = self._usage.latest("slow")
        families = self._families
        if values.keys() != self._series:
            families = tuple(_families(values))
            self._series, self._families = frozenset(values), families
        if not families:
            tell(self._usage)
            raise NoData("no sample yet: the first one comes at the start")
        for shape, lines, texts, series in families:
            yield FastFamily(shape, lines, (Column([values[each] for each in series], texts),))
        tell(self._usage)


def _families(found: Iterable[Series]) -> Iterator[_Family]:
    facts = {series: fact for series in found if (fact := _fact(series)) is not None}
    shapes = {fact.shape.exposed: fact.shape for fact in facts.values()}
    for name, shape in shapes.items():
        own = tuple(series for series, fact in facts.items() if fact.shape.exposed == name)
        lines = Lines([shape.lines(facts[series].labels)[0] for series in own])
        yield _Family(shape, lines, GoTexts(exact=False), own)


def _fact(series: Series) -> _Fact | None:
    if series in _SINGLE:
        return _SINGLE[series]
    path, _, measure = series.name.rpartition(".")
    thing, _, which = path.partition("/")
    shape = _SHAPES.get((thing, measure))
    return None if shape is None else _Fact(shape, (which,))
