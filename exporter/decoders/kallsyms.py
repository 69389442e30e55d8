"""Kernel symbols by address, from <proc>/kallsyms, kept compactly: one sorted array of addresses,
one of name offsets, one blob of names (about 3 MB for 122,000 symbols).

Read when first needed; read again when an address lies outside of all that is known (a module
came), but not for every miss. Only code is named; data symbols just end the function before them.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from exporter.clock import Clock
from exporter.errors import DecodeError
from exporter.hostfs import HostFs

_CODE = b"TtWw"
_LARGEST_FUNCTION = 1 << 20  # bytes; further from the last symbol than this is outside of it
_REREAD_SECONDS = 30.0
_NO_NAME = 0  # offset of the empty name that data symbols share


class _Table(NamedTuple):
    addresses: "array[int]"  # u64, ascending; aliases side by side in the kernel's order
    offsets: "array[int]"  # u32 into names
    names: bytes  # each ended by a newline


class KernelSymbols:
    """`name(address)`. Raises DecodeError where the kernel hides addresses (kptr_restrict)."""

    def __init__(self, fs: HostFs, clock: Clock) -> None:
        self._path = fs.proc / "kallsyms"
        self._clock = clock
        self._table: _Table | None = None
        self._failure: str | None = None  # why the last read gave nothing
        self._read_at = float("-inf")

    def name(self, address: int) -> str | None:
        """The function that the address lies in, None if it lies in none.

        Of several names for one address it is the first, which is the one that the kernel's own
        traces show (scripts/kallsyms.c sorts the best name first)."""
        found = self._find(address)
        if found is None and self._clock.monotonic() - self._read_at >= _REREAD_SECONDS:
            self._read()
            found = self._find(address)
        if self._table is None:
            raise DecodeError(self._failure or f"{self._path}: not read")
        return found

    def _find(self, address: int) -> str | None:
        table = self._table
        if table is None:
            return None
        after = bisect_right(table.addresses, address)
        if after == 0:
            return None
        start = table.addresses[after - 1]
        if address - start >= _LARGEST_FUNCTION:
            return None
        offset = table.offsets[bisect_left(table.addresses, start, 0, after)]
        name = table.names[offset : table.names.index(b"\n", offset)]
        return name.decode(errors="replace") or None

    def _read(self) -> None:
        """A table that was read before stays if this fails, and a failure is not tried again
        for every row."""
        self._read_at = self._clock.monotonic()
        self._failure = None
        try:
            with self._path.open("rb") as lines:
                table = _parse(lines)
        except OSError as error:
            self._failure = f"{self._path}: cannot be read: {error.strerror}"
            return
        if not table.addresses:
            self._failure = f"{self._path}: names no kernel function: is it a kernel's?"
        elif table.addresses[-1] == 0:
            self._failure = (
                f"{self._path}: every address is 0, so kernel functions have no names: needs "
                "CAP_SYSLOG, or sysctl kernel.kptr_restrict below 2"
            )
        else:
            self._table = table


def _parse(lines: Iterable[bytes]) -> _Table:
    """Lines are `address type name[\\t[module]]`, those of the kernel itself already sorted."""
    addresses = array("Q")
    offsets = array("I")
    names = bytearray(b"\n")
    in_code = False
    for line in lines:
        head, kind, rest = line[:-1].partition(b" ")[0], line[17:18], line[19:-1]
        if len(head) != 16:  # 32-bit kernels, or no kallsyms at all
            continue
        try:
            if kind in _CODE:
                if rest.startswith(b"__pfx_"):  # the padding before a function, half of all names
                    continue
                addresses.append(int(head, 16))
                offsets.append(len(names))
                names += rest.partition(b"\t")[0]
                names += b"\n"
                in_code = True
            elif in_code:
                addresses.append(int(head, 16))
                offsets.append(_NO_NAME)
                in_code = False
        except (ValueError, OverflowError):  # no address
            continue
    return _sorted(addresses, offsets, bytes(names))


def _sorted(addresses: "array[int]", offsets: "array[int]", names: bytes) -> _Table:
    if any(map(int.__gt__, addresses, addresses[1:])):
        order = sorted(range(len(addresses)), key=addresses.__getitem__)
        addresses = array("Q", map(addresses.__getitem__, order))
        offsets = array("I", map(offsets.__getitem__, order))
    return _Table(addresses, offsets, names)
