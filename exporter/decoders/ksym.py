"""ksym: a kernel address (8 bytes) as the name of the function that it lies in.

`unknown_addr:0x…` where it lies in none. Upstream names only a function's first byte.
"""

import sys

from exporter.decoders.kallsyms import KernelSymbols
from exporter.decoders.provisional import Provisional
from exporter.errors import DecodeError


class Ksym:
    def __init__(self, symbols: KernelSymbols) -> None:
        self._symbols = symbols

    def decode(self, raw: bytes) -> str:
        if len(raw) != 8:
            raise DecodeError(f"ksym: got {len(raw)} bytes, want 8: fix the label's size")
        address = int.from_bytes(raw, sys.byteorder)
        return self._symbols.name(address) or Provisional(f"unknown_addr:{address:#x}")
