"""Datagrams by the C library's calls: what Python's own sockets send and see is what these do."""

import errno
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pingmesh.datagrams import DATA_BYTES, SLOTS, Post, sockaddr

V4, V6 = socket.AF_INET, socket.AF_INET6
_SO_TIMESTAMPNS, _SO_RXQ_OVFL = 35, 40
FAMILIES = pytest.mark.parametrize(("family", "host"), [(V4, "127.0.0.9"), (V6, "::1")])


@contextmanager
def pair(family: int, host: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets on this address: ours, and another that speaks through Python."""
    with (
        socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours,
        socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other,
    ):
        for sock in (ours, other):
            sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
            sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            sock.bind((host, 0))
        yield ours, other


@FAMILIES
@pytest.mark.parametrize("count", [0, 1, SLOTS, SLOTS + 1])
def test_what_came_in_is_read_in_order_with_source_and_time(
    family: int, host: str, count: int
) -> None:
    with pair(family, host) as (ours, other):
        post = Post(ours)
        before = time.time_ns()
        for number in range(count):
            other.sendto(b"%d" % number, ours.getsockname())
        found = post.receive()
        assert len(found) == min(count, SLOTS)
        found += post.receive()
        after = time.time_ns()
    assert [data for data, _, _ in found] == [b"%d" % number for number in range(count)]
    assert {source for _, source, _ in found} <= {host}
    assert all(before <= arrived_ns <= after for _, _, arrived_ns in found)


@FAMILIES
@given(data=st.binary(max_size=2 * DATA_BYTES))
def test_what_is_sent_arrives_whole_and_of_what_comes_the_beginning_is_kept(
    family: int, host: str, data: bytes
) -> None:
    with pair(family, host) as (ours, other):
        post = Post(ours)
        post.send(data, sockaddr(family, host, other.getsockname()[1]))
        assert other.recvfrom(65535)[0] == data
        other.sendto(data, ours.getsockname())
        [(kept, _, _)] = post.receive()
    assert kept == data[:DATA_BYTES]


@given(st.ip_addresses(v=4), st.integers(0, 65535))
def test_an_ipv4_address_is_as_the_kernel_has_it(address: object, port: int) -> None:
    made = sockaddr(V4, str(address), port)
    family, *rest = struct.unpack("=H2s4s8s", made)
    assert (family, rest) == (
        V4,
        [port.to_bytes(2, "big"), socket.inet_aton(str(address)), bytes(8)],
    )


@given(st.ip_addresses(v=6), st.integers(0, 65535), st.integers(0, 2**32 - 1))
def test_an_ipv6_address_is_as_the_kernel_has_it(address: object, port: int, scope: int) -> None:
    made = sockaddr(V6, str(address), port, scope)
    packed = socket.inet_pton(V6, str(address))
    assert struct.unpack("=H2sI16sI", made) == (V6, port.to_bytes(2, "big"), 0, packed, scope)


@pytest.mark.parametrize(("family", "text"), [(V4, "::1"), (V6, "127.0.0.1"), (V4, "x"), (V6, "")])
def test_what_is_no_address_of_the_family_is_refused(family: int, text: str) -> None:
    with pytest.raises(OSError, match="illegal IP address"):
        sockaddr(family, text, 0)


def test_what_did_not_leave_says_why() -> None:
    with pair(V4, "127.0.0.9") as (ours, _):
        post = Post(ours)
        with pytest.raises(OSError) as caught:
            post.send(bytes(70_000), sockaddr(V4, "127.0.0.9", 9))
    assert caught.value.errno == errno.EMSGSIZE


def test_what_an_earlier_datagram_met_is_raised_and_nothing_is_lost() -> None:
    with pair(V4, "127.0.0.9") as (ours, other):
        other.sendto(b"kept", ours.getsockname())
        with socket.socket(V4, socket.SOCK_DGRAM) as gone:
            gone.bind(("127.0.0.9", 0))
            nobody = gone.getsockname()[1]
        ours.connect(("127.0.0.9", nobody))
        post = Post(ours)
        post.send(b"?", sockaddr(V4, "127.0.0.9", nobody))
        with pytest.raises(ConnectionRefusedError):
            post.receive()
        assert [data for data, _, _ in post.receive()] == [b"kept"]


def test_what_the_kernel_had_no_room_for_is_counted() -> None:
    with pair(V4, "127.0.0.9") as (ours, other):
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        post = Post(ours)
        for _ in range(1000):
            other.sendto(b"x", ours.getsockname())
        seen = len(post.receive())
        assert post.overflow == 0  # told with the first that came in after the loss
        other.sendto(b"y", ours.getsockname())
        [(data, _, arrived_ns)] = post.receive()
    assert (data, post.overflow, arrived_ns > 0) == (b"y", 1000 - seen, True)
