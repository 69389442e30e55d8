"""Metric families that render fast: rendered prefixes and bare numbers, joined once.

The rule: the text is byte for byte what prometheus_client's own renderers make of the same
family's `samples` (tests hold it so), in text 0.0.4 and OpenMetrics 1.0.0. One exception: a
counter named without `_total` keeps its name, with TYPE counter in text and unknown in
OpenMetrics, which has no such counters. Knows neither maps nor keys.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Literal, NamedTuple, Self, cast

from prometheus_client import Metric
from prometheus_client.samples import Sample

from exporter.metrics.gotext import go_float, go_floats, go_ints

Kind = Literal["counter", "gauge", "histogram"]

# No ":": prometheus_client's two renderers do not agree on it.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
_UNESCAPE = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}


def escape(value: str) -> str:
    """A label value as it stands between quotes. Half a surrogate pair, which no UTF-8 can
    hold, becomes "?": one odd file name must not cost the whole scrape."""
    if not value.isascii():
        value = value.encode("utf-8", "replace").decode()
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class Shape:
    """What a family looks like, and how a label set's lines begin.

    `name` is the full name as exposed: counters with `_total`. `labels` without `le`.
    `bounds` are a histogram's finite upper bounds, ascending. Raises ValueError on names that
    Prometheus does not take.
    """

    def __init__(
        self,
        kind: Kind,
        name: str,
        documentation: str,
        labels: Sequence[str] = (),
        bounds: Sequence[float] = (),
    ) -> None:
        for word in (name, *labels):
            if not _NAME.match(word):
                raise ValueError(
                    f"{word!r} is no metric or label name, want [a-zA-Z_][a-zA-Z0-9_]*"
                )
        if len(set(labels)) != len(labels) or (kind == "histogram" and "le" in labels):
            raise ValueError(f"{name}: labels {', '.join(labels)} must differ (le is taken)")
        if list(bounds) != sorted(set(bounds)):
            raise ValueError(f"{name}: bucket bounds must ascend, got {list(bounds)}")
        self.kind: Kind = kind
        self.exposed = name
        self.documentation = documentation
        self.labels = tuple(labels)
        self.bounds = tuple(bounds)
        # As prometheus_client knows it: a counter's family has no _total, and a counter that
        # never had it is of unknown type to anybody but our own renderer.
        self.bare = kind == "counter" and not name.endswith("_total")
        self.family = name.removesuffix("_total") if kind == "counter" else name
        self.type = "unknown" if self.bare else kind
        text = documentation.replace("\\", r"\\").replace("\n", r"\n")
        self._heads = {
            False: f"# HELP {name} {text}\n# TYPE {name} {kind}",
            True: "# HELP {0} {1}\n# TYPE {0} {2}".format(
                self.family, text.replace('"', r"\""), self.type
            ),
        }
        self._order = sorted(range(len(labels)), key=labels.__getitem__)
        self._templates = tuple(self._make_templates())

    def _make_templates(self) -> Iterable[str]:
        if self.kind != "histogram":
            yield self._template(self.exposed)
            return
        for bound in (*self.bounds, float("inf")):
            yield self._template(f"{self.exposed}_bucket", go_float(bound))
        yield self._template(f"{self.exposed}_count")
        yield self._template(f"{self.exposed}_sum")

    def _template(self, name: str, le: str | None = None) -> str:
        parts = {label: f'{label}="%s"' for label in self.labels}
        if le is not None:
            parts["le"] = f'le="{le}"'
        inner = ",".join(parts[label] for label in sorted(parts))
        # The line break comes first, so that numbers need none behind them.
        return f"\n{name}{{{inner}}} " if inner else f"\n{name} "

    @property
    def width(self) -> int:
        """Lines per label set: 1, or a histogram's buckets, +Inf, count and sum."""
        return len(self._templates)

    def lines(self, values: Sequence[str]) -> tuple[str, ...]:
        """The `width` line beginnings of one label set; `values` in the order of `labels`."""
        escaped = tuple(escape(values[index]) for index in self._order)
        return tuple(template % escaped for template in self._templates)

    def head(self, openmetrics: bool) -> str:
        """HELP and TYPE, without the last line break."""
        return self._heads[openmetrics]

    def sample_names(self) -> frozenset[str]:
        """Every sample name that the family can have, for the `name[]` filter."""
        if self.kind != "histogram":
            return frozenset((self.exposed,))
        return frozenset(self.exposed + suffix for suffix in ("_bucket", "_count", "_sum"))


class Column(NamedTuple):
    """The i-th number of every label set. `exact`: integers ≥ 0, which print faster."""

    values: Sequence[float]
    exact: bool

    def texts(self) -> list[str]:
        return go_ints(cast(Sequence[int], self.values)) if self.exact else go_floats(self.values)


class FastFamily(Metric):
    """A family as line beginnings (`width` per label set, all in one list) and columns.

    `samples` is made only when somebody asks, so any prometheus_client consumer works.
    """

    def __init__(self, shape: Shape, lines: Sequence[str], columns: Sequence[Column]) -> None:
        if len(columns) != shape.width or any(
            len(column.values) * shape.width != len(lines) for column in columns
        ):
            raise ValueError(f"{shape.exposed}: columns do not fit {len(lines)} lines")
        super().__init__(shape.family, shape.documentation, shape.type)
        self.shape = shape
        self.lines = lines
        self.columns = columns

    @classmethod
    def of(cls, shape: Shape, rows: Mapping[tuple[str, ...], float]) -> Self:
        """A small counter or gauge family from label values → number."""
        lines = [shape.lines(values)[0] for values in rows]
        return cls(shape, lines, (Column(list(rows.values()), exact=False),))

    def render(self, openmetrics: bool) -> str:
        """HELP, TYPE and every sample, each line with its line break."""
        pieces = [""] * (2 * len(self.lines))
        pieces[0::2] = self.lines
        for index, column in enumerate(self.columns):
            pieces[2 * index + 1 :: 2 * len(self.columns)] = column.texts()
        return self.shape.head(openmetrics) + "".join(pieces) + "\n"

    @property
    def samples(self) -> list[Sample]:
        numbers = chain.from_iterable(zip(*(column.values for column in self.columns), strict=True))
        return [_sample(line, number) for line, number in zip(self.lines, numbers, strict=True)]

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        if samples:  # Metric.__init__ sets an empty list, everything else is a mistake
            raise AttributeError("samples of a FastFamily follow from its lines and columns")

    def only(self, names: frozenset[str]) -> Metric | None:
        """Itself where every sample name is wanted, a plain Metric of those that are, or None."""
        if self.shape.sample_names() <= names:
            return self if self.lines else None
        kept = [sample for sample in self.samples if sample.name in names]
        if not kept:
            return None
        metric = Metric(self.name, self.documentation, self.type)
        metric.samples = kept
        return metric


def _sample(line: str, number: float) -> Sample:
    name, _, inner = line[1:-1].partition("{")
    labels = {
        label: re.sub(r"\\.", lambda found: _UNESCAPE[found[0]], value)
        for label, value in _LABEL.findall(inner)
    }
    return Sample(name, labels, number)


def merge(first: FastFamily, second: FastFamily) -> FastFamily:
    """Two families of the same shape under one head; label sets that are alike are summed.

    Only for counters and histograms of one name, labels and bounds (the caller has checked).
    """
    width = first.shape.width
    order = {line: index for index, line in enumerate(first.lines[::width])}
    lines = list(first.lines)
    columns = [list(column.values) for column in first.columns]
    for row, line in enumerate(second.lines[::width]):
        at = order.get(line)
        if at is None:
            order[line] = len(columns[0])
            lines += second.lines[row * width : (row + 1) * width]
            for column, more in zip(columns, second.columns, strict=True):
                column.append(more.values[row])
        else:
            for column, more in zip(columns, second.columns, strict=True):
                column[at] += more.values[row]
    return FastFamily(
        first.shape,
        lines,
        [
            Column(values, one.exact and other.exact)
            for values, one, other in zip(columns, first.columns, second.columns, strict=True)
        ],
    )
