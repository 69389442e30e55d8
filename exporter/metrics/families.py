"""Families of one name from several collectors: one head where they agree, else the first.

The rule: what the page shows is valid: no name has two heads, no label set stands twice. Works
on any prometheus_client Metric; knows no collectors but by name.
"""

from collections.abc import Iterator, Mapping
from typing import cast

from prometheus_client import Metric
from prometheus_client.samples import Sample

from exporter.metrics.table import FastFamily, merge

_SUFFIXES = {
    "counter": ("_total", "_created"),
    "summary": ("_sum", "_count", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "gaugehistogram": ("_bucket", "_gsum", "_gcount"),
    "info": ("_info",),
}
_SUMMED = ("counter", "histogram")


class Merged:
    """Families in the order of their first coming. Iterate once all are added."""

    def __init__(self) -> None:
        self._families: dict[str, Metric] = {}
        self._owners: dict[str, str] = {}  # sample name → family name
        self._from: dict[str, str] = {}
        self.left_out: dict[tuple[str, ...], float] = {}
        """(collector, family) of what was refused → 1."""

    def __iter__(self) -> Iterator[Metric]:
        return iter(self._families.values())

    def add(self, collector: str, family: Metric) -> str | None:
        """None where it is in; else why it is left out, in one line."""
        name = family.name
        here = self._families.get(name)
        if here is not None:
            united = _unite(here, family)
            if isinstance(united, Metric):
                self._families[name] = united
                return None
            problem = united
        else:
            claims = [name, *(name + suffix for suffix in _SUFFIXES.get(family.type, ()))]
            taken = next((claim for claim in claims if claim in self._owners), None)
            if taken is None:
                self._families[name] = family
                self._from[name] = collector
                self._owners.update(dict.fromkeys(claims, name))
                return None
            name = self._owners[taken]
            problem = f"the sample name {taken} belongs to the {self._families[name].type} {name}"
        self.left_out[collector, family.name] = 1
        return (
            f"{collector}: metric {family.name} left out: {self._from[name]} has it already and "
            f"{problem}; rename one, or make both alike"
        )


def only(family: Metric, names: frozenset[str]) -> Metric | None:
    """The family with the samples so named, None where there are none."""
    if isinstance(family, FastFamily):
        return family.only(names)
    return cast("Metric | None", family._restricted_metric(names))  # type: ignore[no-untyped-call]


def _unite(first: Metric, second: Metric) -> Metric | str:
    """Both as one, or what they disagree about."""
    for what, one, other in (
        ("type", _type(first), _type(second)),
        ("help", first.documentation, second.documentation),
        ("unit", first.unit, second.unit),
        ("labels", _labels(first), _labels(second)),
        ("buckets", _buckets(first), _buckets(second)),
    ):
        if one != other and None not in (one, other):
            return f"{what} differs: {_words(one)} there, {_words(other)} here"
    summed = _type(first) in _SUMMED
    if not summed and (alike := _keys(first) & _keys(second)):
        return f"a {first.type} cannot be summed, but both have {_words(sorted(alike)[0][1])}"
    if isinstance(first, FastFamily) and isinstance(second, FastFamily):
        return merge(first, second)
    united = Metric(first.name, first.documentation, first.type, first.unit)
    totals: dict[object, Sample] = {}
    for sample in (*first.samples, *second.samples):
        key = _key(sample)
        if key in totals and not sample.name.endswith("_created"):
            sample = totals[key]._replace(value=totals[key].value + sample.value)
        totals[key] = sample
    united.samples = list(totals.values())
    return united


def _type(family: Metric) -> str:
    return family.shape.kind if isinstance(family, FastFamily) else family.type


def _labels(family: Metric) -> frozenset[str] | None:
    """None where there is no sample to tell by."""
    if isinstance(family, FastFamily):
        return frozenset(family.shape.labels)
    for sample in family.samples:
        return frozenset(sample.labels) - {"le", "quantile"}
    return None


def _buckets(family: Metric) -> frozenset[str] | None:
    if family.type != "histogram" or not family.samples:
        return None
    return frozenset(sample.labels["le"] for sample in family.samples if "le" in sample.labels)


def _key(sample: Sample) -> tuple[str, tuple[tuple[str, str], ...]]:
    return sample.name, tuple(sorted(sample.labels.items()))


def _keys(family: Metric) -> frozenset[tuple[str, tuple[tuple[str, str], ...]]]:
    return frozenset(map(_key, family.samples))


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        value = tuple(value.items())
    if isinstance(value, frozenset | tuple):
        inner = sorted(
            f'{item[0]}="{item[1]}"' if isinstance(item, tuple) else str(item) for item in value
        )
        return "{" + ", ".join(inner) + "}"
    return repr(value)
