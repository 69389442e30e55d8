"""Rounds of ICMP probes over loopback in this process, and what each of them cost."""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence

from exporter.clock import SystemClock
from pingmesh.flight import Flight
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Published, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.resolve import Resolver, SystemLookup
from pingmesh.schedule import Plan

PERIOD = 10.0
LATE_MS = PERIOD * 10
"""A send that is later than a hundredth of the interval makes its round a late one: so evenly are
sends to be spread (issue 5)."""


def hosts(count: int) -> list[str]:
    return [f"127.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(1, count + 1)]


def listed(count: int) -> list[Probe]:
    text = "mesh: {a: {ips: [" + ", ".join(hosts(count)) + "]}}"
    return probes(targets(read_pinglist(text.encode())))


class Rounds:
    """CPU seconds of this process by round; round trips and the most that a send was late, in
    seconds."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.cpu: list[float] = []
        self.rtts: list[float] = []
        self.lateness: list[float] = []
        self.lost = 0
        self.sending = 0.0
        self.done = asyncio.Event()
        self._last = time.process_time()

    def __call__(
        self,
        probes: Sequence[Probe],
        flight: Flight,
        plan: Plan,
        lateness: float,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        now = time.process_time()
        self.cpu.append(now - self._last)
        self._last = now
        self.rtts += [rtt for rtt in flight.rtts if rtt == rtt]
        self.lost += len(flight.reasons)
        self.lateness.append(lateness)
        self.sending = max(flight.sent_at) - min(flight.sent_at)
        if len(self.cpu) == self.count:
            self.done.set()


def lane(count: int, period: float, publish: Published) -> PacketLane:
    settings = Settings(period, 2.0, 1e6, floor=period)
    resolver = Resolver(SystemClock(), SystemLookup(), socket.AF_INET)
    return PacketLane(listed(count), settings, Guard(), resolver, publish)


async def run_rounds(count: int, rounds: int, period: float = PERIOD) -> Rounds:
    found = Rounds(rounds)
    running = lane(count, period, found)
    running.start()
    await found.done.wait()
    running.stop()
    return found
