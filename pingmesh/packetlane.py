"""The lane of ICMP and UDP: many targets over a few sockets, in ticks, limited by send rate only.

The rule: what does not answer costs nobody else a place; a round's sends keep their time whatever
comes back. Answers are waited for while the next round is already being sent.
"""

import asyncio
import socket
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from pingmesh import schedule
from pingmesh.address import family_of
from pingmesh.datagrams import sockaddr
from pingmesh.flight import Flight
from pingmesh.guard import PROBES_PER_ADDRESS, Guard
from pingmesh.pinglist import LARGEST_DATAGRAM, SHORTEST_INTERVAL
from pingmesh.probe import Outcome, Probe
from pingmesh.probes.icmp import IcmpWire
from pingmesh.probes.packets import Token
from pingmesh.probes.udp import UdpWire
from pingmesh.probes.wire import Wire, reason_for
from pingmesh.resolve import NoAddress, Resolver
from pingmesh.schedule import Plan
from pingmesh.wallclock import WallClock

TICK_SHARE = 0.008
"""Of the round's period: how far sends may be batched. Waking up costs more than sending does;
within 1 % of a round they are as good as evenly spread."""
LONGEST_TICK = 0.1
_BURST = 512
"""Sends in one go, so that a scrape is never kept waiting for more."""
_BEHIND = 1e-4

WireKey = tuple[str, int, bool]
Published = Callable[[Sequence[Probe], Flight, Plan, float, Mapping[int, Outcome]], None]
"""(the lane's probes, flight, its plan, lateness in seconds, outcomes): called in the loop when a
round is settled."""


class Settings(NamedTuple):
    """Seconds, and sends a second. `source` "" leaves the source address to the kernel. `floor`
    is the least between two probes of a pair."""

    interval: float
    timeout: float
    max_rate: float
    source: str = ""
    floor: float = SHORTEST_INTERVAL

    def first(self, start: float, count: int) -> Plan:
        """The first round."""
        return schedule.plan(start, count, self.interval, self.max_rate, self.floor)


class _Way(NamedTuple):
    """How to reach one probe's target: the socket's kind, bytes of payload, the address as the
    kernel has it, and the address that answers come from."""

    wire: WireKey
    size: int
    address: bytes
    source: str


class PacketLane:
    """Rounds over `probes` (all of kind icmp or udp) until `stop`. `last_sent` has when which
    probe (by key) was last sent, for whoever goes on with a changed list."""

    def __init__(
        self,
        probes: Sequence[Probe],
        settings: Settings,
        guard: Guard,
        resolver: Resolver,
        publish: Published,
        last_sent: Mapping[Hashable, float] | None = None,
        clock: WallClock | None = None,
    ) -> None:
        self._settings, self._guard, self._resolver = settings, guard, resolver
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._clock = clock or WallClock()
        self._wires: dict[WireKey, Wire | str] = {}
        self._overflow = 0
        self.strays: Counter[str] = Counter()
        ways = [self._way(probe, probe.host) for probe in probes]
        first = settings.first(self._loop.time(), len(probes))
        order, self._plan = schedule.resume(
            [p.key for p in probes], last_sent or {}, first, settings.floor
        )
        self.probes = [probes[index] for index in order]
        self._cap = max(1, int(PROBES_PER_ADDRESS * self._plan.period))
        self._ways, self._fixed = _capped([ways[index] for index in order], self._cap)
        self._named: Counter[str] = Counter()
        self._tick = min(LONGEST_TICK, TICK_SHARE * self._plan.period)
        self._last_sent = array("d", bytes(8 * len(self.probes)))
        self._number = 0
        self._flights: dict[int, tuple[Flight, Plan, float]] = {}
        self._current: Flight | None = None
        self._next = 0
        self._lateness = 0.0
        self._last_send = 0.0
        self._resolving: set[asyncio.Task[None]] = set()
        self._armed: list[Wire] = []
        self._timer: asyncio.TimerHandle | None = None
        self._now = 0.0
        self._stopped = False

    def start(self) -> None:
        if self.probes:
            self._wake_at(self._plan.start)

    def stop(self) -> dict[Hashable, float]:
        """Ends at once; what is on its way is forgotten. When each probe was last sent."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        self._disarm()
        for task in self._resolving:
            task.cancel()
        for wire in self._wires.values():
            if isinstance(wire, Wire):
                self._overflow += wire.overflow
                wire.close()
        self._wires.clear()
        return {
            probe.key: sent
            for probe, sent in zip(self.probes, self._last_sent, strict=True)
            if sent
        }

    @property
    def overflow(self) -> int:
        """Datagrams that came in and were dropped because nobody read in time."""
        wires = [wire for wire in self._wires.values() if isinstance(wire, Wire)]
        return self._overflow + sum(wire.overflow for wire in wires)

    @property
    def jumps(self) -> int:
        """How often the wall clock was seen to be set."""
        return self._clock.jumps

    # The tick

    def _wake_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._wake)

    def _wake(self) -> None:
        if self._stopped:
            return
        self._disarm()
        self._clock.look()
        now = self._loop.time()
        if self._current is None and now >= self._plan.start:
            self._begin()
        sent = self._send(now)
        self._now = self._loop.time()
        read = sum(wire.drain(self) for wire in self._wires.values() if isinstance(wire, Wire))
        self._expire()
        self._wake_next(bool(sent or read))

    def _begin(self) -> None:
        self._number += 1
        flight = Flight(self._number, len(self.probes), self._settings.timeout)
        self._current, self._next, self._lateness = flight, 0, 0.0
        self._named.clear()

    def _send(self, now: float) -> int:
        flight = self._current
        if flight is None:
            return 0
        first, ahead = self._next, min(self._plan.due(now), self._next + _BURST)
        if first >= ahead:
            return 0
        self._lateness = max(self._lateness, now - self._plan.due_at(first))
        self._next = ahead
        for index in range(first, ahead):
            way = self._ways[index]
            if way is None:
                self._send_named(flight, index)
            elif isinstance(way, str):
                flight.fail(index, way)
            else:
                self._launch(flight, index, way)
        self._last_send = self._loop.time()
        self._lateness = max(self._lateness, self._last_send - self._plan.due_at(ahead - 1))
        if ahead == self._plan.sends:
            self._flights[flight.number] = (flight, self._plan, self._lateness)
            self._current = None
            start = schedule.next_start(
                self._plan, self._lateness, self._last_send, self._settings.floor
            )
            self._plan = self._plan._replace(start=start)
        return ahead - first

    def _launch(self, flight: Flight, index: int, way: _Way) -> None:
        key, size, address, source = way
        wire = self._wires.get(key)
        if wire is None:
            wire = self._open(key)
        if isinstance(wire, str):
            flight.fail(index, wire)
            return
        packet = wire.pack(flight.number, index, flight.cookies[index], size)
        at = self._last_sent[index] = self._loop.time()
        flight.sent(index, source, at, self._clock.now_ns())
        try:
            wire.send(packet, address, self)
        except OSError as error:
            flight.fail(index, reason_for(error))

    def _open(self, key: WireKey) -> Wire | str:
        kind, family, fragment = key
        source = self._settings.source if family_of(self._settings.source) == family else ""
        opened: Wire | str
        try:
            opened = (UdpWire if kind == "udp" else IcmpWire)(family, source, fragment)
        except PermissionError:
            opened = "permission"
        except OSError as error:
            reason = reason_for(error)
            # Until the next round: descriptors may be free again by then.
            opened = reason if reason in ("descriptors", "buffers") else "source"
        self._wires[key] = opened
        return opened

    def _wake_next(self, busy: bool) -> None:
        """`busy`: something was sent or read just now, so more may come within a tick."""
        now = self._loop.time()
        waiting = [f for f, _, _ in self._flights.values()]
        if self._current is not None:
            waiting.append(self._current)
        soon = now + self._tick
        when = self._plan.start
        if self._current is not None:
            when = max(self._plan.due_at(self._next), self._last_send + self._tick)
        expiries = [t for t in (flight.next_expiry() for flight in waiting) if t is not None]
        if expiries:
            when = min(when, max(min(expiries) + _BEHIND, soon))
            if busy:
                when = min(when, soon)
            elif when > soon + self._tick:
                self._arm()
        self._wake_at(max(when, now))

    def _arm(self) -> None:
        for wire in self._wires.values():
            if isinstance(wire, Wire):
                self._loop.add_reader(wire.sock, self._wake)
                self._armed.append(wire)

    def _disarm(self) -> None:
        for wire in self._armed:
            self._loop.remove_reader(wire.sock)
        self._armed.clear()

    def _expire(self) -> None:
        if self._current is not None:
            self._current.expire(self._now)
        for number, (flight, plan, lateness) in list(self._flights.items()):
            flight.expire(self._now)
            if flight.done:
                del self._flights[number]
                self.strays.update(flight.strays)
                self._forget_broken_wires()
                hops = {
                    index: Outcome(None, flight.reasons[index], hop=hop)
                    for index, hop in flight.hops.items()
                }
                self._publish(self.probes, flight, plan, lateness, hops)

    def _forget_broken_wires(self) -> None:
        for key in [key for key, wire in self._wires.items() if isinstance(wire, str)]:
            del self._wires[key]

    # Names

    def _way(self, probe: Probe, address: str) -> _Way | str | None:
        """None for a name, which is looked up when it is its turn; a reason where the address
        may not be probed."""
        family = family_of(address)
        if family is None:
            return None
        if self._guard.check(address) is not None:
            return "denied"
        if probe.group.payload > LARGEST_DATAGRAM:
            return "mtu"
        key = _wire_key(probe.kind, family, probe.group.fragment)
        port = probe.port if probe.kind == "udp" else 0
        host, _, zone = address.partition("%")
        scope = 0
        if zone:
            try:
                scope = int(zone) if zone.isdecimal() else socket.if_nametoindex(zone)
            except OSError:
                return "source"  # no such zone here
        plain = _canonical(family, host)
        return _Way(key, probe.group.payload, sockaddr(family, plain, port, scope), plain)

    def _send_named(self, flight: Flight, index: int) -> None:
        probe = self.probes[index]
        address = self._resolver.peek(probe.host)
        if address is not None:
            self._go(flight, index, address)
            return
        task = self._loop.create_task(self._resolve(flight, index, probe))
        self._resolving.add(task)
        task.add_done_callback(self._resolving.discard)

    async def _resolve(self, flight: Flight, index: int, probe: Probe) -> None:
        try:
            address = await self._resolver.address(probe.host, self._settings.timeout)
        except NoAddress:
            flight.fail(index, "dns")
        else:
            self._go(flight, index, address)
        if not self._stopped:
            self._wake_at(self._loop.time())

    def _go(self, flight: Flight, index: int, address: str) -> None:
        way = self._way(self.probes[index], address)
        if not isinstance(way, _Way):
            flight.fail(index, way or "dns")
        elif self._fixed.get(way.source, 0) + self._named[way.source] >= self._cap:
            flight.fail(index, "limit")
        else:
            self._named[way.source] += 1
            self._launch(flight, index, way)

    # What wires read

    def reply(self, number: int, slot: int, cookie: int, source: str, arrived_ns: int) -> None:
        flight = self._current
        if flight is None or flight.number != number:
            if number not in self._flights:
                self.strays["late" if 0 < number <= self._number else "foreign"] += 1
                return
            flight = self._flights[number][0]
        arrived = arrived_ns - self._clock.jumped_ns if arrived_ns else 0
        flight.answer(slot, cookie, source, arrived, self._now)

    def error(
        self, token: Token | None, sequence: int, destination: str, reason: str, hop: str
    ) -> None:
        flights = [flight for flight, _, _ in self._flights.values()]
        if self._current is not None:
            flights.append(self._current)
        for flight in flights:
            index = flight.find(token, sequence, destination)
            if index is not None:
                flight.fail(index, reason, hop)
                return
        self.strays["error"] += 1

    def stray(self, kind: str) -> None:
        self.strays[kind] += 1


_Ways = list[_Way | str | None]


def _capped(ways: _Ways, cap: int) -> tuple[_Ways, Mapping[str, int]]:
    """Of those with a numeric address no more than `cap` to one, which counts for each round; and
    how many that are, as far as a name may turn out to be the same address."""
    counts: Counter[str] = Counter()
    kept: _Ways = []
    for way in ways:
        if isinstance(way, _Way):
            counts[way.source] += 1
            kept.append(way if counts[way.source] <= cap else "limit")
        else:
            kept.append(way)
    return kept, counts if None in kept else {}


def _canonical(family: int, address: str) -> str:
    """As answers' addresses are written; the text itself where it is that already."""
    plain = socket.inet_ntop(family, socket.inet_pton(family, address))
    return address if plain == address else plain


@cache
def _wire_key(kind: str, family: int, fragment: bool) -> WireKey:
    """One object for all probes alike: there are many."""
    return kind, family, fragment
