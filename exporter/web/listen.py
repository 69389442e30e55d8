"""Listen addresses as users write them (":9435", "[::1]:0", "localhost:9435") made into sockets.

Sockets are bound before anything else starts, so that a port in use costs one clear line.
"""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from exporter.errors import KernmeshError

BACKLOG = 512
NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Address(NamedTuple):
    """`host` is "" for every address of the machine; `port` 0 lets the kernel choose."""

    host: str
    port: int


MakeSocket = Callable[[socket.AddressFamily], socket.socket]


def parse(text: str) -> Address:
    """Raises KernmeshError for anything but HOST:PORT, [IPv6]:PORT or :PORT."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise KernmeshError(f"listen {text}: IPv6 address without brackets, want [ADDRESS]:PORT")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise KernmeshError(f"listen {text}: no address, want HOST:PORT or :PORT (port 0 to 65535)")
    return Address(host, int(port))


def bind(addresses: Sequence[str], make: MakeSocket = socket.socket) -> list[socket.socket]:
    """One bound socket or more per address, all or none. Raises KernmeshError, one line with
    what to do. `make` is the seam for a kernel without IPv6."""
    sockets: list[socket.socket] = []
    try:
        for text in addresses:
            address = parse(text)
            try:
                sockets += _bind_all(address.port, make) if not address.host else _named(address)
            except OSError as error:
                raise KernmeshError(_explain(text, address, error)) from error
    except KernmeshError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


def urls(sockets: Sequence[socket.socket], secure: bool = False) -> list[str]:
    """Where the sockets can be reached from this machine, with the actual ports."""
    found, scheme = [], "https" if secure else "http"
    for sock in sockets:
        host, port = sock.getsockname()[:2]
        if host in ("::", "0.0.0.0"):  # noqa: S104 # compared, not bound
            host = "localhost"
        found.append(f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}")
    return found


def _bind_all(port: int, make: MakeSocket) -> list[socket.socket]:
    """One dual-stack socket; IPv4 alone only where the kernel has no IPv6 (ipv6.disable=1)."""
    try:
        return [_bind(make(socket.AF_INET6), ("::", port), dual=True)]
    except OSError as error:
        if error.errno not in NO_SUCH_FAMILY:
            raise
        return [_bind(make(socket.AF_INET), ("0.0.0.0", port))]  # noqa: S104 # the default, as exporters do


def _named(address: Address) -> list[socket.socket]:
    """A name may stand for several addresses (localhost: 127.0.0.1 and ::1): all that this
    machine has are bound, so ::1 in /etc/hosts does no harm where IPv6 is off."""
    infos = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    for family, where in dict.fromkeys((info[0], info[4]) for info in infos):
        try:
            sockets.append(_bind(socket.socket(family, socket.SOCK_STREAM), where))
        except OSError as error:
            if error.errno not in NO_SUCH_FAMILY:
                for sock in sockets:
                    sock.close()
                raise
            absent = error
    if absent is not None and not sockets:
        raise absent
    return sockets


def _bind(sock: socket.socket, where: tuple[object, ...], dual: bool = False) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it. asyncio sets it only where the socket names its protocol, and
        # without it a body waits 40 ms behind its head for the client's delayed acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if dual else 1)
        sock.bind(where)
        # Listening now, not when the server starts: two binds with SO_REUSEADDR both succeed
        # while nobody listens, and the second would fail only later. Early clients queue.
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def _explain(text: str, address: Address, error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return f"listen {text}: host {address.host!r} has no address here ({error.strerror})"
    remedy = {
        errno.EADDRINUSE: f"see who has it (ss -ltnp 'sport = :{address.port}'), stop that or "
        "choose another with --web.listen-address",
        errno.EACCES: "ports under 1024 need root or CAP_NET_BIND_SERVICE; choose a higher one",
        errno.EADDRNOTAVAIL: "no interface of this machine has that address (ip address)",
    }.get(error.errno or 0, "choose another with --web.listen-address")
    reason = os.strerror(error.errno).lower() if error.errno else str(error)
    return f"listen {text}: {reason}: {remedy}"
