"""The HTTP client of whoever fetches results.

The rule: an answer is bounded in size and time as a whole, and redirects are not followed.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from exporter.config import Duration
from exporter.errors import KernmeshError
from exporter.identity import Identity, tls_problem
from pingmesh.controller_config import MeshConfig
from pingmesh.pullclient import Opened, PullClient


def make_client(config: MeshConfig) -> PullClient:
    """For agents or a Prometheus, whichever is asked."""
    identity = Identity("mesh", config.tls, config.bearer_token_file, config.basic_auth)
    return PullClient(identity, config.secure, lambda: _options(config))


def _options(config: MeshConfig) -> Mapping[str, Any]:
    import httpx

    return {
        "timeout": config.timeout,
        "headers": {"accept": "text/plain;version=0.0.4", "accept-encoding": "gzip"},
        "limits": httpx.Limits(
            max_connections=config.concurrency, max_keepalive_connections=config.concurrency
        ),
    }


async def fetch(
    opened: Opened,
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
            opened.client.stream(
                "GET" if form is None else "POST",
                url,
                data=form,
                headers=opened.headers,
                extensions=opened.extensions,
            ) as answer,
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
        text = tls_problem(error, "mesh") or str(error) or type(error).__name__
        raise KernmeshError(text) from error
    return bytes(body)
