"""How reloads of the configuration went, as Prometheus says it of itself."""

from collections.abc import Iterable

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.metrics.table import FastFamily, Shape

_SUCCESSFUL = Shape(
    "gauge",
    "kernmesh_config_last_reload_successful",
    "Whether the last attempt to read the configuration succeeded; if not, the one before holds.",
)
_SUCCESS_TIME = Shape(
    "gauge",
    "kernmesh_config_last_reload_success_timestamp_seconds",
    "When the configuration that holds was read.",
)
_RELOADS = Shape(
    "counter",
    "kernmesh_config_reloads_total",
    "Attempts to read the configuration anew, by result.",
    ["result"],
)


class Reloads:
    """`problem` is why the last attempt failed, None where it did not."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._succeeded_at = clock.wall()  # the start was one
        self._counts = {"success": 0, "failure": 0}
        self.problem: str | None = None

    def succeeded(self) -> None:
        self.problem = None
        self._succeeded_at = self._clock.wall()
        self._counts["success"] += 1

    def failed(self, problem: str) -> None:
        self.problem = problem
        self._counts["failure"] += 1

    def collect(self) -> Iterable[Metric]:
        yield FastFamily.of(_SUCCESSFUL, {(): float(self.problem is None)})
        yield FastFamily.of(_SUCCESS_TIME, {(): self._succeeded_at})
        counts = {(result,): float(count) for result, count in self._counts.items()}
        yield FastFamily.of(_RELOADS, counts)
