"""slo: what an application says of itself against its objective: slack = (objective − value) /
objective, as Caelus reckons it. Fires when the least slack falls under the threshold.
"""

from exporter.interference.detectors.runs import needed, run_of
from exporter.interference.model import Finding, View

_REACH_SECONDS = 60.0


class Slo:
    def __init__(self, job: str | None, metric: str | None, threshold: float) -> None:
        """`job` None: whichever is asked; `metric` None: the worst of all that it reports."""
        self.job, self.metric, self.threshold = job, metric, threshold
        self.signal = "slack" if metric is None else f"slack[{metric}]"

    def evaluate(self, view: View) -> Finding | None:
        """Raises NoData where nobody answered lately."""
        if self.job is not None and view.subject.name != self.job:
            return None
        slack = needed(view, self.signal, view.value(self.signal), "its application gave no value")
        if slack >= self.threshold:
            return None
        window = view.window(self.signal, _REACH_SECONDS)
        run = run_of([(at, value < self.threshold) for at, value in zip(*window[::2], strict=True)])
        what = f" of {view.subject.name}" + (f" ({self.metric})" if self.metric else "")
        text = f"slack{what} is {slack:.3g}, less than {self.threshold:.3g}"
        since = view.now if run is None else run.since
        return Finding(self.signal, slack, self.threshold, "ratio", since, text)
