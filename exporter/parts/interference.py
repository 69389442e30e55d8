"""Interference detection as a part of the agent: nothing at all where no rules are configured.

What it is made of is put together in exporter/interference/room.py, which is imported only then.
"""

import asyncio
import logging
import platform
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from exporter.clock import Clock
from exporter.config import AgentConfig
from exporter.ebpf.maps import BpfMap
from exporter.hostfs import HostFs
from exporter.metrics.registry import Named
from exporter.pages.section import Section
from exporter.parts.actuating import ActuatorPart
from exporter.parts.part import Part
from exporter.role import Start
from exporter.threads import in_thread
from exporter.usage.history import History
from exporter.usage.series import Source
from exporter.usage.workloads import Workloads
from exporter.web.app import Body, page

if TYPE_CHECKING:
    from exporter.interference.answer import InterferenceJson
    from exporter.interference.room import Room

_LOOK_SECONDS = 0.05

log = logging.getLogger(__name__)


class InterferencePart(Part):
    """Made before usage, which asks for its `sources`; then `watch` what is kept."""

    def __init__(
        self,
        config: AgentConfig,
        clock: Clock,
        host: HostFs,
        actuator: Callable[[], ActuatorPart],
        map_of: Callable[[str, str], BpfMap | None],
    ) -> None:
        self._node = config.pressure.node or platform.node()
        self._clock = clock
        self._dry_run = config.interference.dry_run
        self._history: History | None = None
        self._room: Room | None = None
        self._idle = idle_note(config)
        if self._idle:
            log.warning(self._idle)
        if config.interference.rules is not None:
            from exporter.interference import room

            self._room = room.Room(
                *(config, clock, host, self._node),
                ask=lambda request: actuator().ask(request),
                map_of=map_of,
                restarts=lambda: actuator().restarts,
            )

    def sources(self, work: Workloads) -> Sequence[Source]:
        """What is to be read besides, on the fast tier."""
        return self._room.sources(work) if self._room is not None else ()

    def watch(self, history: History) -> None:
        self._history = history
        if self._room is not None:
            self._room.watch(history)

    def programs(self) -> Sequence[str]:
        """Kernel programs that the rules need."""
        return self._room.needs.programs if self._room is not None else ()

    def schedule_wanted(self) -> bool | None:
        """Whether it asks to send no more work here; None where that is not known. False where
        nothing is looked for."""
        return self._room.schedule_wanted() if self._room is not None else False

    # --- a Part

    def collectors(self) -> Iterable[Named]:
        if self._room is not None:
            from exporter.interference.metrics import InterferenceCollector

            yield "interference", InterferenceCollector(self._room.board, self._room.doing)

    def routes(self) -> Sequence[BaseRoute]:
        async def show(request: Request) -> Response:
            if "text/html" in request.headers.get("accept", ""):
                return page(await in_thread(self._page, "page"))
            return Body(
                await in_thread(self._json, "interference"),
                headers={"cache-control": "no-store"},
                media_type="application/json",
            )

        return (Route("/interference", show),)

    def read(self, now: AgentConfig) -> None:
        """The rules file, with the other files of a reload. Raises ConfigError."""
        if self._room is not None:
            self._room.read(now)

    async def configure(self, now: AgentConfig) -> None:
        room, before, self._idle = self._room, self._idle, idle_note(now)
        if self._idle and self._idle != before:
            log.warning(self._idle)
        if room is not None and now.interference.rules is not None:
            await in_thread(lambda: room.take(now), "interference")

    async def run(self, start: Start) -> None:
        if self._room is None or self._history is None:
            return
        while self._history.tier("fast") is None:  # it is being opened
            await asyncio.sleep(_LOOK_SECONDS)
        self._room.start()

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        if before.interference.urls != now.interference.urls:
            yield "interference.urls"

    def problems(self) -> Iterable[str]:
        if self._room is not None:
            yield from self._room.problems()
        elif self._idle:
            yield self._idle

    def sections(self) -> Iterable[Section]:
        if self._room is not None:
            from exporter.interference.section import section

            yield section(self._room.answer(), self._clock.wall())

    def close(self) -> None:
        if self._room is not None:
            self._room.close()

    # --- inside

    def _answer(self) -> "InterferenceJson":
        if self._room is not None:
            return self._room.answer()
        from exporter.interference.answer import answer

        return answer(None, self._node, self._dry_run, problems=tuple(self.problems()))

    def _json(self) -> bytes:
        from exporter.interference.answer import to_json

        return to_json(self._answer())

    def _page(self) -> str:
        from exporter.interference.page import interference_page

        return interference_page(self._answer())


def idle_note(config: AgentConfig) -> str:
    """What is set and does nothing since there are no rules; "" where there is nothing of it."""
    keys = ", ".join(config.interference.without_effect())
    return f"interference: without interference.rules nothing is done by: {keys}" if keys else ""
