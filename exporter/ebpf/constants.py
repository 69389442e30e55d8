"""Numbers that a program gets before it is loaded: `constants` and `kaddrs` of its YAML.

What must be true of them is here once: check tells all of it, the loader the first.
"""

import sys
from collections.abc import Iterator, Mapping

from exporter.ebpf.elf import BpfObject
from exporter.ebpf.findings import Finding, missing
from exporter.ebpf.libbpf_object import Object
from exporter.ebpf.spec import Program, ProgramSpec
from exporter.errors import BpfError
from exporter.hostfs import HostFs


def constant_findings(spec: ProgramSpec, declared: BpfObject) -> Iterator[Finding]:
    """Constants that the object has not, or that do not fit."""
    for name, number in spec.constants.items():
        variable = declared.variables.get(name)
        if variable is None or not variable.section.startswith(".rodata"):
            yield f"constants.{name}", missing("rodata variable", name, declared.variables)
        elif number >> (8 * variable.size):
            text = f"got {number}, want what fits in {variable.size} bytes"
            yield f"constants.{name}", text


def kaddr_findings(spec: ProgramSpec, declared: BpfObject) -> Iterator[Finding]:
    """Addresses that the object has no variable for."""
    for index, symbol in enumerate(spec.kaddrs):
        name = f"kaddr_{symbol}"
        variable = declared.variables.get(name)
        if variable is None or not variable.section.startswith(".rodata"):
            yield f"kaddrs[{index}]", missing("rodata variable", name, declared.variables)


def constants_of(program: Program, declared: BpfObject, host: HostFs) -> Mapping[str, int]:
    """Both, by the object's names. Raises BpfError for a constant that cannot be set, and for a
    symbol that this kernel shows no address of."""
    for path, text in constant_findings(program.spec, declared):
        raise BpfError(f"{program.yaml}: {path}: {text}")
    return {**program.spec.constants, **_kernel_addresses(program, host)}


def set_constants(obj: Object, values: Mapping[str, int]) -> None:
    """Writes numbers into the object's constants of these names, where it has them."""
    places = obj.variables(".rodata")
    rodata = next((m for m in obj.maps if m.internal and m.name.endswith(".rodata")), None)
    for name, value in values.items():
        if rodata is not None and name in places:
            place = places[name]
            rodata.write_initial(place.offset, value.to_bytes(place.size, sys.byteorder))


def _kernel_addresses(program: Program, host: HostFs) -> dict[str, int]:
    """`kaddrs` of the YAML: kernel symbols' addresses, for constants named kaddr_<symbol>."""
    wanted = set(program.spec.kaddrs)
    found: dict[str, int] = {}
    if not wanted:
        return found
    path = host.proc / "kallsyms"
    try:
        with path.open() as lines:
            for line in lines:
                address, _, name = line.split()[:3]
                if name in wanted:
                    found.setdefault(f"kaddr_{name}", int(address, 16))
    except OSError as error:
        raise BpfError(f"{program.yaml}: kaddrs: {path}: {error.strerror}") from None
    missing = sorted(name for name in wanted if not found.get(f"kaddr_{name}"))
    if missing:
        raise BpfError(
            f"{program.yaml}: kaddrs: this kernel shows no address of {', '.join(missing)}"
        )
    return found
