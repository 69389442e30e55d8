"""majorminor: a block device's number (u32) as its name ("sda2"); `unknown:<major>:<minor>` else.

The number is encoded as new_encode_dev() of include/linux/kdev_t.h gives it to user space, which
is what upstream's programs store: low 8 bits of the minor, 12 bits of the major, high 12 bits of
the minor. It is not the kernel's inner dev_t (major << 20 | minor).
"""

from exporter.clock import Clock
from exporter.decoders.provisional import Provisional
from exporter.decoders.uint import number
from exporter.errors import DecodeError
from exporter.host.text import is_count
from exporter.hostfs import HostFs

_KEEP_SECONDS = 10.0  # numbers are given out again when a device goes
_MISS_SECONDS = 1.0


class DiskName:
    def __init__(self, fs: HostFs, clock: Clock) -> None:
        self._path = fs.proc / "partitions"
        self._clock = clock
        self._names: dict[tuple[int, int], str] = {}
        self._read_at: float | None = None

    def decode(self, raw: bytes) -> str:
        if len(raw) not in (4, 8):
            raise DecodeError(f"majorminor: got {len(raw)} bytes, want 4: fix the label's size")
        encoded = number(raw) & 0xFFFFFFFF
        device = (encoded >> 8 & 0xFFF, encoded & 0xFF | encoded >> 12 & 0xFFF00)
        keep_seconds = _KEEP_SECONDS if device in self._names else _MISS_SECONDS
        now = self._clock.monotonic()
        if self._read_at is None or now - self._read_at >= keep_seconds:
            self._read_at = now
            self._names = self._read()
        return self._names.get(device) or Provisional(f"unknown:{device[0]}:{device[1]}")

    def _read(self) -> dict[tuple[int, int], str]:
        """Lines are `major minor #blocks name` (block/genhd.c, show_partition)."""
        names = {}
        try:
            text = self._path.read_text(errors="replace")
        except OSError as error:
            raise DecodeError(f"{self._path}: cannot be read: {error.strerror}") from None
        for line in text.splitlines():
            fields = line.split()
            if len(fields) == 4 and is_count(fields[0]) and is_count(fields[1]):
                names[int(fields[0]), int(fields[1])] = fields[3]
        return names
