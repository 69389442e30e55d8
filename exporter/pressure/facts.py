"""What is said of labelling itself: families by name and help, and how long requests took."""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client import Metric

from exporter.kube.transport import Asked
from exporter.metrics.gotext import GoTexts
from exporter.metrics.table import Column, FastFamily, Lines, Shape
from exporter.pressure.deciding import Deciding
from exporter.pressure.levels import age
from exporter.pressure.writer import Result

LEVEL = Shape(
    "gauge",
    "kernmesh_pressure_level",
    "Whether the resource is under pressure; missing where that is unknown.",
    ["resource"],
)
TRANSITIONS = Shape(
    "counter",
    "kernmesh_pressure_transitions_total",
    "Changes of level, by what it became.",
    ["resource", "to"],
)
WRITES = Shape(
    "counter",
    "kernmesh_pressure_writes_total",
    "Attempts to write what should stand on a Node, by result.",
    ["result"],
)
DATA_AGE = Shape(
    "gauge",
    "kernmesh_pressure_data_age_seconds",
    "Age of the newest sample that the level was decided by.",
    ["resource"],
)
UNWRITTEN = Shape(
    "gauge",
    "kernmesh_pressure_unwritten_seconds",
    "For how long the Node has not been as it should be, as far as is known; 0 where it is.",
)
LEFT = Shape(
    "gauge",
    "kernmesh_pressure_left_to_others_info",
    "Fields that were to be written and are left alone, since somebody else owns them.",
    ["field", "owner"],
)
_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_REQUESTS = Shape(
    "histogram",
    "kernmesh_pressure_api_request_seconds",
    "Time that requests to the Kubernetes API took; code none is no whole answer.",
    ["verb", "code"],
    _BOUNDS,
)


class Requests:
    """Hears of every request (KubeClient's `observe`) and counts them by how long they took. A
    watch counts until it is accepted."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], tuple[list[int], list[float]]] = {}

    def __call__(self, asked: Asked) -> None:
        key = asked.verb, "none" if asked.status is None else str(asked.status)
        if key not in self._rows:
            self._rows = {**self._rows, key: ([0] * (len(_BOUNDS) + 1), [0.0])}
        counts, total = self._rows[key]
        counts[bisect_left(_BOUNDS, asked.seconds)] += 1
        total[0] += asked.seconds

    def families(self) -> Iterator[Metric]:
        """None before the first."""
        lines: list[str] = []
        rows: list[list[float]] = []
        for key, (counts, total) in self._rows.items():
            lines += _REQUESTS.lines(key)
            buckets = list(accumulate(counts))
            rows.append([*buckets, buckets[-1], total[0]])
        if rows:
            columns = [Column(list(each), GoTexts(exact=False)) for each in zip(*rows, strict=True)]
            yield FastFamily(_REQUESTS, Lines(lines), columns)


def of_levels(deciding: Deciding, now: float) -> Iterator[Metric]:
    states = deciding.states
    levels = {
        resource: None if state.level == "unknown" else float(state.level == "pressed")
        for resource, state in states.items()
    }
    yield FastFamily.of(LEVEL, known(levels))
    moves = {key: float(count) for key, count in deciding.transitions.items()}
    yield FastFamily.of(TRANSITIONS, moves)
    ages = {resource: age(state, now) for resource, state in states.items()}
    yield FastFamily.of(DATA_AGE, known(ages))


def of_writes(counts: Mapping[Result, int]) -> Metric:
    return FastFamily.of(WRITES, {(result,): float(count) for result, count in counts.items()})


def known(values: Mapping[str, float | None]) -> dict[tuple[str], float]:
    """Rows of a family by one label; what is unknown is missing."""
    return {(name,): value for name, value in values.items() if value is not None}
