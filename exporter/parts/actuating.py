"""The actuator as a part of the agent: started before anything listens, closed after all who ask.

The rule: an agent whose actuator cannot be started goes on and says so; nothing is acted on then.
Also keeps online jobs in their cgroups, where that is asked for (usage.jobs_in_cgroups).
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from exporter.config import AgentConfig
from exporter.errors import ConfigError, KernmeshError
from exporter.hostfs import HostFs
from exporter.parts.part import Part
from exporter.role import Start
from exporter.threads import in_thread
from exporter.usage.jobs import Jobs

if TYPE_CHECKING:
    from exporter.actuator.client import Actuator
    from exporter.actuator.protocol import Answer, AnyRequest
    from exporter.usage.job_cgroups import JobCgroups

log = logging.getLogger(__name__)

_NONE = "no actuator runs: interference.rules is not set"


class ActuatorPart(Part):
    """`ask` is what actions are made with (make_actions); any thread may call it."""

    def __init__(self, config: AgentConfig, host: HostFs, jobs: Jobs | None) -> None:
        """`jobs` are those whose processes are to be moved. Starts the process, so make it before
        anything listens. Raises ConfigError where usage.jobs_file is bad."""
        self._interval = float(config.usage.interval)
        self._actuator: Actuator | None = None
        self._jobs: JobCgroups | None = None
        self._problem = ""
        if config.interference.rules is None and not config.usage.jobs_in_cgroups:
            return  # and nothing is imported
        from exporter.actuator import client
        from exporter.actuator.wanted import start_of
        from exporter.usage import job_cgroups

        try:
            start = start_of(config, host)
            if start is None:
                return
            actuator = client.Actuator(start)
            actuator.start()
        except ConfigError:
            raise
        except KernmeshError as error:
            self._problem = f"nothing is acted on: {error}"
            log.error(self._problem)
            return
        self._actuator = actuator
        if jobs is not None and start.jobs:
            self._jobs = job_cgroups.JobCgroups(jobs, start.jobs, actuator)

    def ask(self, request: "AnyRequest") -> "Answer":
        """Never raises."""
        from exporter.actuator.protocol import Answer

        if self._actuator is None:
            return Answer(0, failed=True, refused=self._problem or _NONE)
        return self._actuator.ask(request)

    async def run(self, start: Start) -> None:
        jobs = self._jobs
        while jobs is not None:
            await asyncio.sleep(self._interval)
            await in_thread(jobs.follow, "jobs' cgroups")

    def needs_restart(self, before: AgentConfig, now: AgentConfig) -> Iterable[str]:
        old, new = before.interference, now.interference
        if (old.rules is None) != (new.rules is None):
            yield "interference.rules (none before, or none now)"
        if old.commands != new.commands:
            yield "interference.commands"

    @property
    def restarts(self) -> int:
        """Actuators that ended before they were told to."""
        return max(self._actuator.starts - 1, 0) if self._actuator is not None else 0

    def problems(self) -> Iterable[str]:
        if self._problem:
            yield self._problem
        elif self._actuator is not None and self._actuator.problem:
            yield self._actuator.problem

    def close(self) -> None:
        if self._actuator is not None:
            self._actuator.close()
