"""Listen addresses: what can be written, and what a user reads when it cannot be had."""

import asyncio
import errno
import select
import socket

import pytest

from exporter.errors import KernmeshError
from exporter.web.listen import Address, bind, parse, urls


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9435", Address("", 9435)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("[::1]:9435", Address("::1", 9435)),
        ("localhost:65535", Address("localhost", 65535)),
    ],
)
def test_an_address_is_read(text: str, address: Address) -> None:
    assert parse(text) == address


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9435", "listen 9435: no address, want HOST:PORT or :PORT (port 0 to 65535)"),
        (":65536", "listen :65536: no address, want HOST:PORT or :PORT (port 0 to 65535)"),
        (":http", "listen :http: no address, want HOST:PORT or :PORT (port 0 to 65535)"),
        (":-1", "listen :-1: no address, want HOST:PORT or :PORT (port 0 to 65535)"),
        ("", "listen : no address, want HOST:PORT or :PORT (port 0 to 65535)"),
        ("::1:80", "listen ::1:80: IPv6 address without brackets, want [ADDRESS]:PORT"),
    ],
)
def test_what_is_no_address_says_what_would_be(text: str, message: str) -> None:
    with pytest.raises(KernmeshError) as raised:
        parse(text)
    assert str(raised.value) == message


def test_a_port_in_use_says_what_to_do_and_leaves_no_socket_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(KernmeshError) as raised:
            bind(["127.0.0.1:0", f"127.0.0.1:{port}"])
    assert str(raised.value) == (
        f"listen 127.0.0.1:{port}: address already in use: see who has it "
        f"(ss -ltnp 'sport = :{port}'), stop that or choose another with --web.listen-address"
    )


def test_all_addresses_of_a_taken_port_cannot_be_had_either() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(KernmeshError, match=f"^listen :{port}: address already in use: "):
            bind([f":{port}"])


def test_an_address_of_another_machine_is_said_to_be_that() -> None:
    with pytest.raises(KernmeshError, match=r"^listen 192\.0\.2\.1:0: cannot assign .*: no inter"):
        bind(["192.0.2.1:0"])


def test_all_addresses_means_ipv6_and_ipv4_and_the_port_is_told() -> None:
    [sock] = bind([":0"])
    with sock:
        port = sock.getsockname()[1]
        assert urls([sock]) == [f"http://localhost:{port}"]
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port)).close()


def test_several_addresses_are_several_sockets() -> None:
    sockets = bind(["127.0.0.1:0", "[::1]:0"])
    ports = [sock.getsockname()[1] for sock in sockets]
    assert urls(sockets) == [f"http://127.0.0.1:{ports[0]}", f"http://[::1]:{ports[1]}"]
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("code", [errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL])
def test_a_kernel_without_ipv6_gets_ipv4(code: int) -> None:
    def make(family: socket.AddressFamily) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(code, "no IPv6 here")
        return socket.socket(family)

    [sock] = bind([":0"], make)
    with sock:
        assert sock.getsockname()[0] == "0.0.0.0"


@pytest.mark.parametrize("address", ["127.0.0.1:0", ":0"])
def test_no_answer_waits_for_the_acknowledgement_of_its_head(address: str) -> None:
    [sock] = bind([address])
    with sock, socket.create_connection(("127.0.0.1", sock.getsockname()[1])):
        select.select([sock], [], [])
        accepted, _ = sock.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_client_that_comes_before_the_server_starts_waits_for_it() -> None:
    [sock] = bind(["127.0.0.1:0"])
    early = socket.create_connection(sock.getsockname())

    async def accept() -> bytes:
        greeted = asyncio.Event()

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"hello")
            await writer.drain()
            writer.close()
            greeted.set()

        async with await asyncio.start_server(greet, sock=sock):
            await greeted.wait()
        return early.recv(5)

    with early:
        assert asyncio.run(accept()) == b"hello"
