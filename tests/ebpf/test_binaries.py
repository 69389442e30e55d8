"""Programs and libraries by name, in the folders of several distributions."""

from pathlib import Path

import pytest

from exporter.ebpf.binaries import find
from exporter.hostfs import HostFs
from exporter.testing import fake_host

ELF = b"\x7fELF\x02\x01\x01"


@pytest.mark.parametrize(
    ("machine", "place", "name"),
    [
        ("x86_64", "usr/lib/x86_64-linux-gnu/libc.so.6", "libc.so.6"),  # Debian, Ubuntu
        ("aarch64", "lib/aarch64-linux-gnu/libc.so.6", "libc.so.6"),
        ("x86_64", "usr/lib64/libc.so.6", "libc.so.6"),  # Fedora, SUSE
        ("aarch64", "lib64/libc.so.6", "libc.so.6"),
        ("x86_64", "usr/lib/libc.so.6", "libc.so.6"),  # Arch
        ("x86_64", "lib/ld-musl-x86_64.so.1", "ld-musl-*.so.1"),  # Alpine
        ("x86_64", "usr/bin/python3.11", "*python3.*"),
        ("x86_64", "usr/local/bin/python3.13", "*python3.*"),
        ("x86_64", "usr/lib64/libpython3.12.so.1.0", "*python3.*"),
    ],
)
def test_it_is_found_where_the_distribution_keeps_it(
    tmp_path: Path, machine: str, place: str, name: str
) -> None:
    host = fake_host(tmp_path, {f"{place}": ELF})
    assert find(name, host, machine) == [host.root / place]


def test_a_library_of_another_machine_is_not_taken(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"usr/lib/i386-linux-gnu/libc.so.6": ELF})
    assert find("libc.so.6", host, "x86_64") == []


def test_a_file_comes_once_however_many_links_lead_to_it(tmp_path: Path) -> None:
    host = fake_host(tmp_path, {"usr/bin/python3.11": ELF, "usr/bin/python3.12": ELF})
    (host.root / "bin").symlink_to("usr/bin")
    (host.root / "usr/bin/python3").symlink_to("python3.11")
    (host.root / "usr/bin/python3.99").symlink_to("nowhere")
    (host.root / "usr/local").mkdir()
    (host.root / "usr/local/bin").mkdir()
    (host.root / "usr/local/bin/python3.11").symlink_to("../../bin/python3.11")
    found = find("*python3*", host, "x86_64")
    assert [file.resolve() for file in found] == [
        host.root / "usr/bin/python3.11",
        host.root / "usr/bin/python3.12",
    ]


def test_what_is_no_program_is_passed_over(tmp_path: Path) -> None:
    files = {"usr/bin/python3.11-config": b"#!/bin/sh\n", "usr/bin/python3.10": b""}
    host = fake_host(tmp_path, files)
    (host.root / "usr/bin/python3.12").mkdir()
    assert find("*python3.*", host, "x86_64") == []


def test_the_c_library_of_this_machine_is_found() -> None:
    # whichever it is
    assert find("libc.so.6", HostFs()) or find("ld-musl-*.so.1", HostFs())
