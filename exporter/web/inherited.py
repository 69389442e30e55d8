"""Sockets that a service manager bound for us: systemd's socket activation (sd_listen_fds(3)).

The rule: all or none, and what we cannot serve on is one clear line. They are taken before
anything else is started, so that no child has them.
"""

import os
import socket
from collections.abc import MutableMapping

from exporter.errors import KernmeshError

FIRST_FD = 3  # SD_LISTEN_FDS_START
_NAMES = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


def inherited(
    environ: MutableMapping[str, str], pid: int, first: int = FIRST_FD
) -> list[socket.socket]:
    """Listening TCP sockets, ready for the server; empty where none are meant for us. The
    variables are taken out of `environ`. Raises KernmeshError."""
    count, meant, _ = (environ.pop(name, "") for name in _NAMES)
    if meant != str(pid) or not (count.isascii() and count.isdigit()):
        return []
    sockets: list[socket.socket] = []
    try:
        for fd in range(first, first + int(count)):
            os.set_inheritable(fd, False)
            sockets.append(_served(fd))
    except (OSError, KernmeshError) as error:
        for sock in sockets:
            sock.close()
        if isinstance(error, KernmeshError):
            raise
        raise KernmeshError(f"LISTEN_FDS: file descriptor {fd}: {error.strerror}") from error
    return sockets


def _served(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != socket.SOCK_STREAM:
        got = f"{sock.family.name} {sock.type.name}"
        problem = f"got {got}, want TCP: ListenStream=PORT in the .socket unit"
    elif not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        problem = "does not listen, want Accept=no in the .socket unit"
    else:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as listen.py says why
        sock.setblocking(False)
        return sock
    sock.close()
    raise KernmeshError(f"LISTEN_FDS: file descriptor {fd}: {problem}")
