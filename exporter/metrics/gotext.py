"""Numbers as Prometheus' Go code prints them, many at once.

The rule: exactly what prometheus_client.utils.floatToGoString gives, one by one (a property
test holds them equal). Knows numbers only.
"""

from collections.abc import Callable, Sequence

from prometheus_client.utils import floatToGoString

# One number, any kind (prometheus_client leaves it without types).
go_float: Callable[[float], str] = floatToGoString

# From here on Go writes an exponent ("1e+06").
_EXPONENT_FROM = 1_000_000
# Up to here an integer's own digits are the shortest that make its float again.
_EXACT_BELOW = 10**15
_EXPONENT = tuple(f"e+{digits - 1:02d}" for digits in range(17))


def go_floats(values: Sequence[float]) -> list[str]:
    return list(map(go_float, values))


def go_ints(values: Sequence[int]) -> list[str]:
    """Integers ≥ 0 only. About 0.1 µs each under a million, 0.25 µs up to 10^15."""
    if not values:
        return []
    if max(values) < _EXPONENT_FROM:
        # One template for all: no Python code runs per value.
        return ("%d.0\n" * len(values) % tuple(values)).split("\n")[:-1]
    exponent = _EXPONENT
    return [
        f"{value}.0"
        if value < _EXPONENT_FROM
        else go_float(value)
        if value >= _EXACT_BELOW
        else f"{digits[0]}.{digits[1:]}{exponent[len(digits)]}"
        if (digits := f"{value}")[-1] != "0"
        else f"{digits[0]}.{digits[1:]}".rstrip("0.") + exponent[len(digits)]
        for value in values
    ]
