"""cpi: cycles per instruction far above the job's own, three times in five minutes (CPI²).

Zhang et al., CPI²: CPU performance isolation for shared compute clusters, EuroSys 2013, section 4:
one sample a minute; an outlier is a sample above mean + 2σ of the job's spec, an anomaly three
outliers in five minutes; samples of tasks that use under 0.25 cores are left out. The spec here is
what came before those five minutes. Needs hardware counters, which virtual machines mostly lack.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from exporter.errors import NoData
from exporter.interference.model import Finding, View

_SPEC_SECONDS = 900.0
_SAMPLE_SECONDS = 60.0
_LEAST_SAMPLES = 8
_LEAST_CORES = 0.25
_LEAST_SIGMA = 0.02  # of the mean: a job as steady as a clock still has noise


class _Sample(NamedTuple):
    """`at` is its end."""

    at: float
    value: float


class Cpi:
    def __init__(self, sigmas: float = 2.0, outliers: int = 3, window: float = 300.0) -> None:
        self.sigmas, self.outliers, self.seconds = sigmas, outliers, window

    def evaluate(self, view: View) -> Finding | None:
        """Raises NoData where cycles and instructions are not counted, or not long enough."""
        samples = _minutes(view)
        start = view.now - self.seconds
        earlier = [sample.value for sample in samples if sample.at <= start]
        if len(earlier) < _LEAST_SAMPLES:
            raise NoData(
                f"{view.subject.name}: {len(earlier)} minutes of cycles per instruction from "
                f"before the last {self.seconds:g} s, want {_LEAST_SAMPLES} to know what is usual"
            )
        mean = math.fsum(earlier) / len(earlier)
        variance = math.fsum((value - mean) ** 2 for value in earlier) / (len(earlier) - 1)
        limit = mean + self.sigmas * max(math.sqrt(variance), _LEAST_SIGMA * mean)
        above = [sample for sample in samples if sample.at > start and sample.value > limit]
        if len(above) < self.outliers:
            return None
        text = (
            f"{len(above)} minutes of the last {self.seconds:g} s took more than {limit:.3g} "
            f"cycles per instruction (usual is {mean:.3g}), the last {above[-1].value:.3g}"
        )
        return Finding("cpi", above[-1].value, limit, "cpi", above[0].at, text)


def _minutes(view: View) -> Sequence[_Sample]:
    """Whole minutes up to now, the oldest first, in which the cgroup ran enough: of its readings
    the mean. Counters are sampled themselves, so single readings say little."""
    window = view.window("cpi", _SPEC_SECONDS)
    if not window.values:
        raise NoData(
            f"{view.subject.name}: cycles and instructions are not counted: this machine "
            "shows no hardware counters (PMU), or nothing reads them"
        )
    cores = dict(zip(*view.window("cpu_usage", _SPEC_SECONDS)[::2], strict=True))
    minutes: dict[int, list[tuple[float, float]]] = {}
    for at, value in zip(window.elapsed, window.values, strict=True):
        back = int((view.now - at) / _SAMPLE_SECONDS)
        minutes.setdefault(back, []).append((value, cores.get(at, 0.0)))
    found = []
    for back, readings in sorted(minutes.items(), reverse=True):
        ran = math.fsum(used for _, used in readings)
        if ran / len(readings) >= _LEAST_CORES:
            mean = math.fsum(value * used for value, used in readings) / ran
            found.append(_Sample(view.now - back * _SAMPLE_SECONDS, mean))
    return found
