"""Metric families that render fast: rendered prefixes and bare numbers, joined once.

The rule: the text is byte for byte what prometheus_client's own renderers make of the same
family's `samples` (tests hold it so), in text 0.0.4 and OpenMetrics 1.0.0. One exception: a
counter named without `_total` keeps its name, with TYPE counter in text and unknown in
OpenMetrics, which has no such counters. Knows neither maps nor keys.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from io import BytesIO
from itertools import chain, cycle
from typing import Literal, NamedTuple, TypeVar

from prometheus_client import Metric
from prometheus_client.samples import Sample

from exporter.metrics.gotext import GoTexts, go_float

_Values = TypeVar("_Values", bound=tuple[str, ...])
Kind = Literal["counter", "gauge", "histogram"]

# No ":": prometheus_client's two renderers do not agree on it.
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*\Z")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', re.DOTALL)
# Small pieces are made of memory that was just freed: in one piece, 10,000 lines take twice as
# long, most of it page faults.
_LINES_PER_CHUNK = 500
_UNESCAPE = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}


def joined(chunks: Iterable[bytes]) -> bytes:
    """As b"".join, without holding all the chunks beside the whole."""
    whole = BytesIO()
    for chunk in chunks:
        whole.write(chunk)
    return whole.getvalue()


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
        suffixes = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        self._sample_names = frozenset(name + suffix for suffix in suffixes)

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
        return self._sample_names


class Column(NamedTuple):
    """The i-th number of every label set, and what puts them into text. Whoever makes the same
    family at every scrape keeps the GoTexts."""

    values: Sequence[float]
    text: GoTexts


class Lines:
    """The beginnings of a family's lines, all label sets in one list. Kept from scrape to scrape
    while they stay the same, for the templates that are made of them."""

    def __init__(self, beginnings: list[str]) -> None:
        self.beginnings = beginnings
        self._templates: dict[int, tuple[tuple[bytes, ...], bytes]] = {}

    def template(self, start: int, stop: int, conversions: tuple[bytes, ...]) -> bytes:
        """Of the lines from `start` to `stop`, with the conversions in turn behind them."""
        kept = self._templates.get(start)
        if kept is not None and kept[0] == conversions:
            return kept[1]
        template = b"".join(
            line.encode().replace(b"%", b"%%") + conversion
            for line, conversion in zip(
                self.beginnings[start:stop], cycle(conversions), strict=False
            )
        )
        self._templates[start] = (conversions, template)
        return template


class FastFamily(Metric):
    """A family as line beginnings (`width` per label set, all in one list) and columns.

    `samples` is made only when somebody asks, so any prometheus_client consumer works.
    """

    def __init__(self, shape: Shape, lines: Lines, columns: Sequence[Column]) -> None:
        if len(columns) != shape.width or any(
            len(column.values) * shape.width != len(lines.beginnings) for column in columns
        ):
            raise ValueError(f"{shape.exposed}: columns do not fit {len(lines.beginnings)} lines")
        super().__init__(shape.family, shape.documentation, shape.type)
        self.shape = shape
        self.lines = lines
        self.columns = columns

    @staticmethod
    def of(shape: Shape, rows: Mapping[_Values, float]) -> "FastFamily":
        """A small counter or gauge family from label values → number."""
        lines = [shape.lines(values)[0] for values in rows]
        return FastFamily(shape, Lines(lines), (Column(list(rows.values()), GoTexts(exact=False)),))

    def chunks(self, openmetrics: bool) -> Iterator[bytes]:
        """HELP, TYPE and every sample as UTF-8, in pieces that end anywhere."""
        yield self.shape.head(openmetrics).encode()
        width = len(self.columns)
        step = max(1, _LINES_PER_CHUNK // width)
        for start in range(0, len(self.columns[0].values), step):
            arguments = [
                column.text.arguments(column.values, start, start + step) for column in self.columns
            ]
            template = self.lines.template(
                start * width,
                (start + step) * width,
                tuple(each.conversion for each in arguments),
            )
            flat: list[object] = [None] * (width * len(arguments[0].values))
            for index, each in enumerate(arguments):
                flat[index::width] = each.values
            yield template % tuple(flat)
        yield b"\n"

    def render(self, openmetrics: bool) -> bytes:
        return joined(self.chunks(openmetrics))

    @property
    def samples(self) -> list[Sample]:
        numbers = chain.from_iterable(zip(*(column.values for column in self.columns), strict=True))
        return [
            _sample(line, number)
            for line, number in zip(self.lines.beginnings, numbers, strict=True)
        ]

    @samples.setter
    def samples(self, samples: list[Sample]) -> None:
        if samples:  # Metric.__init__ sets an empty list, everything else is a mistake
            raise AttributeError("samples of a FastFamily follow from its lines and columns")

    def only(self, names: frozenset[str]) -> Metric | None:
        """Itself where every sample name is wanted, a plain Metric of those that are, or None."""
        own = self.shape.sample_names()
        if own <= names:
            return self if self.lines.beginnings else None
        if own.isdisjoint(names):
            return None
        kept = [sample for sample in self.samples if sample.name in names]
        if not kept:
            return None
        metric = Metric(self.name, self.documentation, self.type)
        metric.samples = kept
        return metric


class Kept:
    """A small counter or gauge family that is made at every scrape: its line beginnings are kept
    while its label values stay the same. One user at a time."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._labels: tuple[tuple[str, ...], ...] = ()
        self._lines = Lines([])
        self._text = GoTexts(exact=False)

    def family(self, rows: Mapping[_Values, float]) -> FastFamily:
        """From label values → number."""
        labels = tuple(rows)
        if labels != self._labels:
            self._lines = Lines([self._shape.lines(values)[0] for values in labels])
            self._labels = labels
        return FastFamily(self._shape, self._lines, (Column(list(rows.values()), self._text),))


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
    order = {line: index for index, line in enumerate(first.lines.beginnings[::width])}
    lines = list(first.lines.beginnings)
    columns = [list(column.values) for column in first.columns]
    for row, line in enumerate(second.lines.beginnings[::width]):
        at = order.get(line)
        if at is None:
            order[line] = len(columns[0])
            lines += second.lines.beginnings[row * width : (row + 1) * width]
            for column, more in zip(columns, second.columns, strict=True):
                column.append(more.values[row])
        else:
            for column, more in zip(columns, second.columns, strict=True):
                column[at] += more.values[row]
    return FastFamily(
        first.shape,
        Lines(lines),
        [
            Column(values, GoTexts(one.text.exact and other.text.exact))
            for values, one, other in zip(columns, first.columns, second.columns, strict=True)
        ],
    )
