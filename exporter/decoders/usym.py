"""usym: an address of user-space code as the function that it lies in, by the process's mappings.

The key has the address (8 bytes), then the process id (4 bytes), and may have 4 bytes of padding
behind: struct { u64 address; u32 process; }. Where the file names no function it is
`<file>+0x<offset>`, and `unknown_addr:0x…` where the process maps no file there, or is gone.
"""

import struct
from pathlib import PurePath

from exporter.decoders.user_symbols import UserSymbols
from exporter.errors import DecodeError

_KEY = struct.Struct("=QI")
SIZES = (12, 16)


class Usym:
    def __init__(self, symbols: UserSymbols) -> None:
        self._symbols = symbols

    def decode(self, raw: bytes) -> str:
        if len(raw) not in SIZES:
            raise DecodeError(f"usym: got {len(raw)} bytes, want 12 or 16: fix the label's size")
        address, process = _KEY.unpack_from(raw)
        place = self._symbols.place(process, address)
        if place is None:
            return f"unknown_addr:{address:#x}"
        return place.name or f"{PurePath(place.file).name}+{place.offset:#x}"
