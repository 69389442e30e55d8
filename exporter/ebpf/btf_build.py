"""BTF written: structs with scalar fields at given offsets, as bytes. Pure Python.

Enough for CO-RE to find a field by name, place and kind; nothing that a debugger would want.
Format: Documentation/bpf/btf.rst.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

_MAGIC = 0xEB9F
_INT, _PTR, _ARRAY, _STRUCT, _ENUM = 1, 2, 3, 4, 6
_SIGNED = 1 << 24
_SIZES = (1, 2, 4, 8)


class Field(NamedTuple):
    """Bytes from the struct's start; `size` is of all `elements` (None: no array) together."""

    name: str
    offset: int
    size: int
    kind: Literal["int", "ptr", "enum"] = "int"
    signed: bool = False
    elements: int | None = None


def build(
    structs: Mapping[str, Sequence[Field]], enums: Mapping[str, Mapping[str, int]] | None = None
) -> bytes:
    """A whole BTF file. Fields of sizes that no scalar has become arrays of bytes."""
    writer = _Writer()
    for name, values in (enums or {}).items():
        writer.enum(name, values)
    for name, fields in structs.items():
        writer.struct(name, fields)
    return writer.bytes()


class _Writer:
    def __init__(self) -> None:
        self._strings = bytearray(b"\0")
        self._types: list[bytes] = []
        self._known: dict[tuple[object, ...], int] = {}
        self._int(4, False)  # also what array indices are; so that the file is never empty

    def bytes(self) -> bytes:
        types = b"".join(self._types)
        sizes = (0, len(types), len(types), len(self._strings))
        return struct.pack("=HBBIIIII", _MAGIC, 1, 0, 24, *sizes) + types + self._strings

    def struct(self, name: str, fields: Sequence[Field]) -> None:
        members = [(self._string(f.name), self._type_of(f), f.offset * 8) for f in fields]
        size = max((f.offset + f.size for f in fields), default=0)
        self._add(self._string(name), _STRUCT, size, members)

    def enum(self, name: str, values: Mapping[str, int]) -> None:
        rest = [(self._string(each), value) for each, value in values.items()]
        self._add(self._string(name), _ENUM, 4, rest)

    def _type_of(self, field: Field) -> int:
        each = field.size if field.elements is None else field.size // max(field.elements, 1)
        if each not in _SIZES:
            return self._array(self._int(1, False), field.size)
        if field.kind == "ptr":
            element = self._once(_PTR, 0)
        elif field.kind == "enum":
            element = self._once(_ENUM, each)
        else:
            element = self._int(each, field.signed)
        return element if field.elements is None else self._array(element, field.elements)

    def _int(self, size: int, signed: bool) -> int:
        name = f"{'s' if signed else 'u'}{8 * size}"
        word = (_SIGNED if signed else 0) | 8 * size
        return self._once(_INT, size, name, [(word,)], entries=0)

    def _array(self, element: int, elements: int) -> int:
        return self._once(_ARRAY, 0, "", [(element, self._int(4, False), elements)], entries=0)

    def _once(
        self,
        kind: int,
        size: int,
        name: str = "",
        rest: Sequence[tuple[int, ...]] = (),
        entries: int | None = None,
    ) -> int:
        key = (kind, size, name, tuple(rest))
        if key not in self._known:
            offset = self._string(name) if name else 0
            self._known[key] = self._add(offset, kind, size, rest, entries)
        return self._known[key]

    def _add(
        self,
        name: int,
        kind: int,
        size: int,
        rest: Iterable[tuple[int, ...]],
        entries: int | None = None,
    ) -> int:
        rest = list(rest)
        count = len(rest) if entries is None else entries
        words = [name, kind << 24 | count, size, *(word for each in rest for word in each)]
        self._types.append(struct.pack(f"={len(words)}I", *words))
        return len(self._types)

    def _string(self, text: str) -> int:
        offset = len(self._strings)
        self._strings += text.encode() + b"\0"
        return offset
