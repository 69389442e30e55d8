"""A client of the test API server, in a loop that is bounded."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exporter.clock import SystemClock
from exporter.kube.access import Access
from exporter.kube.api import ApiError, Object
from exporter.kube.client import KubeClient
from tests.cluster.apiserver import ApiServer

WATCHDOG_SECONDS = 60.0


def play(server: ApiServer, test: Callable[[KubeClient], Awaitable[None]], **options: Any) -> None:
    """Runs the test with a client; `options` are the client's, `access` among them."""
    access = options.pop("access", Access("test", server.url, token="test"))

    async def watched() -> None:
        client = KubeClient(access, SystemClock(), role="tests", **options)
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await test(client)
        finally:
            await client.close()

    asyncio.run(watched())


async def refusal(asked: Awaitable[Any]) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await asked
    return raised.value


def node(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}
