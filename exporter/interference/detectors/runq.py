"""runq: a quantile of how long a cgroup's tasks waited for a CPU, less what its quota made.

From the kernel program runqlat, where that runs. `held_by` "offline" counts of each wait only
what an offline cgroup held the CPU for: then neither the victim's own load, nor its quota, nor
the system's own work can make it fire.
"""

from typing import Literal

from exporter.errors import NoData
from exporter.interference.detectors.runs import ending_at
from exporter.interference.model import Finding, View
from exporter.interference.waits import (
    BOUNDS_MICROSECONDS,
    held_by_offline,
    quantile_seconds,
    without_throttling,
)

FEWEST_WAITS = 20.0

HeldBy = Literal["anyone", "offline"]


class Runq:
    def __init__(
        self,
        quantile: float,
        threshold_seconds: float,
        window: float,
        held_by: HeldBy = "anyone",
    ) -> None:
        """`quantile` 0 to 1. Under 20 waits in the window (or as many as the quantile needs to
        mean one of them) it does not fire."""
        self.quantile, self.threshold, self.seconds = quantile, threshold_seconds, window
        self.held_by: HeldBy = held_by
        self.fewest = max(FEWEST_WAITS, 1.0 / (1.0 - quantile) if quantile < 1 else FEWEST_WAITS)
        self.signal = "runq_delay" if held_by == "anyone" else "waited_for_offline"

    def reach(self) -> float:
        return self.seconds

    def evaluate(self, view: View) -> Finding | None:
        """Raises NoData where nobody counts its waits."""
        counts = self.waits(view, self.seconds)
        if counts is None:
            raise NoData(
                f"{view.subject.name}: its waits for a CPU are not counted: "
                "the program runqlat does not run, or has not seen it"
            )
        waited = sum(counts)
        if waited < self.fewest:
            return None
        found = quantile_seconds(counts, self.quantile)
        if found is None or found <= self.threshold:
            return None
        whom = "a CPU" if self.held_by == "anyone" else "a CPU that offline work held"
        text = (
            f"{1 - self.quantile:.2g} of its {waited:.0f} waits of the last {self.seconds:g} s "
            f"were for {found * 1000:.3g} ms or longer for {whom} "
            f"(threshold {self.threshold * 1000:.3g} ms)"
        )
        return Finding(self.signal, found, self.threshold, "seconds", self._since(view), text)

    def waits(self, view: View, seconds: float, end: float | None = None) -> list[float] | None:
        """By bucket, less what its own quota explains; None where they are not known."""
        end = view.now if end is None else end
        counts = self._counts(view, "runq_waits", seconds, end)
        if counts is None:
            return None
        if self.held_by == "offline":
            offline = self._counts(view, "offline_waits", seconds, end)
            if offline is None:
                return None
            counts = held_by_offline([*counts, *offline])
        periods = _total(view, "nr_cpu_throttled", seconds, end)
        stopped = _total(view, "cpu_throttled_ratio", seconds, end)
        return without_throttling(counts, periods, stopped, view.value("nr_processes") or 1.0)

    def _counts(self, view: View, name: str, seconds: float, end: float) -> list[float] | None:
        found: list[float] = []
        for bound in BOUNDS_MICROSECONDS:
            known = ending_at(view.window(f"{name}[{bound}]", self.reach()), end, seconds)
            if not known.values:
                return None
            found.append(sum(v * s for v, s in zip(known.values, known.spans, strict=True)))
        return found

    def _since(self, view: View) -> float:
        """From the first second of the window whose own waits were as bad: a quantile says
        nothing of a second with few waits, so those in between do not matter."""
        bound = next(b for b in BOUNDS_MICROSECONDS if b / 1e6 > self.threshold)
        name = "runq_waits" if self.held_by == "anyone" else "offline_waits"
        worse = BOUNDS_MICROSECONDS[BOUNDS_MICROSECONDS.index(bound) :]
        times = [
            elapsed
            for each in worse
            for elapsed, rate in zip(
                *view.window(f"{name}[{each}]", self.seconds)[::2], strict=True
            )
            if rate > 0
        ]
        return min(times, default=view.now)


def _total(view: View, signal: str, seconds: float, end: float) -> float:
    """What a rate comes to over that time; 0 where it has no quota that would be counted."""
    known = ending_at(view.window(signal, seconds), end, seconds)
    return sum(value * span for value, span in zip(known.values, known.spans, strict=True))
