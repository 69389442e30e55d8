"""uint: an unsigned integer of 1, 2, 4 or 8 bytes in the machine's byte order, as decimal text."""

import sys

from exporter.errors import DecodeError

_ORDER = sys.byteorder


def number(raw: bytes) -> int:
    """The integer itself. Raises DecodeError for any other length."""
    if len(raw) not in (1, 2, 4, 8):
        raise DecodeError(f"uint: got {len(raw)} bytes, want 1, 2, 4 or 8: fix the label's size")
    return int.from_bytes(raw, _ORDER)


def decode(raw: bytes) -> str:
    return str(number(raw))


def parse(decoder: str, text: str) -> int:
    """Decimal text, as `uint` gives it to the decoder after it. Raises DecodeError for others."""
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        raise DecodeError(f"{decoder}: got {text!r}, want a decimal number: put `uint` before it")
    number = int(text)
    if number >= 1 << 64:
        raise DecodeError(f"{decoder}: got {text}, want at most 64 bits")
    return number
