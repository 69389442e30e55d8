"""Crane's annotations: its DynamicSchedulerPolicy read as it is, and the values that it says.

The rule: a value is a fraction with the time of its writing, in the zone in which crane's scheduler
reads it; what is unknown is not written, and grows old where it stands. Pure but for reading the
policy. Knows no Node and no API.

https://github.com/gocrane/crane-scheduler: pkg/plugins/apis/policy/v1alpha1 (the policy),
pkg/controller/annotator (the values), pkg/plugins/dynamic/stats.go (who reads them, how long).
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct, field

from exporter.config import Duration, Fault, doubles, line_of, load_yaml
from exporter.errors import ConfigError, Problem
from exporter.pressure.marks import stamp

SHORTEST_PERIOD = Duration("1s")
HOT_VALUE = "node_hot_value"

Text = Annotated[str, Meta(min_length=1)]
Fraction = Annotated[float, Meta(ge=0, le=1)]


class Sync(Struct, frozen=True, forbid_unknown_fields=True):
    """A metric that is written as an annotation every `period`."""

    name: Text
    period: Duration

    def faults(self) -> Iterator[Fault]:
        if self.period < SHORTEST_PERIOD:
            want = f"at least {SHORTEST_PERIOD}, since each Node is written so often"
            yield Fault(("period",), "too short", self.period, want)


class Limit(Struct, frozen=True, forbid_unknown_fields=True):
    """crane filters Nodes whose metric is over it; spelt as crane spells it; 0 is off."""

    name: Text
    max_limit: Fraction = field(name="maxLimitPecent", default=0.0)


class Weight(Struct, frozen=True, forbid_unknown_fields=True):
    name: Text
    weight: Annotated[float, Meta(ge=0)] = 0.0


class Hot(Struct, frozen=True, forbid_unknown_fields=True):
    """Each `count` pods that were bound within `timeRange` make a Node hotter by one."""

    time_range: Duration = field(name="timeRange")
    count: Annotated[int, Meta(ge=1)]

    def faults(self) -> Iterator[Fault]:
        if self.time_range <= 0:
            yield Fault(("timeRange",), "too short", self.time_range, "more than 0")


class Spec(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    sync_policy: tuple[Sync, ...] = ()
    predicate: tuple[Limit, ...] = ()
    priority: tuple[Weight, ...] = ()
    hot_value: tuple[Hot, ...] = ()

    def faults(self) -> Iterator[Fault]:
        names = [each.name for each in self.sync_policy]
        for index in doubles(names):
            yield Fault(("syncPolicy", index, "name"), "is there twice", names[index])


class Policy(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A DynamicSchedulerPolicy, whole. What is not about annotations is crane's scheduler's."""

    api_version: Literal["scheduler.policy.crane.io/v1alpha1"]
    kind: Literal["DynamicSchedulerPolicy"]
    spec: Spec
    metadata: dict[str, Any] = {}


def read_policy(path: Path) -> Policy:
    """Raises ConfigError with all that is wrong."""
    return load_yaml(path, Policy, nulls="default")


def check_policy(path: Path, computed: Collection[str]) -> list[Problem]:
    """All that is wrong with the file, and names of it that nobody here computes: those are not
    written, the others are."""
    try:
        spec = read_policy(path).spec
    except ConfigError as error:
        return list(error.problems)
    text = "is not computed here, want it under usage.metrics as well, got "
    return [
        Problem(str(path), line_of(path, where), where, f"{text}{each.name}")
        for index, each in enumerate(spec.sync_policy)
        if each.name not in computed
        for where in [f"spec.syncPolicy[{index}].name"]
    ]


def as_annotation(percent: float, wall: float, zone: ZoneInfo) -> str:
    """ "0.06800,2006-01-02T15:04:05Z": the fraction, and `wall` as local time of `zone`, Z or not.
    Raises ValueError for no number."""
    if not math.isfinite(percent):
        raise ValueError(f"no number, got {percent}")
    return f"{percent / 100:.5f},{stamp(wall, zone)}"


def hot_annotation(hot: int, wall: float, zone: ZoneInfo) -> str:
    return f"{hot},{stamp(wall, zone)}"


def hot_value(bound_at: Iterable[float], now: float, rules: Sequence[Hot]) -> int:
    """How hot a Node is whose pods were bound at these times (seconds, any epoch that `now` has
    too): the sum over the rules of floor(pods bound within timeRange / count)."""
    ages = sorted(now - at for at in bound_at)
    return sum(sum(age <= float(rule.time_range) for age in ages) // rule.count for rule in rules)


class Due(NamedTuple):
    """When each annotation of one Node was last written, by name; as small as it can be, and new
    at each change, so that the labeller may keep one for each Node."""

    written: Mapping[str, float] = {}

    def names(self, now: float, periods: Mapping[str, float]) -> tuple[str, ...]:
        """Those whose period is over at `now`."""
        return tuple(
            name
            for name, period in periods.items()
            if name not in self.written or now - self.written[name] >= period
        )

    def after(self, names: Iterable[str], now: float) -> "Due":
        return Due({**self.written, **dict.fromkeys(names, now)})
