"""/proc/net/dev: what each interface has carried, and how loaded the busiest is.

Pure: text in, numbers out; which interfaces are the node's own, and how fast they are, is told
by who can see /sys. Kernel: net/core/net-procfs.c dev_seq_printf_stats().
"""

from collections.abc import Mapping
from typing import NamedTuple

from exporter.errors import KernmeshError
from exporter.host.text import is_count


class NetTotals(NamedTuple):
    """Since the interface came up."""

    receive_bytes: int
    receive_packets: int
    receive_errors: int
    receive_drops: int
    transmit_bytes: int
    transmit_packets: int
    transmit_errors: int
    transmit_drops: int


def parse_net_dev(text: str, place: str = "/proc/net/dev") -> dict[str, NetTotals]:
    """By interface, all of the network namespace. Raises KernmeshError on a line that has not its
    sixteen numbers."""
    found: dict[str, NetTotals] = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if len(fields) < 16 or not all(map(is_count, fields[:16])):
            raise KernmeshError(f"{place}: got {line.strip()!r}, want sixteen numbers after a name")
        received, sent = map(int, fields[:4]), map(int, fields[8:12])
        found[name.strip()] = NetTotals(*received, *sent)
    return found


def busiest_percent(
    before: Mapping[str, NetTotals],
    after: Mapping[str, NetTotals],
    speeds: Mapping[str, float],
    seconds: float,
) -> float | None:
    """Load of the busiest interface in its busier direction, as a share of what its link carries
    (`speeds`, bytes per second each way), 0 to 100. None where no interface that was there
    before has a known speed: a virtual one often has none."""
    if seconds <= 0:
        return None
    shares: list[float] = []
    for name, speed in speeds.items():
        if name not in before or name not in after or speed <= 0:
            continue
        old, new = before[name], after[name]
        moved = (
            new.receive_bytes - old.receive_bytes,
            new.transmit_bytes - old.transmit_bytes,
        )
        if min(moved) >= 0:
            shares.append(max(moved) / (speed * seconds))
    return min(100.0 * max(shares), 100.0) if shares else None
