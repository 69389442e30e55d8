"""What a dashboard has to know of a program: its metrics with their names, labels and units.

Read off the program's YAML alone, so a user's own program has panels before it has ever run. The
unit is what the metric's name ends in (https://prometheus.io/docs/practices/naming).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from exporter.ebpf.metricspec import HistogramSpec, MetricSpec
from exporter.ebpf.spec import Program, read_program

_TARGETS = frozenset({"job", "instance"})
_UNITS = {"seconds": "s", "bytes": "bytes", "ratio": "percentunit"}
# How fast what is counted grows: seconds per second are how many wait, or work, at once.
_RATES = {"seconds": "short", "bytes": "Bps", "packets": "pps"}


class Metric(NamedTuple):
    """`labels` are as Prometheus has them after a scrape. `unit` is Grafana's, of the value, and of
    the growth per second where it is a counter."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...]
    unit: str


class Drawn(NamedTuple):
    name: str
    metrics: tuple[Metric, ...]


def drawn(program: Program, prefix: str) -> Drawn:
    """`prefix` is ebpf.prefix of the agents. Histograms come first: they say most."""
    metrics = program.spec.metrics
    found = (
        *_all(metrics.histograms, "histogram", prefix),
        *_all(metrics.gauges, "gauge", prefix),
        *_all(metrics.counters, "counter", prefix),
    )
    return Drawn(program.name, found)


def shipped(folder: Path, prefix: str) -> list[Drawn]:
    """All programs of a folder that export metrics, by name."""
    programs = (read_program(path) for path in sorted(folder.glob("*.yaml")))
    return [each for each in (drawn(program, prefix) for program in programs) if each.metrics]


def _all(
    specs: tuple[MetricSpec, ...], kind: Literal["counter", "gauge", "histogram"], prefix: str
) -> Iterator[Metric]:
    for spec in specs:
        names = [label.name for label in spec.labels]
        if isinstance(spec, HistogramSpec) and names[-1:] == ["bucket"]:
            names.pop()
        # A label that Prometheus has itself is renamed by it (honor_labels: false).
        labels = tuple(f"exported_{name}" if name in _TARGETS else name for name in names)
        word = spec.name.removesuffix("_total").rpartition("_")[2]
        unit = _RATES.get(word, "ops") if kind == "counter" else _UNITS.get(word, "short")
        text = spec.help.strip() or f"What {spec.name} counts"
        yield Metric(kind, f"{prefix}_{spec.name}", text, labels, unit)
