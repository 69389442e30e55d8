"""Numbers as Prometheus' Go code prints them, many at once.

The rule: exactly what prometheus_client.utils.floatToGoString gives, one by one (a property
test holds them equal). Knows numbers only.
"""

import math
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import NamedTuple

from prometheus_client.utils import floatToGoString

# One number, any kind (prometheus_client leaves it without types).
go_float: Callable[[float], str] = floatToGoString

# From here on Go writes an exponent ("1e+06").
_EXPONENT_FROM = 1_000_000
# Up to here an integer's own digits are the shortest that make its float again.
_EXACT_BELOW = 10**15
_EXPONENT = tuple(f"e+{digits - 1:02d}" for digits in range(17))


class Arguments(NamedTuple):
    """What a bytes template needs to print numbers: a conversion, and an argument for each."""

    conversion: bytes
    values: Sequence[object]


class GoTexts:
    """Puts one column of numbers into text; `exact` if they are all integers ≥ 0.

    Remembers what it gave last time, place by place, because most counters stand still between
    two scrapes: a text made anew takes 0.3 to 1 µs, one that is still good 0.05. Numbers under a
    million need neither: a template prints them all, and no Python code runs per number.
    """

    def __init__(self, exact: bool) -> None:
        self.exact = exact
        self._rows = 0
        self._last: dict[int, tuple[Sequence[float], list[bytes]]] = {}

    def arguments(self, values: Sequence[float], start: int, stop: int) -> Arguments:
        """For values[start:stop]. Whoever always cuts at the same places gains by what is
        remembered."""
        part = values[start:stop]
        if self.exact and max(part, default=0) < _EXPONENT_FROM:
            return Arguments(b"%d.0", part)
        if self._rows != len(values):  # rows came or went: most places have changed
            self._rows, self._last = len(values), {}
        nothing = (repeat(math.nan), repeat(b""))  # NaN equals no number
        before, known = self._last.get(start, nothing)
        if self.exact:
            exponent = _EXPONENT
            texts = [
                text
                if value == old
                else b"%d.0" % value
                if value < _EXPONENT_FROM
                else go_float(value).encode()
                if value >= _EXACT_BELOW
                else f"{digits[0]}.{digits[1:]}{exponent[len(digits)]}".encode()
                if (digits := f"{value}")[-1] != "0"
                else (f"{digits[0]}.{digits[1:]}".rstrip("0.") + exponent[len(digits)]).encode()
                for value, old, text in zip(part, before, known)  # noqa: B905
            ]
        else:
            texts = [
                text if value == old and value else go_float(value).encode()  # 0.0 == -0.0
                for value, old, text in zip(part, before, known)  # noqa: B905
            ]
        self._last[start] = (part, texts)
        return Arguments(b"%b", texts)
