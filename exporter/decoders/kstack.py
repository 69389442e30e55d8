"""kstack: an array of kernel addresses (8 bytes each) as function names, one a line.

A zero ends the stack; a frame in no known function is `??`.
"""

from array import array

from exporter.decoders.kallsyms import KernelSymbols
from exporter.errors import DecodeError


class Kstack:
    def __init__(self, symbols: KernelSymbols) -> None:
        self._symbols = symbols

    def decode(self, raw: bytes) -> str:
        if len(raw) % 8:
            raise DecodeError(
                f"kstack: got {len(raw)} bytes, want a multiple of 8: fix the label's size"
            )
        names: list[str] = []
        for address in array("Q", raw):
            if address == 0:
                break
            names.append(self._symbols.name(address) or "??")
        return "\n".join(names)
