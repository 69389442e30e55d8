"""psi: the share of time that a subject's tasks waited for a resource, over a window.

From the kernel's totals, not from its avg10: those lag by half a minute. `full` of cpu in a
cgroup is time in which its tasks waited on a CPU that ran none of them: work outside of it, or
its own quota, never its own threads in each other's way (kernel/sched/psi.c, PSI_CPU_FULL).
"""

from typing import Literal

from exporter.interference.detectors.runs import ending_at, needed, run_of, weighted_mean
from exporter.interference.model import Finding, View


class Psi:
    def __init__(
        self,
        resource: Literal["cpu", "memory", "io"],
        kind: Literal["some", "full"],
        threshold: float,
        window: float,
    ) -> None:
        """`threshold` 0 to 1, `window` in seconds. The time that its quota stopped it is not
        waiting for cpu: it is taken off."""
        self.resource, self.kind = resource, kind
        self.signal = f"psi_{resource}_{kind}"
        self.threshold, self.seconds = threshold, window

    def evaluate(self, view: View) -> Finding | None:
        """Raises NoData where the window holds no reading."""
        whole = weighted_mean(view.window(self.signal, self.seconds))
        if needed(view, self.signal, whole) <= self.threshold:
            return None  # what its quota explains can only make it less
        now = needed(view, self.signal, self._share(view, view.now, self.seconds))
        if now <= self.threshold:
            return None
        reach = 2 * self.seconds
        times = [
            at for at in view.window(self.signal, reach).elapsed if at > view.now - self.seconds
        ]
        run = run_of([(at, self._over(view, at)) for at in times])
        since = view.now if run is None else run.since
        who = "some task" if self.kind == "some" else "every task"
        text = (
            f"{who} waited for {self.resource} {now:.0%} of the last {self.seconds:g} s "
            f"(more than {self.threshold:.0%})"
        )
        return Finding(self.signal, now, self.threshold, "ratio", since, text)

    def _over(self, view: View, at: float) -> bool | None:
        share = self._share(view, at, 2 * self.seconds)
        return None if share is None else share > self.threshold

    def _share(self, view: View, end: float, reach: float) -> float | None:
        known = ending_at(view.window(self.signal, reach), end, self.seconds)
        share = weighted_mean(known)
        if share is None or self.resource != "cpu":
            return share
        stopped = ending_at(view.window("cpu_throttled_ratio", reach), end, self.seconds)
        return max(share - (weighted_mean(stopped) or 0.0), 0.0)
