"""Caelus' ewma as it is shipped, defects and all, to be measured beside ours. Never used elsewhere.

Facts (FORMATS.md section 5; Tencent/caelus pkg/caelus/detection/ewma.go; VividCortex/ewma): mean is
an exponentially weighted one, α = 2 / (nr + 1), that begins as the mean of the first ten samples
and has had the tested sample already; σ is around that mean over a ring of nr places that begins
as zeros, the tested sample among them; anomalous beyond 3σ, from the 11th sample on. A reading that
failed is 0. So nr ≤ 12 can never fire, it is noisy or blind until the ring is full, and a shift
that stays is the new usual after a few samples.
"""

from collections.abc import Iterable

from exporter.interference.model import Finding, View

_LEAST = 11
_WARM_UP = 10
_SIGMAS = 3.0
_REACH_SECONDS = 3600.0


class Average:
    """VividCortex/ewma's NewMovingAverage(age): 30 is its "simple" kind, without a warm-up."""

    def __init__(self, age: int) -> None:
        self._decay = 2.0 / (age + 1.0)
        self._simple = age == 30
        self._count = 0
        self._value = 0.0

    def add(self, value: float) -> None:
        if self._simple:
            if self._value == 0.0:
                self._value = value
                return
        elif self._count < _WARM_UP:
            self._count += 1
            self._value += value
            return
        elif self._count == _WARM_UP:
            self._count += 1
            self._value /= _WARM_UP
        self._value = value * self._decay + self._value * (1.0 - self._decay)

    @property
    def value(self) -> float:
        return 0.0 if not self._simple and self._count <= _WARM_UP else self._value


def flagged(samples: Iterable[float], nr: int) -> list[bool]:
    """Of each sample in turn whether it is told to be anomalous."""
    average, ring, found = Average(nr), [0.0] * nr, list[bool]()
    for number, sample in enumerate(samples):
        average.add(sample)
        ring[number % nr] = sample
        mean = average.value
        sigma = (sum((value - mean) ** 2 for value in ring) / nr) ** 0.5
        found.append(number + 1 >= _LEAST and abs(sample - mean) > _SIGMAS * sigma)
    return found


class ShippedEwma:
    """A Detector. What was not read is 0, as there."""

    def __init__(self, metric: str, nr: int) -> None:
        self.metric, self.nr = metric, nr

    def evaluate(self, view: View) -> Finding | None:
        samples = list(view.window(self.metric, _REACH_SECONDS).values)
        value = view.value(self.metric)
        if value is None:
            value = 0.0
            samples.append(value)
        if not flagged(samples, self.nr)[-1]:
            return None
        return Finding(self.metric, value, 0.0, "", view.now, f"{self.metric} is {value:.4g}")
