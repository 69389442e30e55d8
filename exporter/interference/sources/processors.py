"""The busiest processor: one thread that fills a core hides in an average over many.

Kernel: fs/proc/stat.c show_stat(); a line of each CPU with user, nice, system, idle, iowait, ….
"""

from collections.abc import Mapping

from exporter.host.text import read_text
from exporter.hostfs import HostFs
from exporter.usage.series import Series

BUSIEST = Series("node.cpu.busiest_ratio", "gauge")


class ProcessorReader:
    """A Read. Of the interval since the reading before."""

    def __init__(self, fs: HostFs) -> None:
        self._path = str(fs.proc / "stat")
        self._before: dict[str, tuple[int, int]] = {}

    def __call__(self, now: float) -> Mapping[Series, float]:
        """Raises ValueError where a line is not numbers. Nothing where no CPU was there before."""
        before, self._before = self._before, {}
        for line in read_text(self._path).splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name != "cpu":
                times = [int(field) for field in fields[:8]]  # guest is inside of user
                self._before[name] = sum(times), times[3] + times[4]
        shares = [
            1.0 - (idle - before[name][1]) / (total - before[name][0])
            for name, (total, idle) in self._before.items()
            if name in before and total > before[name][0]
        ]
        return {BUSIEST: min(max(*shares, 0.0), 1.0)} if shares else {}
