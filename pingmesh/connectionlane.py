"""The lane of probes that hold a connection: at most `concurrent_limit` of them in flight.

The rule: a round that is not done when the next is due is finished first. Sends are spread as
the packet lane's are; where places are short they come late, and lateness says so.
"""

import asyncio
import logging
from array import array
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from typing import Any

from pingmesh import schedule
from pingmesh.flight import Flight
from pingmesh.guard import PROBES_PER_ADDRESS, Guard
from pingmesh.packetlane import Published, Settings
from pingmesh.probe import Outcome, Probe
from pingmesh.probes import Way, runner
from pingmesh.probes.wire import reason_for
from pingmesh.resolve import NoAddress, Resolver
from pingmesh.schedule import Plan

log = logging.getLogger(__name__)


class ConnectionLane:
    """Rounds over `probes` until `stop`."""

    def __init__(
        self,
        probes: Sequence[Probe],
        settings: Settings,
        concurrent: int,
        guard: Guard,
        resolver: Resolver,
        publish: Published,
        last_sent: Mapping[Hashable, float] | None = None,
    ) -> None:
        self._settings, self._guard, self._resolver = settings, guard, resolver
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        first = settings.first(self._loop.time(), len(probes))
        order, self._plan = schedule.resume(
            [p.key for p in probes], last_sent or {}, first, settings.floor
        )
        self.probes = [probes[index] for index in order]
        self._last_sent = array("d", bytes(8 * len(self.probes)))
        self._places = asyncio.Semaphore(concurrent)
        self._per_address: dict[str, int] = {}
        self._cap = max(1, int(PROBES_PER_ADDRESS * self._plan.period))
        self._under_way: set[asyncio.Task[None]] = set()
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.probes:
            self._rounds = self._loop.create_task(self._run())

    def stop(self) -> dict[Hashable, float]:
        """Ends at once; what is under way is given up. When each probe was last made."""
        if self._rounds is not None:
            self._rounds.cancel()
        for task in self._under_way:
            task.cancel()
        return {
            probe.key: sent
            for probe, sent in zip(self.probes, self._last_sent, strict=True)
            if sent
        }

    async def _run(self) -> None:
        number = 0
        last: asyncio.Task[None] | None = None
        while True:
            number += 1
            flight = Flight(number, len(self.probes), self._settings.timeout)
            outcomes: dict[int, Outcome] = {}
            plan, lateness = self._plan, 0.0
            self._per_address.clear()
            tasks = []
            for index in range(plan.sends):
                pause = plan.due_at(index) - self._loop.time()
                if pause > 0:
                    await asyncio.sleep(pause)
                await self._places.acquire()
                lateness = max(lateness, self._loop.time() - plan.due_at(index))
                tasks.append(self._start(self._one(flight, index, outcomes)))
            start = schedule.next_start(plan, lateness, self._loop.time(), self._settings.floor)
            self._plan = plan._replace(start=start)
            if last is not None:
                await last  # so never more than two rounds are open
            last = self._start(self._finish(tasks, flight, plan, lateness, outcomes))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _finish(
        self,
        tasks: Sequence[asyncio.Task[None]],
        flight: Flight,
        plan: Plan,
        lateness: float,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        await asyncio.gather(*tasks)
        self._publish(self.probes, flight, plan, lateness, outcomes)

    async def _one(self, flight: Flight, index: int, outcomes: dict[int, Outcome]) -> None:
        """One probe, in a place that was acquired for it."""
        probe = self.probes[index]
        now = self._loop.time()
        self._last_sent[index] = now
        flight.sent(index, "", now, 0)
        try:
            outcome = await attempt(
                probe, self._settings, self._guard, self._resolver, self._under_cap
            )
        finally:
            self._places.release()
        outcomes[index] = outcome
        if outcome.rtt is None:
            flight.fail(index, outcome.reason, outcome.hop)
        else:
            flight.succeed(index, outcome.rtt)

    def _under_cap(self, address: str) -> bool:
        before = self._per_address.get(address, 0)
        self._per_address[address] = before + 1
        return before < self._cap


async def attempt(
    probe: Probe,
    settings: Settings,
    guard: Guard,
    resolver: Resolver,
    under_cap: Callable[[str], bool] = lambda _: True,
) -> Outcome:
    """Resolves, asks the guard, probes; never raises but for cancellation."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    try:
        address = await resolver.address(probe.host, settings.timeout)
    except NoAddress as error:
        log.debug("%s", error)
        return Outcome(None, "dns")
    resolved = loop.time()
    if (refusal := guard.check(address)) is not None:
        log.debug("%s: %s", probe.host, refusal)
        return Outcome(None, "denied")
    if not under_cap(address):
        return Outcome(None, "limit")
    way = Way(address, settings.source, resolved + settings.timeout)
    try:
        async with asyncio.timeout_at(way.deadline):
            outcome = await runner(probe.kind)(probe, way)
    except TimeoutError:
        return Outcome(None, "timeout")
    except OSError as error:
        return Outcome(None, reason_for(error))
    except Exception:  # one probe's defect must not end the lane
        log.exception("probe %s of %s failed", probe.kind, probe.host)
        return Outcome(None, "error")
    return outcome._replace(phases={"resolve": resolved - started, **outcome.phases})
