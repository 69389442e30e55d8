"""ewma: a metric far from its own recent mean. Caelus' fields, its defects removed.

As there: an exponentially weighted mean with α = 2 / (nr + 1), anomalous beyond 3σ either way.
Other than there (docs/interference-detectors.md): mean and σ are of the samples before the one
tested; nothing is padded with zeros; σ has a floor; and while a sample is anomalous it teaches
the baseline nothing, so that a shift that lasts goes on firing. Replayed over the window at each
question, for a detector keeps nothing: what is older than the window is forgotten, and a shift
that lasts longer than that is the new usual.
"""

import math

from exporter.errors import NoData
from exporter.interference.model import Finding, View

_REACH_SECONDS = 900.0
_SIGMAS = 3.0
_SIGMA_SHARE = 0.01  # of the mean: σ's floor, with
_SIGMA_LEAST = 1e-9


class Ewma:
    def __init__(self, metric: str, nr: int) -> None:
        """`nr` at least 11, as rules.json has it."""
        self.metric, self.nr = metric, nr
        self._alpha = 2.0 / (nr + 1)

    def evaluate(self, view: View) -> Finding | None:
        """Raises NoData where the newest is not known, or the first nr + 1 samples are not
        there."""
        newest = view.value(self.metric)
        window = view.window(self.metric, _REACH_SECONDS)
        if newest is None or len(window.values) <= self.nr:
            raise NoData(
                f"{self.metric}: {len(window.values)} samples, want {self.nr} before the newest"
            )
        values = window.values
        first = values[: self.nr]
        mean = math.fsum(first) / self.nr
        variance = math.fsum((value - mean) ** 2 for value in first) / self.nr
        alpha, since, limit = self._alpha, None, 0.0
        for at, value in zip(window.elapsed[self.nr :], values[self.nr :], strict=True):
            sigma = max(math.sqrt(variance), _SIGMA_SHARE * abs(mean), _SIGMA_LEAST)
            limit = _SIGMAS * sigma
            off = value - mean
            if abs(off) > limit:
                since = at if since is None else since
                continue
            since = None
            mean += alpha * off
            variance = (1 - alpha) * (variance + alpha * off * off)
        if since is None:
            return None
        value = values[-1]
        threshold = mean + limit if value > mean else mean - limit
        text = (
            f"{self.metric} is {value:.4g}, beyond {threshold:.4g}: "
            f"{abs(value - mean) * _SIGMAS / limit:.1f}σ from its mean of {mean:.4g}"
        )
        return Finding(self.metric, value, threshold, "", since, text)
