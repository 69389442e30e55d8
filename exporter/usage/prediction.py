"""Idle resources from the slow tier's samples, kept in the state directory across restarts.

Tells online work's use from the node's totals and those of offline work; idle.py does the rest.
"""

import logging
from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily

from exporter.clock import Clock
from exporter.errors import NoData
from exporter.usage.idle import Idle, Prediction
from exporter.usage.node import CpuReader, MemoryReader
from exporter.usage.sampler import Sample
from exporter.usage.series import Series
from exporter.usage.statedir import StateDir

NAME = "idle.json"
SAVE_SECONDS = 600.0
OFFLINE_CPU = Series("class/offline.cpu_seconds", "counter")
OFFLINE_MEMORY = Series("class/offline.working_set_bytes", "gauge")

log = logging.getLogger(__name__)


class IdleResources:
    """A collector, and fed by History with each of the slow tier's samples."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._prediction = Prediction()
        self._before: tuple[float, float, float | None] | None = None
        self._idle = Idle(None, None)
        self._saved = clock.monotonic()

    def load(self, state: StateDir) -> None:
        """What an agent before this one knew. A file that makes no sense is set aside."""
        data = state.read(NAME)
        if data is None:
            return
        try:
            self._prediction.load(data, self._clock.monotonic(), self._clock.wall())
        except ValueError as error:
            self._prediction = Prediction()
            state.set_aside(NAME, str(error))

    def save(self, state: StateDir) -> None:
        state.write(NAME, self._prediction.save(self._clock.monotonic(), self._clock.wall()))
        self._saved = self._clock.monotonic()

    def save_if_due(self, state: StateDir) -> None:
        if self._clock.monotonic() - self._saved >= SAVE_SECONDS:
            self.save(state)

    def put(self, sample: Sample) -> None:
        values = sample.values
        cores = self._online_cores(sample)
        if cores is not None:
            self._prediction.add_cpu(*cores, sample.at)
        total = values.get(MemoryReader.KEYS["MemTotal"])
        available = values.get(MemoryReader.KEYS["MemAvailable"])
        if total is not None and available is not None:
            used = total - available - values.get(OFFLINE_MEMORY, 0.0)
            self._prediction.add_memory(max(used, 0.0), sample.at)
        self._idle = self._prediction.idle(values.get(CpuReader.ONLINE), total)

    def _online_cores(self, sample: Sample) -> tuple[float, float] | None:
        """Cores and seconds; None where a total is not known at both ends, or went back."""
        busy, offline = sample.values.get(CpuReader.BUSY), sample.values.get(OFFLINE_CPU)
        before, self._before = self._before, None
        if busy is not None:
            self._before = sample.at, busy, offline
        if before is None or busy is None:
            return None
        at, busy_then, offline_then = before
        seconds, spent = sample.at - at, busy - busy_then
        if (offline is None) != (offline_then is None) or seconds <= 0 or spent < 0:
            return None
        if offline is not None and offline_then is not None:
            if offline < offline_then:
                return None
            spent -= offline - offline_then
        return max(spent, 0.0) / seconds, seconds

    def values(self) -> Mapping[str, float]:
        """By metric name; what is unknown is not in it."""
        shown = {
            "kernmesh_node_idle_cpu_cores": self._idle.cpu_cores,
            "kernmesh_node_idle_memory_bytes": self._idle.memory_bytes,
        }
        return {name: value for name, value in shown.items() if value is not None}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Raises NoData while too little is known."""
        values = self.values()
        if not values:
            raise NoData("too few samples for a prediction yet")
        for name, value in values.items():
            kind = "CPUs" if name.endswith("cores") else "memory"
            yield GaugeMetricFamily(
                name, f"What online work is predicted to leave of the node's {kind}.", value
            )
