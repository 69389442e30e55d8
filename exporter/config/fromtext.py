"""One scalar's text to a value, by the type that is wanted, whatever YAML would make of it.

So `name: on` is a name, and `static_map: {0: read}` has text keys.
"""

import math
import re
from typing import Any

from msgspec import inspect

from exporter.config.scalars import is_text_type

_TRUE = frozenset(w for s in ("true", "on", "yes") for w in (s, s.title(), s.upper()))
_FALSE = frozenset(w for s in ("false", "off", "no") for w in (s, s.title(), s.upper()))
_INT = re.compile(r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 80  # 64 bits in binary, with underscores


def read_scalar(info: inspect.Type, text: str) -> Any:
    """The value that `text` is as this type. Raises ValueError with what is wrong with it."""
    match info:
        case inspect.StrType():
            if info.min_length is not None and len(text) < info.min_length:
                raise ValueError("is empty" if not text else "too short")
            if info.pattern is not None and not re.fullmatch(info.pattern, text):
                raise ValueError("not allowed")
            return text
        case inspect.BoolType():
            if text in _TRUE or text in _FALSE:
                return text in _TRUE
            raise ValueError("neither true nor false")
        case inspect.IntType():
            return _in_range(info, _integer(text))
        case inspect.FloatType():
            if len(text) > _MAX_DIGITS or not _FLOAT.fullmatch(text):
                raise ValueError("not a number")
            return _in_range(info, float(text))
        case inspect.LiteralType(values=values):
            for value in values:
                if str(value) == text:
                    return value
            raise ValueError("unknown value")
        case inspect.CustomType(cls=cls) if is_text_type(cls):
            return cls(text)
        case inspect.Metadata(type=inner):
            return read_scalar(inner, text)
    raise TypeError(f"no such type in configuration: {info}")


def _integer(text: str) -> int:
    if re.fullmatch(r"[-+]?0[0-9_]+", text):
        raise ValueError("a leading zero may mean octal (write 0o…, or no zero)")
    if len(text) > _MAX_DIGITS or not _INT.fullmatch(text):
        raise ValueError("not a whole number")
    return int(text, 0)


def _in_range(info: inspect.IntType | inspect.FloatType, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    if (info.ge is not None and value < info.ge) or (info.gt is not None and value <= info.gt):
        raise ValueError("too small")
    if (info.le is not None and value > info.le) or (info.lt is not None and value >= info.lt):
        raise ValueError("too large")
    return value
