"""Where a struct's member lies, by its name: keys and values as the object's BTF declares them.

Pure: BTF in, offsets and sizes out. It must not know what a member is used for.
"""

from collections.abc import Iterator
from difflib import get_close_matches
from typing import NamedTuple

from exporter.ebpf.btf import Btf, BtfType, Member
from exporter.errors import BpfError

_RECORDS = ("struct", "union")
_MOST_MEMBERS = 4096
_DEEPEST = 16


class Part(NamedTuple):
    """Bytes of a key or value: from `offset`, `size` of them. `scalar` is False for structs and
    arrays. `signed` is None where BTF does not say."""

    offset: int
    size: int
    scalar: bool = True
    signed: bool | None = None

    @property
    def end(self) -> int:
        return self.offset + self.size


def find_field(btf: Btf, number: int, path: str) -> Part:
    """The member `path` of type `number`: "pid", or "port.low" inside of another struct. Members
    of anonymous structs and unions count as the outer one's, as in C.

    Raises BpfError, with what there is instead, for a name that is not there, a bit field, or a
    type that has no members."""
    offset = 0
    for word in path.split("."):
        record = btf.resolve(number)
        if record.kind not in _RECORDS:
            raise BpfError(f"no field {path!r}: {_named(record)} has no members")
        found = next((each for each in _members(btf, record) if each.name == word), None)
        if found is None:
            raise BpfError(f"no field {word!r} in {_named(record)}{_meant(btf, record, word)}")
        if found.bits or found.offset_bits % 8:
            raise BpfError(f"field {path!r} of {_named(record)} is a bit field, want whole bytes")
        number, offset = found.type, offset + found.offset_bits // 8
    last = btf.resolve(number)
    scalar = last.kind not in (*_RECORDS, "array")
    return Part(offset, btf.size(number), scalar, btf.signed(last))


def _members(btf: Btf, record: BtfType) -> Iterator[Member]:
    """In order, those of anonymous records in their place; offsets from the start of `record`."""
    pending = [(member, 0, 0) for member in btf.members(record)]
    for _ in range(_MOST_MEMBERS):
        if not pending:
            return
        member, base, depth = pending.pop(0)
        offset = base + member.offset_bits
        inner = None if member.name else btf.resolve(member.type)
        if inner is not None and inner.kind in _RECORDS and depth < _DEEPEST:
            pending[:0] = [(each, offset, depth + 1) for each in btf.members(inner)]
        elif member.name:
            yield member._replace(offset_bits=offset)


def _named(found: BtfType) -> str:
    return f"{found.kind} {found.name}" if found.name else f"the {found.kind}"


def _meant(btf: Btf, record: BtfType, word: str) -> str:
    names = [each.name for each in _members(btf, record)]
    close = get_close_matches(word, names, n=1)
    if close:
        return f" (did you mean {close[0]!r}?)"
    return f", it has {', '.join(names[:12]) or 'none'}" + (" …" if len(names) > 12 else "")
