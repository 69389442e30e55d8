"""ifname: a network interface's index (u32) as its name; `unknown:<n>` if there is none.

Reads <sys>/class/net, so it names the interfaces of the network namespace that /sys was mounted
in. Indexes are not given out twice, so what was named once stays.
"""

from exporter.clock import Clock
from exporter.decoders.provisional import Provisional
from exporter.decoders.uint import number
from exporter.errors import DecodeError
from exporter.hostfs import HostFs

_REREAD_SECONDS = 1.0
_MOST_NAMES = 8192


class InterfaceName:
    def __init__(self, fs: HostFs, clock: Clock) -> None:
        self._folder = fs.sys / "class/net"
        self._clock = clock
        self._names: dict[int, str] = {}
        self._read_at: float | None = None

    def decode(self, raw: bytes) -> str:
        if len(raw) not in (4, 8):
            raise DecodeError(f"ifname: got {len(raw)} bytes, want 4: fix the label's size")
        index = number(raw) & 0xFFFFFFFF
        if index not in self._names:
            self._read()
        return self._names.get(index) or Provisional(f"unknown:{index}")

    def _read(self) -> None:
        now = self._clock.monotonic()
        if self._read_at is not None and now - self._read_at < _REREAD_SECONDS:
            return
        self._read_at = now
        if len(self._names) > _MOST_NAMES:  # hosts that make and drop veths all day
            self._names.clear()
        try:
            folders = list(self._folder.iterdir())
        except OSError as error:
            raise DecodeError(f"{self._folder}: cannot be read: {error.strerror}") from None
        for folder in folders:
            try:
                self._names[int((folder / "ifindex").read_text())] = folder.name
            except (OSError, ValueError):
                continue  # gone meanwhile, or a file such as bonding_masters
