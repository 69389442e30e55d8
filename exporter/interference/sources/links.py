"""What the node's links can carry, from /sys/class/net/<name>/speed; virtual ones do not say.

Kernel: Documentation/ABI/testing/sysfs-class-net; Mbit/s, −1 or EINVAL where it is not known.
"""

from collections.abc import Mapping

from exporter.hostfs import HostFs
from exporter.usage.node import Kept
from exporter.usage.series import Series


class LinkReader:
    """A Read."""

    def __init__(self, fs: HostFs) -> None:
        self._class = fs.sys / "class/net"
        self._speeds = Kept(self._look)

    def __call__(self, now: float) -> Mapping[Series, float]:
        return self._speeds.get(now)

    def _look(self) -> dict[Series, float]:
        found: dict[Series, float] = {}
        try:
            names = sorted(entry.name for entry in self._class.iterdir())
        except OSError:
            return found
        for name in names:
            try:
                megabits = int((self._class / name / "speed").read_text())
            except (OSError, ValueError):  # down, or of a driver that does not say
                continue
            if megabits > 0:
                found[Series(f"node.net/{name}.speed_bytes_per_second", "gauge")] = (
                    megabits * 1e6 / 8
                )
        return found
