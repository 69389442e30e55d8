"""Sockets that a service manager bound: taken if meant for us, refused in one line if not fit."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.errors import KernmeshError
from exporter.web.inherited import inherited


def free_row(length: int) -> int:
    """The first of so many file descriptors in a row that nothing else has open."""
    first = 200
    while taken := [fd for fd in range(first, first + length) if Path(f"/dev/fd/{fd}").exists()]:
        first = taken[-1] + 1
    return first


def handed_over(*made: socket.socket) -> tuple[dict[str, str], int]:
    """As systemd does: in a row, from the returned file descriptor on, inheritable."""
    first = free_row(len(made))
    for index, sock in enumerate(made):
        os.dup2(sock.fileno(), first + index)
        sock.close()
    environ = {"LISTEN_FDS": str(len(made)), "LISTEN_PID": "7", "LISTEN_FDNAMES": "http"}
    return environ, first


def test_listening_sockets_are_taken_and_no_child_gets_them() -> None:
    environ, first = handed_over(
        socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
    )
    sockets = inherited(environ, 7, first)
    assert [sock.fileno() for sock in sockets] == [first, first + 1]
    assert environ == {}
    for sock in sockets:
        assert not sock.get_inheritable()
        assert not sock.getblocking()
        with socket.create_connection(sock.getsockname()):
            pass
        sock.close()


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "8"},
        {"LISTEN_FDS": "one", "LISTEN_PID": "7"},
    ],
)
def test_what_is_meant_for_another_is_left_alone(environ: dict[str, str]) -> None:
    assert inherited(environ, 7) == []
    assert environ == {}


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
            "does not listen, want Accept=no in the .socket unit",
        ),
        (
            lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            "got AF_INET SOCK_DGRAM, want TCP: ListenStream=PORT in the .socket unit",
        ),
        (
            lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
            "got AF_UNIX SOCK_STREAM, want TCP: ListenStream=PORT in the .socket unit",
        ),
    ],
)
def test_what_cannot_be_served_on_says_why_and_none_stays_open(
    make: Callable[[], socket.socket], problem: str
) -> None:
    environ, first = handed_over(socket.create_server(("127.0.0.1", 0)), make())
    with pytest.raises(KernmeshError) as raised:
        inherited(environ, 7, first)
    assert str(raised.value) == f"LISTEN_FDS: file descriptor {first + 1}: {problem}"
    for fd in (first, first + 1):
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_file_descriptor_that_is_not_there_is_one_line() -> None:
    with pytest.raises(KernmeshError) as raised:
        inherited({"LISTEN_FDS": "1", "LISTEN_PID": "7"}, 7, 999)
    assert str(raised.value) == "LISTEN_FDS: file descriptor 999: Bad file descriptor"
