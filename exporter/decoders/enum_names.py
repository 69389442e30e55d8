"""enum: a number as the name that the running kernel's own types give it.

So that a table of a kernel's enum in a YAML cannot rot: the names come from the kernel's BTF, or
from the program's own where the kernel has no such enum. The kernel's 6 MB are read for one enum
and let go of; only the names stay.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

from exporter.decoders.uint import parse
from exporter.ebpf.btf import Btf
from exporter.errors import BpfError, DecodeError
from exporter.hostfs import HostFs

Names = Mapping[int, str]
_WIDTHS = (8, 16, 32, 64)


class EnumNames:
    """Names of enums by number. `own` is the program's BTF; `file` a BTF file for kernels that
    carry none, None for the kernel's own."""

    def __init__(self, fs: HostFs, own: Btf | None = None, file: Path | None = None) -> None:
        self._own = own
        self._file = file or fs.sys / "kernel/btf/vmlinux"
        self._fs = fs
        self._kept: dict[str, Names | None] = {}
        self._problem = ""

    def of_program(self, own: Btf | None, file: Path | None) -> "EnumNames":
        return EnumNames(self._fs, own, file)

    def load(self, enums: Iterable[str]) -> None:
        """Reads these from the kernel, all in one pass over its types; each once."""
        wanted = set(enums) - self._kept.keys()
        if not wanted:
            return
        kernel: Btf | None = None
        try:
            kernel = Btf.from_file(self._file)
        except BpfError as error:
            self._problem = str(error)
        for enum in wanted:
            self._kept[enum] = _choose(_values(kernel, enum), _values(self._own, enum))

    def names(self, enum: str) -> Names:
        """Raises DecodeError where neither the kernel nor the program has it."""
        self.load((enum,))
        names = self._kept[enum]
        if names is None:
            where = self._problem or "this kernel has none of that name, nor has the program"
            raise DecodeError(f"enum {enum!r}: {where}")
        return names


class EnumName:
    """The decoder. `strip` is a prefix that all names have and readers do not need."""

    def __init__(self, enum: str, strip: str, allow_unknown: bool, source: EnumNames) -> None:
        names = source.names(enum)
        if strip and not any(name.startswith(strip) for name in names.values()):
            shown = ", ".join(list(names.values())[:4])
            raise DecodeError(f"enum {enum!r}: strip {strip!r} begins none of its names ({shown})")
        # As a key has it, -1 is all ones, however many bytes the key gives it.
        self._names = {
            number % (1 << width): name.removeprefix(strip) or name
            for width in (_WIDTHS if any(number < 0 for number in names) else _WIDTHS[-1:])
            for number, name in names.items()
        }
        self._unknown = "" if allow_unknown else "unknown:"

    def rewrite(self, text: str) -> str:
        found = self._names.get(parse("enum", text))
        return self._unknown + text if found is None else found


def problem(enum: str) -> str | None:
    """What is wrong with the decoder's options, in one line."""
    if not enum:
        return "enum: got no `enum`, want the name of a C enum (tcp_ca_state)"
    if not enum.isidentifier():
        return f"enum: got {enum!r}, want the bare name of a C enum (tcp_ca_state)"
    return None


def _values(btf: Btf | None, enum: str) -> Names | None:
    """The first name of each number."""
    found = btf and (btf.find(enum, "enum") or btf.find(enum, "enum64"))
    if not btf or not found:
        return None
    names: dict[int, str] = {}
    for name, number in btf.values(found):
        names.setdefault(number, name)
    return names or None


def _choose(kernel: Names | None, own: Names | None) -> Names | None:
    """A program that declares a kernel's enum means the kernel's; one that calls an enum of its
    own like one of the kernel's shares none of its names."""
    if kernel and own and set(kernel.values()).isdisjoint(own.values()):
        return own
    return kernel or own
