"""The agent's half of the mesh: a pinglist, the lanes that probe it, the responder, the metrics.

The rule: the last good list is probed until a better one comes, or until its source has failed
too often; then nothing is, and /metrics says so. Puts parts together and holds no logic of theirs.
"""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import Metric

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.metrics.table import FastFamily, Shape
from exporter.pages.section import Section
from pingmesh.connectionlane import ConnectionLane
from pingmesh.flight import Flight
from pingmesh.guard import Guard
from pingmesh.metrics import MAX_CLASSES, Board, Facts, Tally
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pages.agent import sections
from pingmesh.pinglist import (
    Setting,
    interval_of,
    summary,
    targets,
    timeout_of,
    warnings,
)
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.probes.udp import Responder
from pingmesh.resolve import Lookup, Resolver, SystemLookup
from pingmesh.schedule import Plan
from pingmesh.source import Read, Source, SourceError
from pingmesh.trace import Tracer

PACKETS, CONNECTIONS = "packets", "connections"
_ANY = ("0.0.0.0", "::")  # noqa: S104 # means: the kernel chooses the source

_PROBING = Shape("gauge", "pingmesh_probing", "1 while targets are probed, 0 where none are.")
_AGE = Shape(
    "gauge",
    "pingmesh_pinglist_age_seconds",
    "Since the pinglist in use was last known to be current.",
)
_INFO = Shape(
    "gauge", "pingmesh_pinglist_info", "The pinglist in use, by its hash.", ["hash", "source"]
)
_TARGETS = Shape("gauge", "pingmesh_pinglist_targets", "Targets in the pinglist in use.")
_READS = Shape(
    "counter",
    "pingmesh_pinglist_reads_total",
    "Turns at the pinglist's source by result (new, same, failed).",
    ["result"],
)
_FAILURES = Shape(
    "counter",
    "pingmesh_pinglist_failures_total",
    "Turns at the pinglist's source that failed, by reason.",
    ["reason"],
)
_STRAYS = Shape(
    "counter", "pingmesh_strays_total", "Packets that counted for no probe, by kind.", ["kind"]
)
_OVERFLOW = Shape(
    "counter",
    "pingmesh_receive_overflow_total",
    "Answers that the kernel dropped because they were not read in time.",
)
_JUMPS = Shape("counter", "pingmesh_clock_jumps_total", "Times the wall clock was seen to be set.")
_RESPONDER = Shape(
    "counter",
    "pingmesh_responder_datagrams_total",
    "What came to the UDP responder by result (answered, ignored).",
    ["result"],
)

log = logging.getLogger(__name__)


class Mesh:
    """One per process. A collector too: register it, and `run` it in the loop."""

    def __init__(
        self,
        clock: Clock,
        source: Source | None,
        guard: Guard,
        max_pps: int,
        max_classes: int = MAX_CLASSES,
        lookup: Lookup | None = None,
        tidy: Callable[[], None] = lambda: None,
    ) -> None:
        """`source` None: nothing to probe, but the responder may be wanted. `tidy` is called when
        a list has been read, which takes more memory than it leaves."""
        self._clock, self._source, self._guard, self._max_pps = clock, source, guard, max_pps
        self._lookup = lookup or SystemLookup()
        self._tidy = tidy
        self.board = Board(clock, max_classes)
        self._tracer = Tracer(clock)
        self._packets: PacketLane | None = None
        self._connections: ConnectionLane | None = None
        self._last_sent: dict[Hashable, float] = {}
        self._responders: list[Responder] = []
        self._read: Read | None = None
        self._current_at = 0.0
        self._count = 0
        self._failures = 0
        self._reads: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._strays: Counter[str] = Counter()
        self._overflow = self._jumps = 0
        self._problem: str | None = None
        self._notes: tuple[str, ...] = ()
        self._resolver: Resolver | None = None

    async def run(self) -> None:
        """Reads the list again and again, until cancelled."""
        try:
            if self._source is None:
                await asyncio.Event().wait()
                return
            while True:
                await self._turn(self._source)
                await asyncio.sleep(self._source.pause(self._failures))
        finally:
            self._halt()
            for responder in self._responders:
                responder.close()

    def respond(self, addresses: Iterable[tuple[str, int]]) -> None:
        """Answers UDP probes on these addresses from now on. One that cannot be had is said."""
        for host, port in addresses:
            try:
                self._responders.append(Responder(host, port))
            except OSError as error:
                log.warning("no UDP responder on %s port %d: %s", host, port, error.strerror)

    def problems(self) -> Iterator[str]:
        """What a user should know, for the page and the first screen."""
        if self._problem is not None:
            yield f"pingmesh: {self._problem}"
        if self.board.folded:
            yield (
                f"pingmesh: more than {self.board.max_classes} classes of targets (probe, zone and "
                f"rack): {self.board.folded} are counted as other; see pingmesh.max_classes"
            )
        yield from (f"pinglist: {note}" for note in self._notes)

    def sections(self) -> Iterable[Section]:
        """For the page."""
        return sections(self.board, self._clock, self._probing, self._count)

    async def _turn(self, source: Source) -> None:
        try:
            found = await source.read()
        except KernmeshError as error:
            self._failed(source, error)
            return
        self._failures = 0
        self._problem = None
        self._current_at = self._clock.monotonic()
        if found is not None:
            self._reads["new"] += 1
            self._use(found)
        else:
            self._reads["same"] += 1
            if self._read is not None and not self._probing and self._count:
                self._use(self._read)  # it had failed too often, and is back

    def _failed(self, source: Source, error: KernmeshError) -> None:
        self._failures += 1
        self._reads["failed"] += 1
        self._reasons[error.reason if isinstance(error, SourceError) else "content"] += 1
        text = error.lines[0]
        kept = "the last good list is kept" if self._probing else "nothing is probed"
        limit = source.fails_closed
        if limit is not None and self._failures >= limit and self._probing:
            self._halt()
            self.board.drop(PACKETS)
            self.board.drop(CONNECTIONS)
            kept = f"{self._failures} failures in a row, so nothing is probed until it is back"
        problem = f"{text} ({kept})"
        if problem != self._problem:
            for each in error.lines:
                log.error("pinglist: %s", each)
            log.error("pinglist: %s", kept)
        self._problem = problem

    def _use(self, found: Read) -> None:
        """Probes this list from now on."""
        pinglist = found.pinglist
        self._read = found
        self._notes = tuple(warnings(pinglist))
        for note in self._notes:
            log.warning("pinglist: %s", note)
        self._halt()
        wanted = targets(pinglist)
        self._count = len(wanted)
        found_probes = probes(wanted)
        packets = [probe for probe in found_probes if probe.kind in ("icmp", "udp")]
        rest = [probe for probe in found_probes if probe.kind not in ("icmp", "udp")]
        setting = pinglist.setting
        prefer = socket.AF_INET6 if setting.ip_protocol == "ip6" else socket.AF_INET
        self._resolver = Resolver(self._clock, self._lookup, prefer)
        settings = Settings(
            interval_of(setting),
            timeout_of(setting),
            self._max_pps,
            "" if setting.source_ip_addr in _ANY else setting.source_ip_addr,
        )
        kept = {(target.text, target.tor) for target in wanted}
        if packets:
            self._packets = PacketLane(
                packets,
                settings,
                self._guard,
                self._resolver,
                _Publisher(self.board, self._tracer, self._clock, PACKETS, setting),
                self._last_sent,
            )
            self._packets.start()
        if rest:
            self._connections = ConnectionLane(
                rest,
                settings,
                setting.concurrent_limit,
                self._guard,
                self._resolver,
                _Publisher(self.board, self._tracer, self._clock, CONNECTIONS, setting),
                self._last_sent,
            )
            self._connections.start()
        for lane, some in ((PACKETS, packets), (CONNECTIONS, rest)):
            self.board.retain(lane, kept if some else set())
        self._last_sent = {}
        self._tidy()
        log.info("pinglist: %s", summary(pinglist), extra={"hash": found.hash})

    @property
    def _probing(self) -> bool:
        return self._packets is not None or self._connections is not None

    def _halt(self) -> None:
        """Stops the lanes. What they knew of when they sent is kept for those that follow."""
        if self._packets is not None:
            self._last_sent |= self._packets.stop()
            self._strays.update(self._packets.strays)
            self._overflow += self._packets.overflow
            self._jumps += self._packets.jumps
        if self._connections is not None:
            self._last_sent |= self._connections.stop()
        if self._resolver is not None:
            self._resolver.close()
        self._tracer.forget()
        self._packets = self._connections = None

    def collect(self) -> Iterable[Metric]:
        """Everything that the mesh has to say."""
        yield from self.board.collect()
        yield from self._tracer.families()
        lane = self._packets
        yield FastFamily.of(_PROBING, {(): float(self._probing)})
        if self._source is not None:
            if self._read is not None:
                age = self._clock.monotonic() - self._current_at
                yield FastFamily.of(_AGE, {(): age})
                yield FastFamily.of(_INFO, {(self._read.hash, self._source.name): 1.0})
                yield FastFamily.of(_TARGETS, {(): float(self._count)})
            reads = {(r,): float(self._reads[r]) for r in ("new", "same", "failed")}
            yield FastFamily.of(_READS, reads)
            if reasons := dict(self._reasons):
                yield FastFamily.of(_FAILURES, {(r,): float(n) for r, n in reasons.items()})
            strays = self._strays + (lane.strays if lane else Counter())
            if strays:
                yield FastFamily.of(_STRAYS, {(k,): float(n) for k, n in strays.items()})
            overflow = self._overflow + (lane.overflow if lane else 0)
            yield FastFamily.of(_OVERFLOW, {(): float(overflow)})
            yield FastFamily.of(_JUMPS, {(): float(self._jumps + (lane.jumps if lane else 0))})
        if self._responders:
            yield FastFamily.of(
                _RESPONDER,
                {
                    ("answered",): float(sum(each.answered for each in self._responders)),
                    ("ignored",): float(sum(each.ignored for each in self._responders)),
                },
            )


class _Publisher:
    """A lane's rounds on their way to the board."""

    def __init__(
        self, board: Board, tracer: Tracer, clock: Clock, lane: str, setting: Setting
    ) -> None:
        self._board, self._tracer, self._clock = board, tracer, clock
        self._lane, self._setting = lane, setting
        self._tallies: list[Tally] | None = None

    def __call__(
        self,
        probes: Sequence[Probe],
        flight: Flight,
        plan: Plan,
        lateness: float,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        if self._tallies is None:
            self._tallies = self._board.tallies(probes, self._setting.labels)
        facts = Facts(
            ended=self._clock.wall(),
            duration=self._clock.monotonic() - plan.start,
            period=plan.period,
            lateness=lateness,
            delay=self._setting.delay,
        )
        self._board.publish(self._lane, probes, self._tallies, flight, facts, outcomes)
        self._tracer.take(self._lane, probes, flight, outcomes)
