"""What the controller says about itself: kernmesh_controller_*."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import Metric

from exporter.metrics.table import FastFamily, Shape


class Figures(NamedTuple):
    """One moment's. `opted_in` pods are probed besides, but for those `unprobed`. `left_out`: by
    source and reason. `ages`: seconds since each source was read well; `away`: sources that cannot
    be read. `build_seconds` None: nothing was built yet."""

    members: int
    racks: int
    uncovered: int
    opted_in: int
    unprobed: int
    left_out: Mapping[tuple[str, str], int]
    unreadable: int
    build_seconds: float | None
    builds: int
    ages: Mapping[str, float]
    away: Mapping[str, str]
    sources: Iterable[str]
    served: Mapping[int, int]


_MEMBERS = Shape("gauge", "kernmesh_controller_members", "Agents that have a pinglist.")
_RACKS = Shape("gauge", "kernmesh_controller_racks", "Racks that they are in.")
_UNCOVERED = Shape(
    "gauge",
    "kernmesh_controller_uncovered_rack_pairs",
    "Pairs of racks that nobody probes, because max_targets leaves no room.",
)
_OPTED_IN = Shape(
    "gauge", "kernmesh_controller_pods_opted_in", "Pods without an agent that agents probe."
)
_UNPROBED = Shape(
    "gauge",
    "kernmesh_controller_pods_unprobed",
    "Pods that opted in and that no prober on another node has room for.",
)
_LEFT_OUT = Shape(
    "gauge",
    "kernmesh_controller_left_out",
    "Nodes and pods that are no members, and why.",
    ["source", "reason"],
)
_UNREADABLE = Shape(
    "counter",
    "kernmesh_controller_unreadable_objects_total",
    "Answers of the Kubernetes API that were no nodes or pods.",
)
_BUILD = Shape(
    "gauge", "kernmesh_controller_build_seconds", "Time that the last change of members took."
)
_BUILDS = Shape("counter", "kernmesh_controller_builds_total", "Changes that were taken over.")
_UP = Shape(
    "gauge",
    "kernmesh_controller_source_up",
    "Whether this source of members could be read; if not, its last members are served.",
    ["source"],
)
_AGE = Shape(
    "gauge",
    "kernmesh_controller_source_age_seconds",
    "Time since this source was read well.",
    ["source"],
)
_STALE = Shape(
    "gauge",
    "kernmesh_controller_members_stale",
    "1: some source is away, members may have changed.",
)
_SERVED = Shape(
    "counter", "kernmesh_controller_pinglists_served_total", "Answers by HTTP status.", ["code"]
)


class ControllerCollector:
    """`figures()` is asked at each scrape."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def collect(self) -> Iterable[Metric]:
        now = self._figures()
        yield FastFamily.of(_MEMBERS, {(): float(now.members)})
        yield FastFamily.of(_RACKS, {(): float(now.racks)})
        yield FastFamily.of(_UNCOVERED, {(): float(now.uncovered)})
        yield FastFamily.of(_OPTED_IN, {(): float(now.opted_in)})
        yield FastFamily.of(_UNPROBED, {(): float(now.unprobed)})
        if now.left_out:
            rows = {key: float(count) for key, count in now.left_out.items()}
            yield FastFamily.of(_LEFT_OUT, rows)
        yield FastFamily.of(_UNREADABLE, {(): float(now.unreadable)})
        if now.build_seconds is not None:
            yield FastFamily.of(_BUILD, {(): now.build_seconds})
        yield FastFamily.of(_BUILDS, {(): float(now.builds)})
        yield FastFamily.of(_UP, {(name,): float(name not in now.away) for name in now.sources})
        if now.ages:
            yield FastFamily.of(_AGE, {(name,): age for name, age in now.ages.items()})
        yield FastFamily.of(_STALE, {(): float(bool(now.away))})
        if now.served:
            counts = {(str(code),): float(count) for code, count in now.served.items()}
            yield FastFamily.of(_SERVED, counts)
