"""User-space addresses to functions: real programs, stripped or not, and broken files."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.clock import SystemClock
from exporter.decoders import DecodeContext, chain
from exporter.decoders.user_symbols import UserSymbols
from exporter.ebpf.labelspec import DecoderSpec, LabelSpec
from exporter.hostfs import HostFs
from exporter.testing import fake_host

SOURCE = """
#include <stdio.h>
#include <stdlib.h>
__attribute__((noinline)) int first_function(int x) { return x + 1; }
__attribute__((noinline)) int second_function(int x) { return first_function(x) * 3; }
int main(void)
{
	printf("%p %p %p\\n", (void *)first_function, (void *)second_function, (void *)abort);
	fflush(stdout);
	return getchar() + second_function(1);
}
"""


@contextmanager
def running(folder: Path, *options: str) -> Iterator[tuple[int, list[int]]]:
    """The program's process id and the addresses that it says."""
    source, binary = folder / "program.c", folder / "program"
    source.write_text(SOURCE)
    subprocess.run(["gcc", "-O1", "-o", binary, source, *options], check=True)
    process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        yield process.pid, [int(word, 16) for word in process.stdout.readline().split()]
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def decoded(process: int, address: int, size: int = 16) -> str:
    decode = chain(
        LabelSpec("function", size, 0, (DecoderSpec("usym"),)),
        DecodeContext.of(HostFs(), SystemClock()),
    )
    key = address.to_bytes(8, "little") + process.to_bytes(4, "little")
    return decode(key.ljust(size, b"\0"))


@pytest.mark.parametrize("options", [["-pie", "-fPIE"], ["-no-pie", "-fno-pie"]], ids=str)
def test_an_address_is_the_function_that_it_lies_in(tmp_path: Path, options: list[str]) -> None:
    with running(tmp_path, *options) as (process, (first, second, library)):
        assert decoded(process, first) == "first_function"
        assert decoded(process, first + 1, size=12) == "first_function"
        assert decoded(process, second) == "second_function"
        if "-pie" in options:  # else it is the address of the program's own jump to it
            assert decoded(process, library) == "abort"


def test_a_stripped_program_says_file_and_offset(tmp_path: Path) -> None:
    with running(tmp_path, "-pie", "-fPIE", "-s") as (process, (first, _, library)):
        said = decoded(process, first)
        assert said.startswith("program+0x")
        assert (first - int(said.partition("+")[2], 16)) % os.sysconf("SC_PAGE_SIZE") == 0
        assert decoded(process, library) == "abort"  # libraries keep their dynamic symbols


def test_a_program_whose_file_is_deleted_still_has_its_names(tmp_path: Path) -> None:
    with running(tmp_path) as (process, (first, _, _)):
        (tmp_path / "program").unlink()
        assert decoded(process, first) == "first_function"


def test_what_no_file_is_mapped_at_is_unknown(tmp_path: Path) -> None:
    with running(tmp_path) as (process, _):
        assert decoded(process, 0x1000) == "unknown_addr:0x1000"
    assert decoded(process, 0x1000) == "unknown_addr:0x1000"  # nor when the process is gone


MAPS = "00400000-00500000 r-xp 00000000 00:1c 77 /opt/program\n"


def test_a_file_is_the_process_s_own_not_ours(tmp_path: Path) -> None:
    with running(tmp_path, "-no-pie") as (process, (first, _, _)):
        program = (tmp_path / "program").read_bytes()
        mapped = [
            line
            for line in Path(f"/proc/{process}/maps").read_text().splitlines()
            if line.endswith("/program")
        ]
    maps = "".join(f"{line.rsplit(maxsplit=1)[0]} /opt/program\n" for line in mapped)
    host = fake_host(tmp_path / "b", {"proc/7/maps": maps, "proc/7/root/opt/program": program})
    place = UserSymbols(host).place(7, first)
    assert place is not None
    assert (place.file, place.name) == ("/opt/program", "first_function")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_of_a_file_break_it(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, elf: bool
) -> None:
    folder = tmp_path_factory.mktemp("host")
    head = b"\x7fELF\x02\x01" if elf else b""
    host = fake_host(folder, {"proc/7/maps": MAPS, "proc/7/root/opt/program": head + content})
    place = UserSymbols(host).place(7, 0x400010)
    assert place is not None
    assert (place.file, place.offset) == ("/opt/program", 0x10)
