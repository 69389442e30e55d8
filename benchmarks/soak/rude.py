"""Clients that nobody wants: who trickle a request, say nothing, vanish, read slowly, babble.

Each takes a port, and ends when the server has had enough of it, or by itself.
"""

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

TCP_REPAIR = 19  # linux/tcp.h; closed in that mode, a socket sends neither FIN nor RST
_LONGEST_SECONDS = 120.0
_HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"

Client = Callable[[int], Awaitable[None]]


async def again_and_again(client: Client, port: int) -> None:
    while True:
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_LONGEST_SECONDS):
                await client(port)
        await asyncio.sleep(random.uniform(0.5, 3.0))


async def trickle(port: int) -> None:
    """A slow-loris: a header line every few seconds, and never the last one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(_HEAD)
        while True:
            writer.write(b"X-A: b\r\n")
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(3):
                    if not await reader.read(4096):
                        return
    finally:
        writer.transport.abort()


async def silent(port: int) -> None:
    """Connects, and that was it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.read(1)
    finally:
        writer.transport.abort()


async def vanish(port: int) -> None:
    """Half a request, or a whole one, and is gone without a word, as a machine that loses power."""
    with socket.create_connection(("127.0.0.1", port), 5) as client:
        client.sendall(_HEAD if random.random() < 0.5 else _HEAD + b"\r\n")
        client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    await asyncio.sleep(random.uniform(5, 15))


async def slow_reader(port: int) -> None:
    """Asks for the page and takes it in drops."""
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, _HEAD + b"\r\n")
        while await loop.sock_recv(client, 512):
            await asyncio.sleep(1)


async def babble(port: int) -> None:
    """Bytes that are no request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(random.randbytes(random.randrange(1, 4096)))
        await reader.read(4096)
    finally:
        writer.transport.abort()
