"""Kernel symbols: by address, compactly, and honest about what the kernel hides."""

import tracemalloc
from pathlib import Path

import pytest

from exporter.clock import SystemClock
from exporter.decoders.kallsyms import KernelSymbols
from exporter.decoders.kstack import Kstack
from exporter.decoders.ksym import Ksym
from exporter.decoders.provisional import Provisional
from exporter.errors import DecodeError
from exporter.hostfs import HostFs
from exporter.testing import FakeClock, fake_host

KALLSYMS = """\
0000000000000000 A __per_cpu_start
ffffffff81000000 T startup_64
ffffffff81000000 T _stext
ffffffff81000040 T __pfx_pipe_lock
ffffffff81000050 T pipe_lock
ffffffff81000090 t pipe_unlock
ffffffff810000b0 W weak_one
ffffffff82000000 D some_data
ffffffff82000100 R more_data
ffffffffc0201000 t second\t[zz]
ffffffffc0200000 t first\t[zz]
ffffffffc0300000 t bpf_prog_6deef7357e7b4530_x\t[bpf]
"""


def symbols(folder: Path, text: str = KALLSYMS, clock: FakeClock | None = None) -> KernelSymbols:
    return KernelSymbols(fake_host(folder, {"proc/kallsyms": text}), clock or FakeClock())


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0xFFFFFFFF81000000, "startup_64"),
        (0xFFFFFFFF81000050, "pipe_lock"),
        (0xFFFFFFFF8100006F, "pipe_lock"),
        (0xFFFFFFFF81000090, "pipe_unlock"),
        (0xFFFFFFFF810000B0, "weak_one"),
        (0xFFFFFFFFC0200000, "first"),
        (0xFFFFFFFFC0201008, "second"),
        (0xFFFFFFFFC0300000, "bpf_prog_6deef7357e7b4530_x"),
        (0xFFFFFFFF80FFFFFF, None),
        (0xFFFFFFFF82000000, None),
        (0xFFFFFFFF82000100, None),
        (0xFFFFFFFFC0500000, None),
        (0, None),
        (2**64 - 1, None),
    ],
)
def test_an_address_is_named_by_the_function_that_it_lies_in(
    tmp_path: Path, address: int, name: str | None
) -> None:
    assert symbols(tmp_path).name(address) == name


def test_an_unknown_address_is_shown_and_may_be_known_later(tmp_path: Path) -> None:
    text = Ksym(symbols(tmp_path)).decode(b"\x28" + bytes(7))
    assert text == "unknown_addr:0x28"
    assert type(text) is Provisional


def test_a_stack_is_its_functions_line_by_line_up_to_the_first_zero(tmp_path: Path) -> None:
    frames = [0xFFFFFFFF81000094, 0x1234, 0xFFFFFFFF81000050, 0, 0xFFFFFFFF81000050]
    raw = b"".join(frame.to_bytes(8, "little") for frame in frames)
    assert Kstack(symbols(tmp_path)).decode(raw) == "pipe_unlock\n??\npipe_lock"


@pytest.mark.parametrize("size", [0, 4, 9])
def test_an_address_of_an_odd_size_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(DecodeError, match=rf"^ksym: got {size} bytes, want 8"):
        Ksym(symbols(tmp_path)).decode(bytes(size))


def test_a_module_that_came_later_is_found_but_not_looked_for_at_every_miss(
    tmp_path: Path,
) -> None:
    clock = FakeClock()
    known = symbols(tmp_path, clock=clock)
    assert known.name(0xFFFFFFFFC0A00000) is None
    with (tmp_path / "proc/kallsyms").open("a") as file:
        file.write("ffffffffc0a00000 t late\t[new]\n")
    assert known.name(0xFFFFFFFFC0A00000) is None
    clock.advance(31)
    assert known.name(0xFFFFFFFFC0A00000) == "late"


def test_hidden_addresses_are_said_to_be_hidden(tmp_path: Path) -> None:
    hidden = "\n".join("0" * 16 + line[16:] for line in KALLSYMS.splitlines()) + "\n"
    with pytest.raises(DecodeError) as refused:
        symbols(tmp_path, hidden).name(0xFFFFFFFF81000050)
    assert str(refused.value) == (
        f"{tmp_path}/proc/kallsyms: every address is 0, so kernel functions have no names: "
        "needs CAP_SYSLOG, or sysctl kernel.kptr_restrict below 2"
    )


def test_a_file_that_is_not_there_is_not_tried_again_for_every_row(tmp_path: Path) -> None:
    clock = FakeClock()
    known = KernelSymbols(HostFs(proc=tmp_path), clock)
    for _ in range(2):
        with pytest.raises(DecodeError, match="kallsyms: cannot be read: No such file"):
            known.name(1)
        (tmp_path / "kallsyms").write_text(KALLSYMS)
    clock.advance(31)
    assert known.name(0xFFFFFFFF81000050) == "pipe_lock"


def test_text_that_is_no_list_of_symbols_names_nothing(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="names no kernel function"):
        symbols(tmp_path, "hello\n\nffff\n").name(1)


def test_a_large_kernels_symbols_take_less_than_6_mb(tmp_path: Path) -> None:
    count = 122_000
    text = "".join(
        f"{0xFFFFFFFF81000000 + 64 * i:016x} t function_with_a_name_{i}\n" for i in range(count)
    )
    known = symbols(tmp_path, text)
    tracemalloc.start()
    try:
        assert known.name(0xFFFFFFFF81000000 + 64 * 99_999) == "function_with_a_name_99999"
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 6_000_000


def test_the_running_kernels_functions_are_named() -> None:
    wanted = [
        (int(line.split()[0], 16), line.split()[2])
        for line in Path("/proc/kallsyms").read_text().splitlines()
        if line.split()[2] in ("vfs_read", "schedule", "do_exit")
    ]
    known = KernelSymbols(HostFs(), SystemClock())
    assert wanted
    assert [known.name(address) for address, _ in wanted] == [name for _, name in wanted]


def test_lines_that_have_no_address_are_passed_over(tmp_path: Path) -> None:
    odd = "fffffff\u00e981000000 T a\n-fffffff81000000 T b\nffffffff 8 T c\nxfffffff81000000 D d\n"
    found = symbols(tmp_path, odd + KALLSYMS + odd)
    assert found.name(0xFFFFFFFF81000050) == "pipe_lock"


def test_a_name_that_is_no_utf_8_is_shown_as_far_as_it_is(tmp_path: Path) -> None:
    found = symbols(tmp_path)
    (tmp_path / "proc/kallsyms").write_bytes(b"ffffffff81000000 T a\xffb\n")
    assert found.name(0xFFFFFFFF81000000) == "a\ufffdb"
