"""An HTTP server that answers as it is told: agents at 127.0.0.1, .2, …, or a Prometheus."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

Answer = Callable[[str, str], bytes | None]
"""Of the local address and the path: what is sent, None for silence."""


def http(body: bytes, status: int = 200, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def as_json(value: Any, status: int = 200) -> bytes:
    return http(json.dumps(value).encode(), status)


@asynccontextmanager
async def answering(
    answer: Answer, secure: ssl.SSLContext | None = None, heads: list[str] | None = None
) -> AsyncIterator[int]:
    """The port, on all addresses of the loopback. `heads` gets those of the requests."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        local = writer.get_extra_info("sockname")[0]
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if heads is not None:
                    heads.append(head)
                if length := next(
                    (line[15:] for line in head.lower().split("\r\n") if "content-length" in line),
                    "",
                ):
                    await reader.readexactly(int(length))
                said = answer(local, head.split(" ")[1])
                if said is None:
                    await reader.read()
                    return
                writer.write(said)
                await writer.drain()
                if b"connection: close" in said:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "0.0.0.0", 0, ssl=secure)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def run(test: Callable[[], Any]) -> None:
    """In a loop that is bounded."""

    async def watched() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(watched())
