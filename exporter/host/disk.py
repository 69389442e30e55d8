"""/proc/diskstats: what each disk has done since boot, and how busy the busiest was.

Pure: text in, numbers out; which names are disks is told by who can see /sys. Kernel:
block/genhd.c diskstats_show(), Documentation/admin-guide/iostats.rst.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from exporter.errors import KernmeshError
from exporter.host.text import is_count

SECTOR_BYTES = 512  # of diskstats, whatever the device's own are
_WITHOUT_A_DEVICE = re.compile(r"(loop|ram|zram|fd|sr|dm-|md|nbd)\d+$")
_PARTITION = re.compile(r"(?:(?:sd|vd|xvd|hd)[a-z]+|(?:nvme\d+n|mmcblk)\d+p|[a-z]+\d+p)\d+$")


class DiskTimes(NamedTuple):
    """Totals since boot. Times are milliseconds: of requests, added up, for reads and writes; of
    the disk with at least one request in flight for `busy_ms` (unsigned 32 bits of them on
    kernels before 5.0: it comes around after 49 days, which reads as a total that began anew)."""

    reads: int
    read_bytes: int
    read_ms: int
    writes: int
    written_bytes: int
    write_ms: int
    busy_ms: int


def parse_diskstats(text: str, place: str = "/proc/diskstats") -> dict[str, DiskTimes]:
    """Every block device by name, partitions included. Raises KernmeshError on a line that has
    under fourteen fields (Linux 2.6 and later write as many for whole disks)."""
    found: dict[str, DiskTimes] = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 14 or not all(map(is_count, fields[3:14])):
            raise KernmeshError(f"{place}: got {line.strip()!r}, want eleven numbers after a name")
        reads, _, read_sectors, read_ms, writes, _, write_sectors, write_ms, _, busy_ms, _ = map(
            int, fields[3:14]
        )
        found[fields[2]] = DiskTimes(
            reads,
            read_sectors * SECTOR_BYTES,
            read_ms,
            writes,
            write_sectors * SECTOR_BYTES,
            write_ms,
            busy_ms,
        )
    return found


def looks_like_a_disk(name: str) -> bool:
    """By name alone, for a machine whose /sys/block is not to be seen: no partition, nothing that
    is made of other devices or of memory."""
    return not _WITHOUT_A_DEVICE.match(name) and not _PARTITION.match(name)


def busiest_percent(
    before: Mapping[str, DiskTimes], after: Mapping[str, DiskTimes], seconds: float
) -> float | None:
    """Share of `seconds` in which the busiest disk had work, 0 to 100. A disk that is new, or
    whose total went back, does not take part; None where none is left or no time passed.

    Over 100 is measured when the two clocks do not tick alike; it is 100 then. A disk that takes
    many requests at once has room left at 100: this is iostat's %util, not its bandwidth."""
    if seconds <= 0:
        return None
    spent = [
        after[name].busy_ms - old.busy_ms
        for name, old in before.items()
        if name in after and after[name].busy_ms >= old.busy_ms
    ]
    return min(max(spent) / (10.0 * seconds), 100.0) if spent else None
