"""One hour of a cluster under the labeller (the real Fleet, Keeper and Writer), and beside it what
dynamicScheduler's algorithm does with the same samples.

The hour begins with what stands after five minutes. The labeller is restarted after 20 more, as a
rolling update does it: the new one begins when the old one has ended, knowing nothing but what
stands. The API is away from minute 35 to 40.
"""

import asyncio
import logging
from collections.abc import Sequence
from operator import ne
from typing import NamedTuple, cast

from benchmarks.pressure_simulation.load import LOOP, SAMPLES, THRESHOLD, WARM, Usage
from benchmarks.pressure_simulation.world import World
from exporter.kube.api import KubeApi
from exporter.kube.backoff import Backoff
from exporter.kube.cache import Change
from exporter.labeller.fleet import Fleet
from exporter.labeller.keeper import Keeper
from exporter.labeller.nodes import MANAGER, reduced
from exporter.pressure.levels import Settings
from exporter.pressure.marks import Marks
from exporter.pressure.writer import Writer
from exporter.testing import FakeClock

RESTART = WARM + 120
"""The loop at which the new labeller begins; two loops before it the old one has ended."""
OUTAGE = range(WARM + 210, WARM + 240)
MARKS = Marks(heartbeat=False)


class Outcome(NamedTuple):
    """`latencies` are seconds from each crossing of the curve without noise that lasts, to the
    label; `clear` those of crossings that leave the noise behind at once; neither has those which
    the outage or its backlog met. `lost` are labels that went in the outage, or that were wanted
    after it and did not come. `flaps` are pressures shorter than the hold."""

    transitions: int
    writes: int
    wrong_seconds: float
    flaps: int
    latencies: Sequence[float]
    clear: Sequence[float]
    lost: int
    backlog_seconds: float
    peer_transitions: int
    peer_writes: int
    peer_wrong_seconds: float


class _Labeller:
    """One process of it."""

    def __init__(self, world: World, settings: Settings, nodes: Sequence[str]) -> None:
        self.world = world
        self.fleet = Fleet({"cpu": settings})
        api = cast(KubeApi, world)
        self.until = 0.0
        self.writer = Writer(
            api, world.clock, MANAGER, self._pause, backoff=Backoff(dice=lambda: 1)
        )
        keeper = Keeper(self.fleet, MARKS, self.writer, api, world.clock, settings.expire_after)
        for name in nodes:
            keeper.changed(Change("added", ("", name), None, reduced(world.nodes[name], MARKS)))
        keeper.begin()
        self.keeper = keeper

    async def _pause(self, seconds: float) -> None:
        self.world.clock.advance(seconds)

    async def loop(self, until: float, values: dict[str, dict[str, float | None]]) -> list[str]:
        """A round, and the writes that the time up to the next allows for."""
        now = self.world.clock.monotonic()
        changed = self.fleet.advance(now, self.keeper.known, values)
        self.keeper.round(changed)
        while self.world.clock.monotonic() + max(0.2, self.writer.waiting) <= until:
            name = self.keeper.next()
            if name is None:
                break
            await self.keeper.bring(name)
        return changed


def hour(usages: Sequence[Usage], settings: Settings) -> Outcome:
    logging.getLogger("exporter").setLevel(logging.ERROR)  # the outage is no news
    return asyncio.run(_hour(usages, settings))


async def _hour(usages: Sequence[Usage], settings: Settings) -> Outcome:
    clock = FakeClock()
    world = World(clock, len(usages))
    names = list(world.nodes)
    labeller: _Labeller | None = _Labeller(world, settings, names)
    started = clock.monotonic()
    wrong = peer_wrong = transitions = flaps = peer_transitions = lost = 0
    pressed_at: dict[str, int] = {}
    labelled_at: list[list[bool]] = []
    before_outage = set[str]()
    backlog_until = OUTAGE.stop
    peer = [False] * len(usages)
    seen = list(zip(*(each.seen for each in usages), strict=True))
    truths = list(zip(*(each.truth for each in usages), strict=True))
    for index in range(SAMPLES):
        world.away = index in OUTAGE
        if index == WARM:
            world.applies = wrong = transitions = flaps = peer_transitions = peer_wrong = 0
        now = started + index * LOOP
        clock.advance(max(0.0, now - clock.monotonic()))
        if index == RESTART - 2:
            labeller = None
        elif index == RESTART:
            labeller = _Labeller(world, settings, names)
        if index == OUTAGE.start:
            before_outage = {name for name in names if world.labelled(name)}
        if labeller is not None:
            values: dict[str, dict[str, float | None]] = {
                name: {"cpu": value} for name, value in zip(names, seen[index], strict=True)
            }
            for name in await labeller.loop(now + LOOP, values):
                level = labeller.fleet.levels(name)["cpu"]
                if level == "pressed":
                    transitions += 1
                    pressed_at[name] = index
                elif (at := pressed_at.pop(name, None)) is not None:
                    transitions += 1
                    flaps += (index - at) * LOOP < settings.hold
            if index >= OUTAGE.stop and labeller.keeper.pending and backlog_until == index:
                backlog_until = index + 1
        stands = list(world.stands.values())
        labelled_at.append(stands)
        if index == OUTAGE.stop - 1:
            lost += sum(not world.labelled(name) for name in before_outage)
        wrong += sum(map(ne, stands, truths[index]))
        if index not in OUTAGE and not RESTART - 2 <= index < RESTART:
            over = [value > THRESHOLD for value in seen[index]]
            peer_transitions += sum(map(ne, over, peer))
            peer = over
        peer_wrong += sum(map(ne, peer, truths[index]))
    assert labeller is not None
    lost += sum(
        labeller.fleet.levels(name)["cpu"] == "pressed" and not world.labelled(name)
        for name in names
        if pressed_at.get(name, SAMPLES) < SAMPLES - 2
    )
    latencies, clear = _latencies(usages, labelled_at, settings, backlog_until)
    return Outcome(
        transitions,
        world.applies,
        wrong * LOOP,
        flaps,
        latencies,
        clear,
        lost,
        (backlog_until - OUTAGE.stop) * LOOP,
        peer_transitions,
        len(usages) * (SAMPLES - WARM - len(OUTAGE) - 2),
        peer_wrong * LOOP,
    )


def _latencies(
    usages: Sequence[Usage], labelled: Sequence[Sequence[bool]], settings: Settings, until: int
) -> tuple[list[float], list[float]]:
    most = settings.of + 1
    found, clear = list[float](), list[float]()
    away = range(OUTAGE.start - most, until)
    for place, each in enumerate(usages):
        for index in range(WARM, SAMPLES - 3 * most):
            if not each.truth[index] or each.truth[index - 1]:
                continue
            if index in away or RESTART - most <= index < RESTART:
                continue
            if not all(each.truth[index : index + most]) or labelled[index - 1][place]:
                continue
            rest = range(index, SAMPLES)
            label = next((at for at in rest if labelled[at][place]), SAMPLES)
            seconds = (label - index + 1) * LOOP
            found.append(seconds)
            if each.clear[index]:
                clear.append(seconds)
    return found, clear
