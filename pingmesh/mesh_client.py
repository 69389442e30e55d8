"""The HTTP client of whoever fetches results, by the mesh's settings."""

from collections.abc import Mapping
from typing import Any

from exporter.httpclient import HttpClient
from exporter.identity import Identity
from pingmesh.controller_config import MeshConfig


def make_client(config: MeshConfig) -> HttpClient:
    """For agents or a Prometheus, whichever is asked."""
    identity = Identity("mesh", config.tls, config.bearer_token_file, config.basic_auth)
    return HttpClient(identity, config.secure, lambda: _options(config))


def _options(config: MeshConfig) -> Mapping[str, Any]:
    import httpx

    return {
        "timeout": config.timeout,
        "headers": {"accept": "text/plain;version=0.0.4", "accept-encoding": "gzip"},
        "limits": httpx.Limits(
            max_connections=config.concurrency, max_keepalive_connections=config.concurrency
        ),
    }
