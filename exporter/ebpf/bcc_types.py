"""The kernel's types as C, each field where this kernel has it: what CO-RE does for libbpf at load
is done for bcc, which relocates nothing, before it compiles.

Pure text out of types: the program's own (its object's BTF) say which fields there are, the
kernel's where. A field or value that the kernel has not is declared so that bcc.h can tell.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from exporter.ebpf.btf import Btf, BtfType, Member
from exporter.ebpf.relocations import Relocation, plain

_ABI = frozenset(("pt_regs",))
"""Registers are the architecture's, from the headers that bcc comes with."""
_DEEPEST = 16


class Types(NamedTuple):
    """`renamed` are structs of bpf/include/kernel.h that `text` takes the place of."""

    renamed: tuple[str, ...]
    text: str


def types_as_c(btf: Btf, relocated: Iterable[Relocation], kernel: Sequence[Btf]) -> Types:
    """`btf` is the object's; `kernel` is asked in order. Raises BpfError for broken BTF."""
    writer = _Writer(btf, kernel)
    for each in sorted(set(relocated), key=lambda relocation: relocation.local):
        writer.add(btf.type(each.local))
    return Types(tuple(writer.structs), "".join(writer.structs.values()) + writer.enums())


class _Writer:
    def __init__(self, btf: Btf, kernel: Sequence[Btf]) -> None:
        self._btf, self._kernel = btf, kernel
        self.structs: dict[str, str] = {}
        self._values: dict[str, int | None] = {}
        self._wanted: set[str] = set()

    def enums(self) -> str:
        lines = []
        for name, value in self._values.items():
            lines.append(f"#define km_has_{name} {int(value is not None)}\n")
            lines.append(f"#define km_value_{name} {0 if value is None else value}\n")
        return "".join(lines)

    def add(self, found: BtfType) -> None:
        if found.kind in ("enum", "enum64"):
            self._add_enum(found)
        elif found.kind in ("struct", "union") and found.name not in _ABI:
            self._add_struct(found)

    def _add_enum(self, found: BtfType) -> None:
        known: Mapping[str, int] = {}
        target = self._target(found)
        if target:
            known = dict(target[0].values(target[1]))
        for name, _ in self._btf.values(found):
            self._values[name] = known.get(plain(name))

    def _add_struct(self, found: BtfType) -> None:
        if found.name in self.structs or found.name in self._wanted:
            return
        self._wanted.add(found.name)
        target = self._target(found)
        body = self._body(found, target)
        size = target[1].size if target else 0
        room = f"\tchar km_size[{size}];\n" if size else ""
        self.structs[found.name] = f"{found.kind} {found.name} {{ union {{\n{room}{body}}}; }};\n"

    def _target(self, found: BtfType) -> tuple[Btf, BtfType] | None:
        kinds = ("enum", "enum64") if found.kind.startswith("enum") else (found.kind,)
        for btf in self._kernel:
            for kind in kinds:
                target = btf.find(plain(found.name), kind)
                if target:
                    return btf, target
        return None

    def _body(self, found: BtfType, target: tuple[Btf, BtfType] | None) -> str:
        """The members of a struct or union, each in a struct of its own that begins where the
        whole does."""
        lines = []
        for member in self._btf.members(found):
            place = _find(target[0], target[1], member.name) if target else None
            at = place[1].offset_bits if place else 0
            if place is None or at % 8 or member.bits:
                absent = self._declared(member.type, f"{member.name} KM_ABSENT", None)
                lines.append(f"\tstruct {{ {absent}; }};\n")
                continue
            declared = self._declared(member.type, member.name, place)
            pad = f"char km_at_{member.name}[{at // 8}]; " if at else ""
            lines.append(f"\tstruct {{ {pad}{declared}; }} __attribute__((packed));\n")
        return "".join(lines)

    def _declared(self, number: int, name: str, place: tuple[Btf, Member] | None) -> str:
        found = self._btf.resolve(number)
        if found.kind == "ptr":
            return f"{self._pointee(found.target)}{name}"
        if found.kind == "array":
            element, count = self._btf.element(found)
            bare, space, rest = name.partition(" ")
            return self._declared(element, f"{bare}[{count}]{space}{rest}", None)
        if found.kind in ("struct", "union"):
            if found.name:
                self._add_struct(found)
                return f"{found.kind} {found.name} {name}"
            target = (place[0], place[0].resolve(place[1].type)) if place else None
            return f"{found.kind} {{ union {{\n{self._body(found, target)}}}; }} {name}"
        return f"{self._number(found)} {name}"

    def _pointee(self, number: int) -> str:
        stars = "*"
        found = self._btf.resolve(number)
        while found.kind == "ptr":
            stars += "*"
            found = self._btf.resolve(found.target)
        if found.kind in ("struct", "union") and found.name:
            self.add(found)
            return f"{found.kind} {found.name} {stars}"
        if found.kind == "int":
            return f"{self._number(found)} {stars}"
        return f"void {stars}"

    def _number(self, found: BtfType) -> str:
        if found.name == "_Bool":
            return "_Bool"
        size = found.size if found.kind == "int" else found.size or 4
        kind = {1: "char", 2: "short", 4: "int", 8: "long long"}[size]
        signed = found.kind == "int" and found.name.startswith(("int", "long", "short", "s", "__s"))
        return f"{'signed' if signed else 'unsigned'} {kind}"


def _find(btf: Btf, found: BtfType, name: str, deep: int = 0) -> tuple[Btf, Member] | None:
    """A member by name, also inside of anonymous ones; its offset counts from the whole."""
    for member in btf.members(found):
        if member.name == name:
            return btf, member
        if not member.name and deep < _DEEPEST:
            inner = _find(btf, btf.resolve(member.type), name, deep + 1)
            if inner:
                at = member.offset_bits + inner[1].offset_bits
                return btf, inner[1]._replace(offset_bits=at)
    return None


def renames(names: Iterable[str], to: str) -> Iterator[str]:
    """C lines that make programs see these structs by another name."""
    for name in names:
        yield f"#define {name} {to}{name}\n"
