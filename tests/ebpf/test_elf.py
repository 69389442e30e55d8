"""Objects as elf.py reads them; and that whatever it lets through, libbpf survives."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.ebpf.elf import BpfObject, Map, verify_object
from exporter.ebpf.sections import read_elf
from exporter.errors import BpfError

# Opens each object of a file (u32 length, bytes) with libbpf, having said its number first.
_OPEN_EACH = """
import ctypes, struct, sys
from pathlib import Path
lib = ctypes.CDLL("libbpf.so.1")
lib.libbpf_set_print(None)
lib.bpf_object__open_mem.restype = ctypes.c_void_p
lib.bpf_object__open_mem.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p]
lib.bpf_object__close.argtypes = [ctypes.c_void_p]
data, at, number, opened = Path(sys.argv[1]).read_bytes(), 0, 0, 0
while at < len(data):
    (size,) = struct.unpack_from("=I", data, at)
    print(number, flush=True)
    found = lib.bpf_object__open_mem(data[at + 4 : at + 4 + size], size, None)
    if found:
        lib.bpf_object__close(found)
        opened += 1
    at, number = at + 4 + size, number + 1
print("opened", opened, "of", number)
"""


def test_an_object_is_read_as_it_was_declared(objects: Path) -> None:
    found = verify_object(objects / "shapes.bpf.o")
    assert found.license == "GPL"
    assert found.functions == {
        "on_getpid": "tracepoint/syscalls/sys_enter_getpid",
        "on_switch": "raw_tp/sched_switch",
        "on_packet": "xdp",
    }
    sizes = {each.name: (each.type, each.key_size, each.value_size) for each in found.maps.values()}
    assert sizes == {
        "events_total": (5, 8, 8),
        "pairs_total": (1, 16, 8),
        "nested_total": (9, 32, 8),
        "latency_seconds": (5, 8, 48),
        "plain_total": (2, 4, 8),
        "chosen": (9, 8, 8),
        "mixed_total": (1, 24, 8),
        "wide_values": (1, 8, 16),
        "sized_total": (1, 12, 8),
        "spans": (27, 0, 0),
        "sent_total": (4, 4, 4),
    }
    assert found.maps["sized_total"] == Map("sized_total", 1, 12, 8, 8, 1, 0, 0)
    places = {each.name: (each.section, each.size) for each in found.variables.values()}
    assert places == {
        "kaddr_vfs_read": (".rodata", 8),
        "begins_at": (".data", 8),
        "counted": (".bss", 8),
        "last_bits": (".bss", 8),
    }


def test_bpftool_and_elf_py_agree_on_the_types(objects: Path) -> None:
    shown = subprocess.run(
        ["bpftool", "btf", "dump", "file", objects / "shapes.bpf.o"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    btf = verify_object(objects / "shapes.bpf.o").btf
    assert btf is not None
    assert len(btf) - 1 == sum(line.startswith("[") for line in shown.splitlines())


def test_an_object_without_types_has_functions_but_no_maps(objects: Path) -> None:
    found = verify_object(objects / "untyped.bpf.o")
    assert (sorted(found.functions), found.maps, found.btf) == (
        ["on_getpid", "on_packet", "on_switch"],
        {},
        None,
    )


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.bpf.o", "is missing: compile it with clang -target bpf"),
        ("native.bpf.o", "compiled for "),
        ("swapped.bpf.o", "other byte order, want little-endian: compile it on this machine"),
        ("empty.bpf.o", "has no BPF functions"),
        ("native.c", "not an ELF file, want what clang -target bpf -c writes"),
    ],
)
def test_a_file_that_is_no_bpf_object_is_refused_by_name(
    objects: Path, name: str, said: str
) -> None:
    with pytest.raises(BpfError) as refused:
        verify_object(objects / name)
    assert str(refused.value).startswith(f"{objects / name}: {said}")


@pytest.mark.parametrize(
    ("at", "new", "said"),
    [
        (4, b"\1", "32-bit ELF, want 64-bit: compile it with clang -target bpf"),
        (16, b"\2\0", "an executable, want a relocatable object: compile it with clang -c"),
        (16, b"\3\0", "a shared library, want a relocatable object: compile it with clang -c"),
        (18, b"\x3e\0", "compiled for x86-64, want BPF: compile it with clang -target bpf"),
        (18, b"\xb7\0", "compiled for ARM64, want BPF: compile it with clang -target bpf"),
        (18, b"\x01\x90", "compiled for machine 36865, want BPF: compile it with clang -target"),
        (20, b"\2", "malformed ELF header: recompile it"),
        (58, b"\x41", "malformed ELF header: "),
        (60, b"\0\0", "malformed ELF header: 0 section headers of 64 bytes"),
        (62, b"\xff\xff", "section names are in section 65535, of "),
    ],
)
def test_a_header_that_is_wrong_is_said(shapes: bytes, at: int, new: bytes, said: str) -> None:
    with pytest.raises(BpfError) as refused:
        verify_object(patched(shapes, at, new))
    assert str(refused.value).startswith(said)


def test_an_object_that_is_cut_off_says_where(shapes: bytes) -> None:
    (at,) = struct.unpack_from("=Q", shapes, 40)
    (count,) = struct.unpack_from("=H", shapes, 60)
    with pytest.raises(BpfError) as refused:
        verify_object(shapes[:-1])
    assert str(refused.value) == (
        f"truncated: section headers end at {at + 64 * count:#x}, "
        f"file has {len(shapes) - 1:#x} bytes"
    )


def test_an_object_cut_off_anywhere_is_refused(shapes: bytes) -> None:
    for length in range(0, len(shapes), 97):
        with pytest.raises(BpfError):
            verify_object(shapes[:length])


def spoiled(data: bytes, section: str, at: int, new: bytes) -> bytes:
    """`new` written `at` bytes into a section."""
    found = read_elf(data).section(section)
    assert found is not None
    return patched(data, found.offset + at, new)


@pytest.mark.parametrize(
    ("section", "at", "new", "said"),
    [
        (".BTF", 0, b"\0", "BTF: begins with 0xeb00, want 0xeb9f (little)"),
        (".BTF", 2, b"\x09", "BTF: version 9 with a header of 24 bytes, want version 1"),
        (".BTF", 20, b"\xff\xff\xff", "BTF: truncated: it ends at "),
        (".BTF", 24 + 8, b"\xff\xff", "BTF: type 1 (ptr '') refers to type 65535, of "),
        (".BTF.ext", 2, b"\x09", "BTF.ext: malformed header (0xeb9f, version 9)"),
        (".BTF.ext", 8, b"\1", "BTF.ext: truncated: func info ends at "),
        (".reltracepoint/syscalls/sys_enter_getpid", 12, b"\xff\xff", "section '.reltracepoint/"),
        (".symtab", 24, b"\xff\xff\xff\x7f", "name of symbol 1 is at 0x7fffffff, its string table"),
    ],
)
def test_sections_that_do_not_hold_together_are_said(
    shapes: bytes, section: str, at: int, new: bytes, said: str
) -> None:
    with pytest.raises(BpfError) as refused:
        verify_object(spoiled(shapes, section, at, new))
    assert str(refused.value).startswith(said)


def test_the_shipped_programs_pass() -> None:
    folder = Path(__file__).resolve().parents[2] / "bpf"
    subprocess.run(["make", "-s", "-C", folder], check=True, capture_output=True)
    found = {path.name: verify_object(path) for path in sorted(folder.glob("*.bpf.o"))}
    assert found
    assert all(each.functions and each.license == "GPL" for each in found.values())


@given(data=st.binary(max_size=400))
def test_any_bytes_are_refused_in_one_line(data: bytes) -> None:
    for head in (b"", b"\x7fELF\2\1\1" + bytes(9) + b"\1\0\xf7\0\1\0\0\0"):
        with pytest.raises(BpfError) as refused:
            verify_object(head + data)
        assert "\n" not in str(refused.value)


def mutant(data: bytes, chance: random.Random) -> bytes:
    """A few bytes or words changed, mostly where the structure is."""
    (headers,) = struct.unpack_from("=Q", data, 40)
    places = [(headers, len(data) - headers), (0, 64)] + [
        (section.offset, section.size)
        for section in read_elf(data).sections
        if section.size and "debug" not in section.name and section.type not in (0, 8)
    ]
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4))):
        start, size = chance.choice(places)
        at = start + chance.randrange(size)
        if chance.random() < 0.5:
            changed[at] ^= 1 << chance.randrange(8)
        else:
            word = chance.choice((0, 1, 0xFFFFFFFF, 0x7FFFFFFF, chance.randrange(256)))
            at = min(at & ~3, len(changed) - 4)
            changed[at : at + 4] = struct.pack("=I", word)
    return bytes(changed)


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_mutated_object_is_read_or_refused_and_nothing_else(shapes: bytes, seed: int) -> None:
    try:
        found = verify_object(mutant(shapes, random.Random(seed)))
    except BpfError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(found, BpfObject)


def test_libbpf_survives_every_mutant_that_passes(shapes: bytes, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    passed: list[bytes] = []
    for _ in range(1500):
        candidate = mutant(shapes, chance)
        try:
            verify_object(candidate)
        except BpfError:
            continue
        passed.append(candidate)
    assert len(passed) > 200
    batch = tmp_path / "batch"
    batch.write_bytes(b"".join(struct.pack("=I", len(each)) + each for each in passed))
    run = subprocess.run(
        [sys.executable, "-c", _OPEN_EACH, batch], capture_output=True, text=True, timeout=120
    )
    last = run.stdout.split("\n")[-2:]
    assert run.returncode == 0, f"libbpf died of signal {-run.returncode} at mutant {last}"
    assert f"of {len(passed)}" in run.stdout
