"""The HTTP client of whoever fetches results."""

from typing import TYPE_CHECKING

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
