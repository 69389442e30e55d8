"""The victim's HTTP server: every answer is 16 KiB of a file, one in ten past the page cache.

    python http_server.py PORT FILE [cold]

One thread, so that a read that waits makes those behind it wait. `cold`: its pages are dropped
from the cache first, as after a restart on another node. Imports nothing of kernmesh.
"""

import mmap
import os
import random
import selectors
import socket
import sys

BLOCK = 16_384
PAST_CACHE = 10  # one read in so many
_SHOWN = 1024
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % _SHOWN


class Blocks:
    def __init__(self, path: str, cold: bool) -> None:
        self._cached = os.open(path, os.O_RDONLY)
        self._direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
        self._count = os.fstat(self._cached).st_size // BLOCK
        self._buffer = mmap.mmap(-1, BLOCK)  # O_DIRECT wants whole pages
        self._asked = 0
        if cold:
            os.posix_fadvise(self._cached, 0, 0, os.POSIX_FADV_DONTNEED)
            os.posix_fadvise(self._cached, 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
        else:
            for at in range(self._count):
                os.preadv(self._cached, [self._buffer], at * BLOCK)

    def read(self) -> bytes:
        self._asked += 1
        file = self._direct if self._asked % PAST_CACHE == 0 else self._cached
        os.preadv(file, [self._buffer], random.randrange(self._count) * BLOCK)
        return self._buffer[:_SHOWN]


def main() -> None:
    port, path, *rest = sys.argv[1:]
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=128)
    blocks = Blocks(path, "cold" in rest)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.data is None:
                peer, _ = listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(peer, selectors.EVENT_READ, bytearray())
                continue
            peer = key.fileobj  # type: ignore[assignment]
            try:
                data = peer.recv(65_536)
                pending: bytearray = key.data
                pending += data
                while (end := pending.find(b"\r\n\r\n")) >= 0:
                    del pending[: end + 4]
                    peer.sendall(_HEAD + blocks.read())
            except OSError:
                data = b""
            if not data:
                selector.unregister(peer)
                peer.close()


if __name__ == "__main__":
    main()
