"""The HTTP client of whoever fetches results.

The rule: an answer is bounded in size and time as a whole, and redirects are not followed.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from exporter.config import Duration
from exporter.errors import KernmeshError
from pingmesh.controller_config import MeshConfig

if TYPE_CHECKING:
    import httpx


def open_client(config: MeshConfig, tls: bool = False) -> "httpx.AsyncClient":
    """`tls`: the system's certificates are loaded, which takes a while."""
    import httpx

    return httpx.AsyncClient(
        verify=tls,
        follow_redirects=False,
        trust_env=False,
        timeout=config.timeout,
        headers={"accept": "text/plain;version=0.0.4", "accept-encoding": "gzip"},
        limits=httpx.Limits(
            max_connections=config.concurrency, max_keepalive_connections=config.concurrency
        ),
    )


async def fetch(
    client: "httpx.AsyncClient",
    url: str,
    timeout: Duration,
    most: int,
    form: Mapping[str, str] | None = None,
) -> bytes:
    """The body of a 200, of `most` bytes at most; asked for by POST where there is a form. Raises
    KernmeshError, whose text does not name the URL."""
    import httpx

    body = bytearray()
    try:
        async with (
            asyncio.timeout(timeout),
            client.stream("GET" if form is None else "POST", url, data=form) as answer,
        ):
            if answer.status_code != 200:
                raise KernmeshError(f"HTTP {answer.status_code}")
            async for piece in answer.aiter_bytes(64 * 1024):
                body += piece
                if len(body) > most:
                    raise KernmeshError(f"longer than {most >> 20} MiB")
    except TimeoutError:
        raise KernmeshError(f"no answer in {timeout}") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise KernmeshError(str(error) or type(error).__name__) from error
    return bytes(body)
