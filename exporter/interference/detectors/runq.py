"""runq: a quantile of how long a cgroup's tasks waited for a CPU, less what its quota made.

From the kernel program runqlat, where that runs. `held_by` "offline" counts of each wait only
what an offline cgroup held the CPU for: then neither the victim's own load, nor its quota, nor
the system's own work can make it fire.
"""

from operator import mul
from typing import Literal

from exporter.errors import NoData
from exporter.interference.model import Finding, View
from exporter.interference.waits import (
    BOUNDS_MICROSECONDS,
    EDGES,
    held_by_offline,
    quantile_seconds,
    without_throttling,
)

FEWEST_WAITS = 20.0
_LAST = len(EDGES) - 1
_KEYS = {
    name: tuple(f"{name}[{bound}]" for bound in BOUNDS_MICROSECONDS)
    for name in ("runq_waits", "offline_waits")
}

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
        name = "runq_waits" if held_by == "anyone" else "offline_waits"
        at = next(n for n, (_, high) in enumerate(EDGES) if high > threshold_seconds or n == _LAST)
        self._long = _KEYS[name][at:]
        self._least = EDGES[at][0]  # seconds: one such wait at least

    def evaluate(self, view: View) -> Finding | None:
        """Raises NoData where nobody counts its waits."""
        if self._too_few_are_long(view):
            return None
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

    def _too_few_are_long(self, view: View) -> bool:
        """Where that is plain from a few series, as it is for most subjects at most ticks."""
        waited = _total(view, self.signal, self.seconds)
        if waited is None:
            return False
        if waited < self._least:
            return True
        all_of_them = _total(view, "runq_waits", self.seconds)
        if all_of_them is None:
            return False
        allowed, long = (1.0 - self.quantile) * all_of_them, 0.0
        for key in self._long:
            count = _total(view, key, self.seconds)
            if count is None:
                return False
            long += count
            if long >= allowed:
                return False
        return True

    def waits(self, view: View, seconds: float) -> list[float] | None:
        """By bucket over the last `seconds`, less what its own quota explains; None where they
        are not known."""
        counts = _counts(view, "runq_waits", seconds)
        if counts is None:
            return None
        if self.held_by == "offline":
            offline = _counts(view, "offline_waits", seconds)
            if offline is None:
                return None
            counts = held_by_offline([*counts, *offline])
        periods = _total(view, "nr_cpu_throttled", seconds)
        if not periods:
            return counts
        stopped = _total(view, "cpu_throttled_ratio", seconds) or 0.0
        return without_throttling(counts, periods, stopped, view.value("nr_processes") or 1.0)

    def _since(self, view: View) -> float:
        """From the first second of the window whose own waits were as bad: a quantile says
        nothing of a second with few waits, so those in between do not matter."""
        times = [
            elapsed
            for key in self._long
            for elapsed, rate in zip(*view.window(key, self.seconds)[::2], strict=True)
            if rate > 0
        ]
        return min(times, default=view.now)


def _counts(view: View, name: str, seconds: float) -> list[float] | None:
    found: list[float] = []
    for key in _KEYS[name]:
        total = _total(view, key, seconds)
        if total is None:
            return None
        found.append(total)
    return found


def _total(view: View, signal: str, seconds: float) -> float | None:
    """What a rate comes to over that time; None where it is not known."""
    known = view.window(signal, seconds)
    return sum(map(mul, known.values, known.spans)) if known.values else None
