"""`kernmesh record --cgroups`: what rules could ask of cgroups, without an agent.

Runs the kernel programs that count waits, if this process may; then they end with it.
"""

import asyncio
from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from exporter.clock import Clock
from exporter.config import AgentConfig
from exporter.hostfs import HostFs
from exporter.interference.feeds import Feeds
from exporter.interference.needs import Needs
from exporter.interference.roster import Roster
from exporter.metrics.registry import Registry
from exporter.parts.programs import ProgramsPart
from exporter.usage.series import Source
from exporter.usage.workloads import Workloads


class Looking:
    """`sources` of one recording; close it afterwards."""

    def __init__(self, config: AgentConfig, clock: Clock, host: HostFs) -> None:
        self._needs = Needs.everything()
        self._clock, self._host = clock, host
        ebpf = replace(config.ebpf, programs=self._needs.programs)
        self._config = replace(config, ebpf=ebpf)
        self._programs = ProgramsPart(self._config, clock, host, Registry(clock))
        asyncio.run(self._programs.configure(self._config))

    def problems(self) -> Iterator[str]:
        """Why something is not recorded."""
        for row in self._programs.rows():
            if row.hook is None:
                yield f"without {row.name}: {row.reason}"

    def sources(self, work: Workloads) -> Sequence[Source]:
        roster = Roster(work.kubepods, work.offline, work.names, self._clock.monotonic)
        feeds = Feeds(self._host, self._clock, work.kubepods, roster, self._programs.map_of)
        feeds.need(self._needs)
        return feeds.sources()

    def close(self) -> None:
        self._programs.close()
