"""Renders for /metrics: off the loop, one at a time, shared by all who ask for the same.

The first asker starts a render; whoever asks for the same while it runs gets its result. Nothing
is kept once it ends. Different formats wait for each other: two collects at once would only
share the same kernel maps and the same interpreter lock.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

from exporter.errors import KernmeshError
from exporter.threads import in_thread

log = logging.getLogger(__name__)

Names = tuple[str, ...]
Render = Callable[[str, str, Names], tuple[bytes, Mapping[str, str]]]
"""(Accept, Accept-Encoding, sorted names of name[]) → body and headers. Called in a thread."""
Negotiate = Callable[[str, str], Hashable]
"""(Accept, Accept-Encoding) → something equal for all clients that get the same bytes."""


class Rendered(NamedTuple):
    body: bytes
    headers: Mapping[str, str]


class Busy(KernmeshError):
    """Too many different renders are waited for, or the one in progress takes too long."""


class Renders:
    """`queue` is how many different filtered renders may be under way or waiting. Unfiltered
    ones, of which there are only as many as formats, always get in.
    `patience_seconds` is how long one asker waits; a scrape that timed out must not stay."""

    def __init__(
        self,
        render: Render,
        negotiate: Negotiate,
        queue: int = 8,
        patience_seconds: float = 60.0,
    ) -> None:
        self._render = render
        self._negotiate = negotiate
        self._queue = queue
        self._patience = patience_seconds
        self._one_at_a_time = asyncio.Lock()
        self._flights: dict[Hashable, asyncio.Task[Rendered]] = {}

    async def get(self, accept: str, accept_encoding: str, names: Names) -> Rendered:
        """Raises Busy, or what the render raised."""
        key = (self._negotiate(accept, accept_encoding), names)
        flight = self._flights.get(key)
        if flight is None:
            if names and len(self._flights) >= self._queue:
                raise Busy(f"{len(self._flights)} other renders are under way")
            flight = asyncio.create_task(self._fly(accept, accept_encoding, names))
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._land(key, done))
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(flight)
        except TimeoutError:
            raise Busy(f"the render is not done after {self._patience:g} s") from None

    async def _fly(self, accept: str, accept_encoding: str, names: Names) -> Rendered:
        async with self._one_at_a_time:
            return Rendered(
                *await in_thread(lambda: self._render(accept, accept_encoding, names), "render")
            )

    def _land(self, key: Hashable, flight: asyncio.Task[Rendered]) -> None:
        del self._flights[key]
        if not flight.cancelled() and (error := flight.exception()) is not None:
            log.error("metrics: render failed", exc_info=error)
