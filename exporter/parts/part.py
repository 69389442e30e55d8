"""What the agent wants to know of a part of it: a Part, of which each overrides what it has.

The agent (exporter/app.py) treats all alike; what a part does is its own package's.
"""

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute

from exporter.config import AgentConfig
from exporter.metrics.registry import Named
from exporter.pages.section import Section
from exporter.role import Start


class Part:
    """Made from the configuration that the agent started with; nothing runs then yet."""

    def collectors(self) -> Iterable[Named]:
        """By the name that kernmesh_collector_* have for them; asked for once."""
        return ()

    def routes(self) -> Sequence[BaseRoute]:
        """Asked for once, in the loop."""
        return ()

    async def configure(self, now: AgentConfig) -> None:
        """At the start, before the agent is ready, and at every reload: goes on by this. Keys that
        it cannot change are as they were. What it raises is said as a reload that failed."""

    async def run(self, start: Start) -> None:
        """Beside the server, until it is cancelled; may end earlier. It runs before and while
        `configure` does. What it raises ends the agent."""

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        """Keys that differ and that `configure` does not take."""
        return ()

    def problems(self) -> Iterable[str]:
        """Lines that a user should act on, for the page and the first screen."""
        return ()

    def sections(self) -> Iterable[Section]:
        """What it shows of itself on the page, in /status.json and in `kernmesh top`. Called in the
        loop at each: bounded, quick, asking neither kernel nor disk. Raises nothing."""
        return ()

    def close(self) -> None:
        """For good; also where it was never configured or run."""
