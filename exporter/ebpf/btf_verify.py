"""Whether BTF and BTF.ext of an object hold together, so that libbpf may be given them.

libbpf 1.1 follows type ids, string offsets and record sizes that it never compared with anything.
Here every reference of every type is followed once, and every record looked at. Pure.
"""

import struct
from collections.abc import Iterator, Mapping

from exporter.ebpf.btf import Btf, BtfType
from exporter.errors import BpfError

_MAGIC = 0xEB9F
_EXT_HEADER = struct.Struct("=HBBIIIII")
_CORE_OFFSETS = struct.Struct("=II")
_WORD = struct.Struct("=I")
_BLOCK = struct.Struct("=II")
# By kind of info: the least bytes a record may have (include/uapi/linux/btf.h, bpf.h).
_RECORDS = {"func": 8, "line": 16, "core_relo": 16}
_CORE_RELO_KINDS = 13
_NAMED = frozenset(("typedef", "fwd", "func", "var", "datasec", "float"))
_INT_SIZES = (1, 2, 4, 8, 16)


def verify_types(btf: Btf) -> None:
    """Raises BpfError for the first type whose references, sizes or names make no sense."""
    inside: dict[int, tuple[int, ...]] = {}
    for number in range(1, len(btf)):
        found = btf.type(number)
        if found.kind in _NAMED and not found.name:
            raise _bad(found, "has no name")
        for target, kinds in _references(btf, found):
            if not 0 <= target < len(btf):
                raise _bad(found, f"refers to type {target}, of {len(btf)} in all")
            if kinds and btf.type(target).kind not in kinds:
                raise _bad(found, f"refers to type {target} ({btf.type(target).kind})")
        if found.kind == "int" and found.size not in _INT_SIZES:
            raise _bad(found, f"has {found.size} bytes")
        inside[number] = tuple(_inside(btf, found))
    _verify_finite(inside)


def verify_ext(data: bytes, btf: Btf, code_sizes: Mapping[str, int]) -> None:
    """BTF.ext's records against the types and against the code sections (name: bytes).

    Raises BpfError for the first that points anywhere else."""
    if len(data) < _EXT_HEADER.size:
        raise BpfError(f"BTF.ext: truncated: {len(data)} bytes")
    magic, version, _, header, *bounds = _EXT_HEADER.unpack_from(data)
    if magic != _MAGIC or version != 1 or header < _EXT_HEADER.size or header > len(data):
        raise BpfError(f"BTF.ext: malformed header ({magic:#x}, version {version})")
    core = (0, 0)
    if header >= _EXT_HEADER.size + _CORE_OFFSETS.size:
        core = _CORE_OFFSETS.unpack_from(data, _EXT_HEADER.size)
    infos = {"func": bounds[0:2], "line": bounds[2:4], "core_relo": core}
    for what, (offset, size) in infos.items():
        if size == 0:
            continue
        start = header + offset
        if offset % 4 or start + size > len(data):
            raise BpfError(
                f"BTF.ext: truncated: {what} info ends at {start + size:#x} of {len(data):#x}"
            )
        _verify_info(what, data[start : start + size], btf, code_sizes)


def _verify_info(what: str, info: bytes, btf: Btf, code_sizes: Mapping[str, int]) -> None:
    if len(info) < _WORD.size:
        raise BpfError(f"BTF.ext: truncated in {what} info")
    (record_size,) = _WORD.unpack_from(info)
    if record_size < _RECORDS[what] or record_size % 4 or record_size > 256:
        raise BpfError(f"BTF.ext: {what} records of {record_size} bytes")
    at = _WORD.size
    seen: set[str] = set()
    while at < len(info):
        if len(info) - at < _BLOCK.size:
            raise BpfError(f"BTF.ext: truncated in {what} info")
        name_at, count = _BLOCK.unpack_from(info, at)
        name = btf.string(name_at)
        at += _BLOCK.size
        if name not in code_sizes:
            raise BpfError(f"BTF.ext: {what} info of section {name!r}, which has no code")
        if name in seen or count == 0 or count * record_size > len(info) - at:
            raise BpfError(f"BTF.ext: {what} info of section {name!r} has {count} records")
        seen.add(name)
        for record in range(at, at + count * record_size, record_size):
            _verify_record(what, info, record, btf, code_sizes[name])
        at += count * record_size


def _verify_record(what: str, info: bytes, at: int, btf: Btf, code_size: int) -> None:
    (instruction,) = _WORD.unpack_from(info, at)
    if instruction % 8 or instruction >= code_size:
        raise BpfError(
            f"BTF.ext: {what} info for byte {instruction:#x} of {code_size:#x} bytes of code"
        )
    if what == "line":
        _, file_at, line_at, _ = struct.unpack_from("=IIII", info, at)
        btf.string(file_at)
        btf.string(line_at)
        return
    (number,) = _WORD.unpack_from(info, at + 4)
    if what == "func":
        if btf.type(number).kind != "func":
            raise BpfError(f"BTF.ext: func info names type {number}, which is no function")
        return
    _, _, access_at, kind = struct.unpack_from("=IIII", info, at)
    access = btf.string(access_at)
    if kind >= _CORE_RELO_KINDS or number == 0:
        raise BpfError(f"BTF.ext: relocation of kind {kind} for type {number}")
    btf.type(number)
    if not access or not all(part.isdigit() for part in access.split(":")):
        raise BpfError(f"BTF.ext: relocation follows {access!r}, want numbers between colons")


def _references(btf: Btf, found: BtfType) -> Iterator[tuple[int, frozenset[str]]]:
    """Type ids that a type mentions, each with the kinds allowed there (empty: any)."""
    anything: frozenset[str] = frozenset()
    match found.kind:
        case "func":
            yield found.target, frozenset(("func_proto",))
        case "array":
            element, index, _ = struct.unpack_from("=III", btf.data, btf.after(found))
            yield element, anything
            yield index, frozenset(("int", "typedef"))
        case "struct" | "union":
            for member in btf.members(found):
                yield member.type, anything
        case "func_proto":
            yield found.target, anything
            for _, number in btf.parameters(found):
                yield number, anything
        case "datasec":
            for variable in btf.variables(found):
                yield variable.type, frozenset(("var", "func"))
        case "enum" | "enum64":
            btf.values(found)  # their names must be there
        case _:
            yield found.target, anything


def _inside(btf: Btf, found: BtfType) -> Iterator[int]:
    """Types that this one contains or stands for, so that a loop through them never ends."""
    match found.kind:
        case "struct" | "union":
            for member in btf.members(found):
                yield member.type
        case "array":
            yield btf.element(found)[0]
        case "typedef" | "volatile" | "const" | "restrict" | "type_tag" | "var" | "decl_tag":
            yield found.target


def _verify_finite(inside: Mapping[int, tuple[int, ...]]) -> None:
    done: set[int] = set()
    for start in inside:
        path = [(start, iter(inside[start]))]
        open_: set[int] = {start}
        while path:
            number, targets = path[-1]
            target = next(targets, 0)
            if target == 0:
                path.pop()
                open_.discard(number)
                done.add(number)
            elif target in open_:
                raise BpfError(f"BTF: type {number} contains itself through type {target}")
            elif target not in done:
                open_.add(target)
                path.append((target, iter(inside.get(target, ()))))


def _bad(found: BtfType, what: str) -> BpfError:
    return BpfError(f"BTF: type {found.id} ({found.kind} {found.name!r}) {what}")
