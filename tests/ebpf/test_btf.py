"""Types, of an object and of the running kernel."""

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.ebpf.btf import Btf, Member
from exporter.ebpf.btf_verify import verify_types
from exporter.ebpf.sections import read_elf
from exporter.errors import BpfError

VMLINUX = Path("/sys/kernel/btf/vmlinux")


def made(types: bytes, strings: bytes = b"\0a\0b\0") -> bytes:
    """BTF with this type section."""
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return header + types + strings


def a_type(
    name: int, kind: int, size: int, *words: int, count: int = 0, flag: bool = False
) -> bytes:
    info = kind << 24 | count | flag << 31
    return struct.pack(f"={3 + len(words)}I", name, info, size, *words)


INT = a_type(1, 1, 4, 0x01000020)


@pytest.fixture(scope="session")
def btf(shapes: bytes) -> Btf:
    elf = read_elf(shapes)
    section = elf.section(".BTF")
    assert section is not None
    return Btf(elf.content(section))


def test_members_have_their_places(btf: Btf) -> None:
    found = btf.find("pair_key", "struct")
    assert found is not None
    assert found.size == 16
    shown = [
        (member.name, member.offset_bits // 8, btf.size(member.type))
        for member in btf.members(found)
    ]
    assert shown == [("device", 0, 4), ("operation", 4, 1), ("bucket", 8, 8)]


def test_bit_fields_and_sizes_behind_typedefs_and_arrays(btf: Btf) -> None:
    found = btf.find("bits", "struct")
    assert found is not None
    first, second, odd, small, pointer = btf.members(found)
    assert (first.offset_bits, first.bits, second.offset_bits, second.bits) == (0, 3, 3, 5)
    assert isinstance(odd, Member)
    assert [btf.size(each.type) for each in (odd, small, pointer)] == [16, 4, 8]
    assert btf.resolve(btf.element(btf.type(odd.type))[0]).name == "unsigned long long"


def test_an_enum_names_its_numbers(btf: Btf) -> None:
    found = btf.find("small", "enum")
    assert found is not None
    assert dict(btf.values(found))["SMALL_SOME"] == 5


@pytest.mark.parametrize(("signed", "number"), [(True, -1), (False, 0xFFFFFFFF)])
def test_an_enum_says_whether_its_numbers_have_signs(signed: bool, number: int) -> None:
    small = Btf(made(a_type(0, 6, 4, 1, 0xFFFFFFFF, count=1, flag=signed)))
    assert small.values(small.type(1)) == [("a", number)]


def test_a_wide_enum_has_all_its_bits() -> None:
    wide = Btf(made(a_type(0, 19, 8, 1, 2, 1 << 31, 3, 0xFFFFFFFF, 0xFFFFFFFF, count=2, flag=True)))
    assert wide.values(wide.type(1)) == [("a", -(1 << 63) + 2), ("b", -1)]


def test_data_sections_have_their_variables(btf: Btf) -> None:
    names = {
        name: [each.name for each in btf.variables(found)] for name, found in btf.sections().items()
    }
    assert names[".rodata"] == ["kaddr_vfs_read"]
    assert sorted(names[".bss"]) == ["counted", "last_bits"]
    assert "events_total" in names[".maps"]


def test_what_is_not_there_is_not_found(btf: Btf) -> None:
    assert btf.find("pair_key", "enum") is None
    assert btf.find("pair", "struct") is None
    with pytest.raises(BpfError, match=r"^BTF: there is no type 9999, of "):
        btf.type(9999)


def test_the_running_kernels_types_are_those_that_bpftool_shows() -> None:
    kernel = Btf.from_file(VMLINUX)
    found = kernel.find("task_struct", "struct")
    assert found is not None
    pid = next(member for member in kernel.members(found) if member.name == "pid")
    shown = subprocess.run(
        ["bpftool", "btf", "dump", "file", VMLINUX], check=True, capture_output=True, text=True
    ).stdout
    head = f"[{found.id}] STRUCT 'task_struct' size={found.size} vlen={found.entries}"
    _, here, after = shown.partition(head)
    assert here
    block = after[: after.index("\n[")]
    assert f"'pid' type_id={pid.type} bits_offset={pid.offset_bits}\n" in block
    assert len(kernel) - 1 == shown.count("\n[") + 1


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BpfError, match=r"/vmlinux: cannot be read: No such file or directory$"):
        Btf.from_file(tmp_path / "vmlinux")


@pytest.mark.parametrize(
    ("types", "said"),
    [
        (INT[:-1] + b"", "BTF: truncated"),
        (INT[:8], "BTF: truncated"),
        (a_type(1, 25, 0), "BTF: type 1 is of kind 25, newer than this reader"),
        (a_type(0, 4, 8, count=2), "BTF: truncated in type 1"),
        (INT + a_type(0, 2, 7), "BTF: type 2 (ptr '') refers to type 7, of 3 in all"),
        (a_type(99, 1, 4, 0), "BTF: string at 0x63 is outside of the strings"),
        (a_type(1, 1, 3, 0), "BTF: type 1 (int 'a') has 3 bytes"),
        (INT + a_type(0, 8, 1), "BTF: type 2 (typedef '') has no name"),
        (INT + a_type(1, 12, 1), "BTF: type 2 (func 'a') refers to type 1 (int)"),
        (INT + a_type(1, 15, 8, 1, 0, 4, count=1), "BTF: type 2 (datasec 'a') refers to type 1"),
        (a_type(1, 8, 2) + a_type(3, 8, 1), "BTF: type 2 contains itself through type 1"),
        (INT + a_type(0, 3, 0, 2, 1, 4), "BTF: type 2 contains itself through type 2"),
        (INT + a_type(1, 4, 4, 3, 2, 0, count=1), "BTF: type 2 contains itself through type 2"),
    ],
)
def test_types_that_make_no_sense_are_said(types: bytes, said: str) -> None:
    with pytest.raises(BpfError) as refused:
        verify_types(Btf(made(types)))
    assert str(refused.value).startswith(said)


def test_a_pointer_back_to_ones_own_struct_is_no_loop() -> None:
    verify_types(Btf(made(a_type(1, 4, 8, 3, 2, 0, count=1) + a_type(0, 2, 1))))


def test_a_loop_ends_where_it_was_not_verified() -> None:
    loop = Btf(made(a_type(1, 8, 2) + a_type(3, 8, 1)))
    with pytest.raises(BpfError, match="refers to itself"):
        loop.resolve(1)
    turning = Btf(made(INT + a_type(0, 3, 0, 2, 1, 4)))
    with pytest.raises(BpfError, match="contains itself"):
        turning.size(2)


@given(
    st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 40), max_size=24), st.binary(max_size=20)
)
def test_any_types_are_read_or_refused(words: list[int], strings: bytes) -> None:
    data = made(struct.pack(f"={len(words)}I", *words), b"\0" + strings + b"\0")
    try:
        found = Btf(data)
        verify_types(found)
        for number in range(len(found)):
            found.size(number)
    except BpfError as error:
        assert str(error).startswith("BTF: ")


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        assert len(Btf(data)) >= 1
    except BpfError as error:
        assert str(error).startswith("BTF: ")
