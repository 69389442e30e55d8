"""BTF, the kernel's type information, out of bytes: pure Python, nothing parsed but what is asked.

Reading the kernel's own (5.5 MB, 130,000 types) takes one pass over type sizes; names, members
and values are decoded when asked for. Bounds-checked: any bytes give types or a BpfError.
Format: Documentation/bpf/btf.rst, include/uapi/linux/btf.h.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.errors import BpfError

KINDS: Sequence[str] = (
    "void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile",
    "const", "restrict", "func", "func_proto", "var", "datasec", "float", "decl_tag", "type_tag",
    "enum64",
)  # fmt: skip
_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
_MODIFIERS = frozenset(("typedef", "volatile", "const", "restrict", "type_tag"))
_REFERENCES = _MODIFIERS | {"ptr", "func", "var", "decl_tag"}
_SIZED = frozenset(("int", "struct", "union", "enum", "datasec", "float", "enum64"))
# bytes that follow a type's 12: fixed, and for each of its vlen entries
_FIXED = {"int": 4, "array": 12, "var": 4, "decl_tag": 4}
_EACH = {"struct": 12, "union": 12, "enum": 8, "func_proto": 8, "datasec": 12, "enum64": 12}
_MAGIC = 0xEB9F
_HEADER = struct.Struct("=HBBIIIII")
_TYPE = struct.Struct("=III")
_DEEPEST = 64  # modifiers, typedefs and arrays one inside the other


class BtfType(NamedTuple):
    """`size` in bytes is 0 for kinds that have none of their own; `target` is the id of the type
    that it refers to, 0 for void and for kinds that refer to none. `entries` is members, values,
    parameters or variables."""

    id: int
    kind: str
    name: str
    size: int
    target: int
    entries: int
    flag: bool


class Member(NamedTuple):
    """`bits` is 0 unless it is a bit field. `offset_bits` counts from the start of the struct."""

    name: str
    type: int
    offset_bits: int
    bits: int


class Variable(NamedTuple):
    """A variable of a data section as BTF says it; clang leaves `offset` 0 in object files."""

    name: str
    type: int
    offset: int
    size: int


class Btf:
    """Types by id; id 0 is void. Every method raises BpfError for what the bytes do not hold."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._types_at, self._types_end, self._strings_at, self._strings_end = _bounds(data)
        self._offsets = self._walk()

    @classmethod
    def from_file(cls, path: Path) -> "Btf":
        try:
            return cls(path.read_bytes())
        except OSError as error:
            raise BpfError(f"{path}: cannot be read: {error.strerror}") from None
        except BpfError as error:
            raise BpfError(f"{path}: {error}") from None

    def __len__(self) -> int:
        """How many types there are, void included."""
        return len(self._offsets)

    def type(self, number: int) -> BtfType:
        if number == 0:
            return BtfType(0, "void", "", 0, 0, 0, False)
        name, info, size = self._header(number)
        kind = KINDS[info >> 24 & 31]
        sized = kind in _SIZED
        return BtfType(
            id=number,
            kind=kind,
            name=self.string(name),
            size=size if sized else 0,
            target=size if kind in _REFERENCES or kind == "func_proto" else 0,
            entries=info & 0xFFFF,
            flag=bool(info >> 31),
        )

    def string(self, offset: int) -> str:
        start = self._strings_at + offset
        end = self._data.find(b"\0", start, self._strings_end)
        if start >= self._strings_end or end < 0:
            raise BpfError(f"BTF: string at {offset:#x} is outside of the strings")
        return self._data[start:end].decode("utf-8", "replace")

    def find(self, name: str, kind: str) -> BtfType | None:
        """The first type of that name and kind, found without decoding the others."""
        wanted = b"\0" + name.encode() + b"\0"
        number = _NUMBERS[kind]
        at = self._data.find(wanted, self._strings_at, self._strings_end)
        while at >= 0:
            key = struct.pack("=I", at + 1 - self._strings_at)
            found = self._find_by_name_offset(key, number)
            if found:
                return self.type(found)
            at = self._data.find(wanted, at + 1, self._strings_end)
        return None

    def resolve(self, number: int) -> BtfType:
        """The type itself, behind typedefs, const, volatile and the like."""
        for _ in range(_DEEPEST):
            found = self.type(number)
            if found.kind not in _MODIFIERS:
                return found
            number = found.target
        raise BpfError(f"BTF: type {number} refers to itself")

    def size(self, number: int) -> int:
        """sizeof, in bytes. Raises BpfError for types without one (void, functions)."""
        factor = 1
        for _ in range(_DEEPEST):
            found = self.resolve(number)
            if found.kind == "array":
                number, elements = self.element(found)
                factor *= elements
            elif found.kind == "ptr":
                return factor * 8
            elif found.kind == "var":
                number = found.target
            elif found.kind in _SIZED:
                return factor * found.size
            else:
                raise BpfError(f"BTF: type {number} ({found.kind} {found.name!r}) has no size")
        raise BpfError(f"BTF: type {number} contains itself")

    def signed(self, found: BtfType) -> bool | None:
        """Whether an integer or enum is signed; None for what is no number."""
        if found.kind in ("enum", "enum64"):
            return found.flag
        if found.kind != "int":
            return None
        (encoding,) = struct.unpack_from("=I", self._data, self._after(found))
        return bool(encoding >> 24 & 1)  # BTF_INT_SIGNED

    def element(self, found: BtfType) -> tuple[int, int]:
        """The element's type id, and how many."""
        element, _, elements = struct.unpack_from("=III", self._data, self._after(found))
        return element, elements

    def members(self, found: BtfType) -> list[Member]:
        """Of a struct or union, in order."""
        members = []
        for index in range(found.entries):
            at = self._after(found) + 12 * index
            name, number, offset = struct.unpack_from("=III", self._data, at)
            bits = offset >> 24 if found.flag else 0
            offset = offset & 0xFFFFFF if found.flag else offset
            members.append(Member(self.string(name), number, offset, bits))
        return members

    def values(self, found: BtfType) -> list[tuple[str, int]]:
        """Names and numbers of an enum or enum64, in order; `flag` says that they are signed."""
        wide = found.kind == "enum64"
        values = []
        for index in range(found.entries):
            at = self._after(found) + (12 if wide else 8) * index
            name, low = struct.unpack_from("=II", self._data, at)
            number, bits = low, 32
            if wide:
                number |= struct.unpack_from("=I", self._data, at + 8)[0] << 32
                bits = 64
            if found.flag and number >> (bits - 1):
                number -= 1 << bits
            values.append((self.string(name), number))
        return values

    def variables(self, found: BtfType) -> list[Variable]:
        """Of a datasec, in order; entries may be functions (.ksyms)."""
        variables = []
        for index in range(found.entries):
            at = self._after(found) + 12 * index
            number, offset, size = struct.unpack_from("=III", self._data, at)
            entry = self.type(number)
            variables.append(Variable(entry.name, number, offset, size))
        return variables

    def parameters(self, found: BtfType) -> list[tuple[str, int]]:
        """Names and type ids of a func_proto; type 0 at the end means variadic."""
        return [
            (self.string(name), number)
            for name, number in struct.iter_unpack(
                "=II", self._data[self._after(found) : self._after(found) + 8 * found.entries]
            )
        ]

    def sections(self) -> dict[str, BtfType]:
        """The data sections by name."""
        return {
            found.name: found
            for number in range(1, len(self))
            if self._header(number)[1] >> 24 & 31 == _NUMBERS["datasec"]
            and (found := self.type(number))
        }

    def after(self, found: BtfType) -> int:
        """Where in the data a type's entries begin."""
        return self._after(found)

    @property
    def data(self) -> bytes:
        return self._data

    def _after(self, found: BtfType) -> int:
        return self._offsets[found.id] + _TYPE.size

    def _header(self, number: int) -> tuple[int, int, int]:
        if not 0 < number < len(self._offsets):
            raise BpfError(f"BTF: there is no type {number}, of {len(self._offsets)} in all")
        header: tuple[int, int, int] = _TYPE.unpack_from(self._data, self._offsets[number])
        return header

    def _find_by_name_offset(self, key: bytes, kind: int) -> int:
        at = self._data.find(key, self._types_at, self._types_end)
        while at >= 0:
            index = bisect_left(self._offsets, at, 1)
            starts = index < len(self._offsets) and self._offsets[index] == at
            if starts and self._header(index)[1] >> 24 & 31 == kind:
                return index
            at = self._data.find(key, at + 1, self._types_end)
        return 0

    def _walk(self) -> "array[int]":
        """Where each type begins; index 0 (void) holds 0."""
        offsets = array("I", [0])
        data, at, end = self._data, self._types_at, self._types_end
        unpack = struct.Struct("=I").unpack_from
        fixed = [_FIXED.get(kind, 0) + _TYPE.size for kind in KINDS]
        each = [_EACH.get(kind, 0) for kind in KINDS]
        while at < end:
            if end - at < _TYPE.size:
                raise BpfError(f"BTF: truncated in type {len(offsets)}")
            (info,) = unpack(data, at + 4)
            kind = info >> 24 & 31
            if not 0 < kind < len(fixed):
                raise BpfError(
                    f"BTF: type {len(offsets)} is of kind {kind}, newer than this reader"
                )
            offsets.append(at)
            at += fixed[kind] + each[kind] * (info & 0xFFFF)
        if at > end:
            raise BpfError(f"BTF: truncated in type {len(offsets) - 1}")
        return offsets


def _bounds(data: bytes) -> tuple[int, int, int, int]:
    """Where types and strings begin and end in the data."""
    if len(data) < _HEADER.size:
        raise BpfError(f"BTF: truncated: {len(data)} bytes, its header has {_HEADER.size}")
    magic, version, _, header, types, types_size, strings, strings_size = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        other = " in the other byte order" if magic == 0x9FEB else ""
        raise BpfError(f"BTF: begins with {magic:#x}{other}, want {_MAGIC:#x} ({sys.byteorder})")
    if version != 1 or header < _HEADER.size:
        raise BpfError(f"BTF: version {version} with a header of {header} bytes, want version 1")
    types_at, strings_at = header + types, header + strings
    types_end, strings_end = types_at + types_size, strings_at + strings_size
    if types % 4 or types_end > strings_at or strings_end > len(data):
        raise BpfError(
            f"BTF: truncated: it ends at {strings_end:#x}, there are {len(data):#x} bytes"
        )
    if not strings_size or data[strings_at] or data[strings_end - 1]:
        raise BpfError("BTF: malformed strings")
    return types_at, types_end, strings_at, strings_end
