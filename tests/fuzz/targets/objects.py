"""Compiled programs: ELF, BTF and BTF.ext of a .bpf.o, its relocations, and check over it."""

import struct
import subprocess
from functools import cache
from pathlib import Path
from random import Random

from exporter.ebpf.btf import Btf
from exporter.ebpf.btf_verify import verify_types
from exporter.ebpf.check import check_programs
from exporter.ebpf.elf import verify_object
from exporter.ebpf.relocations import relocations
from exporter.ebpf.sections import read_elf
from exporter.ebpf.spec import read_program
from exporter.errors import BpfError
from tests.fuzz.ground import put
from tests.fuzz.mutate import spoil_words
from tests.fuzz.target import ROOT, Case, Target

_PROGRAMS = ("timers", "tcp-retransmit", "bpf-jit")
_MOST = 100_000


@cache
def _objects() -> list[bytes]:
    subprocess.run(["make", "-s", "-C", ROOT / "bpf"], check=True, capture_output=True)
    return [(ROOT / "bpf" / f"{name}.bpf.o").read_bytes() for name in _PROGRAMS]


def _btfs() -> list[bytes]:
    found = []
    for each in _objects():
        elf = read_elf(each)
        section = elf.section(".BTF")
        assert section is not None
        found.append(elf.content(section))
    return found


def spoil_object(data: bytes, chance: Random) -> bytes:
    """Words of the headers, and of sections that are read."""
    try:
        elf = read_elf(data)
    except BpfError:
        return spoil_words(data, chance)
    (headers,) = struct.unpack_from("=Q", data, 40)
    places = [(headers, len(data) - headers), (0, 64)]
    places += [
        (each.offset, each.size)
        for each in elf.sections
        if each.size and "debug" not in each.name and each.type not in (0, 8)
    ]
    at, size = chance.choice(places)
    return data[:at] + spoil_words(data[at : at + size], chance) + data[at + size :]


def _object(data: bytes) -> None:
    found = verify_object(data, "x.bpf.o")
    for name in found.functions:
        assert name


def _btf(data: bytes) -> None:
    btf = Btf(data)
    verify_types(btf)
    for number in range(len(btf)):
        btf.size(number)


def _check(data: bytes) -> None:
    """The program's own YAML beside an object that is not its own any more."""
    for name in _PROGRAMS:
        program = read_program(ROOT / "bpf" / f"{name}.yaml")
        path = put("x.bpf.o", data)
        for problem in check_programs([program._replace(object=path)], _line_of):
            assert str(problem).isprintable(), str(problem)


def _line_of(_: Path, path: str) -> int:
    return len(path)


def _relocations(data: bytes) -> None:
    verify_object(data, "x.bpf.o")
    relocations(data)


TARGET = Target(
    "objects",
    ".bpf.o: ELF, symbols, relocations, BTF and BTF.ext; `kernmesh check` over a spoiled object",
    (
        Case("object", _object, _objects, spoil_object, tested="tests/ebpf/test_elf.py"),
        Case("btf", _btf, _btfs, spoil_words, tested="tests/ebpf/test_btf.py"),
        Case("check", _check, _objects, spoil_object, tested="tests/ebpf/test_check.py"),
        Case("relocations", _relocations, _objects, spoil_object),
    ),
    _MOST,
)
