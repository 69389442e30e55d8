"""Servers on loopback that answer what a fuzzer made up, and one loop in which their clients run.

The rule: a client that waits for more gets a good answer next, or the end, so that nothing has to
time out. Knows no protocol but what `mend` does to an answer for a question.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

Mend = Callable[[bytes, bytes], list[bytes]]
"""Answer and question to the datagrams that are sent."""


class Loopback:
    """`said` is what both servers answer next; `mend` is the UDP server's."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.said = b""
        self.mend: Mend = lambda answer, question: [answer]
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._udp.bind(("127.0.0.1", 0))
        self.udp_port: int = self._udp.getsockname()[1]
        self.loop.add_reader(self._udp, self._answer)
        server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self._server = server
        self.tcp_port: int = server.sockets[0].getsockname()[1]

    def play(self, client: Callable[[], Awaitable[Any]], said: bytes, seconds: float = 5.0) -> Any:
        """What the client makes of it."""
        self.said = said

        async def whole() -> Any:
            async with asyncio.timeout(seconds):
                return await client()

        return self.loop.run_until_complete(whole())

    def close(self) -> None:
        """For good: whoever has asked here cannot ask again."""
        self._server.close()
        self.loop.remove_reader(self._udp)
        self._udp.close()
        self.loop.run_until_complete(self._server.wait_closed())
        self.loop.close()

    def _answer(self) -> None:
        question, address = self._udp.recvfrom(65535)
        for datagram in self.mend(self.said, question):
            self._udp.sendto(datagram[:65000], address)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In two pieces where the answer's length is odd; then it is over."""
        try:
            await reader.read(65536)
            half = len(self.said) // 2 if len(self.said) % 2 else 0
            writer.write(self.said[:half])
            if half:
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(self.said[half:])
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@cache
def loopback() -> Loopback:
    """One for all cases of a process."""
    return Loopback()
