"""The last hop that answered, where a pair keeps failing: a traceroute, bounded and rare.

The rule: one at a time, of a pair that failed three rounds in a row, not again for ten minutes,
and for twenty pairs at most. icmplib does it, in a thread: it opens a socket per packet, which is
right for this and wrong for the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from exporter.clock import Clock
from exporter.metrics.table import FastFamily, Shape
from exporter.threads import in_thread
from pingmesh.flight import FAILED, Flight
from pingmesh.probe import Outcome, Probe, Series

ROUNDS = 3
AGAIN_SECONDS = 600.0
MOST = 20
MAX_HOPS = 20
HOP_TIMEOUT = 0.5

_HOP = Shape(
    "gauge",
    "pingmesh_last_hop_info",
    "The last router that answered on the way to a target that keeps failing.",
    ["target", "tor", "hop"],
)

Key = tuple[Series, ...]
"""A probe, as what it is exported under."""
Trace = Callable[[str], str]
"""Address to the last hop's, "" where none answered. Called in a thread; raises OSError."""

log = logging.getLogger(__name__)


class Tracer:
    """Fed with every finished round."""

    def __init__(self, clock: Clock, trace: Trace | None = None) -> None:
        self._clock = clock
        self._trace = trace or last_hop
        self._failed: dict[str, dict[Key, int]] = {}
        self._traced_at: dict[str, float] = {}
        self._hops: dict[Key, str] = {}
        self._running: asyncio.Task[None] | None = None
        self._possible = True

    def take(
        self,
        lane: str,
        probes: Sequence[Probe],
        flight: Flight,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        """`outcomes` may know a hop already: who said that the target is not to be reached."""
        before = self._failed.get(lane, {})
        failed: dict[Key, int] = {}
        self._failed[lane] = failed
        for index in sorted(flight.reasons):
            if flight.states[index] != FAILED:
                continue
            key = probes[index].series
            failed[key] = before.get(key, 0) + 1
            outcome = outcomes.get(index)
            if outcome is not None and outcome.hop:
                if key in self._hops or len(self._hops) < MOST:
                    self._hops[key] = outcome.hop
            elif failed[key] >= ROUNDS and (address := flight.sources[index]):
                self._begin(key, address)
        for key in before.keys() - failed.keys():
            self._hops.pop(key, None)

    def forget(self) -> None:
        """The list has changed, or nothing is probed any more."""
        self._failed.clear()
        self._hops.clear()
        if self._running is not None:
            self._running.cancel()

    def _begin(self, key: Key, address: str) -> None:
        now = self._clock.monotonic()
        busy = self._running is not None and not self._running.done()
        full = key not in self._hops and len(self._hops) >= MOST
        if busy or full or not self._possible:
            return
        if now - self._traced_at.get(address, float("-inf")) < AGAIN_SECONDS:
            return
        self._traced_at = {a: at for a, at in self._traced_at.items() if now - at < AGAIN_SECONDS}
        self._traced_at[address] = now
        self._running = asyncio.get_running_loop().create_task(self._run(key, address))

    async def _run(self, key: Key, address: str) -> None:
        try:
            hop = await in_thread(lambda: self._trace(address), "traceroute")
        except PermissionError as error:
            self._possible = False
            log.warning("no traceroutes: %s", error)
            return
        except OSError as error:
            log.debug("traceroute to %s: %s", address, error)
            return
        if hop and any(key in failed for failed in self._failed.values()):
            self._hops[key] = hop

    def families(self) -> list[FastFamily]:
        """Empty where no pair keeps failing."""
        rows = {
            (series.target, series.tor, hop): 1.0
            for key, hop in list(self._hops.items())
            for series in key
        }
        return [FastFamily.of(_HOP, rows)] if rows else []


def last_hop(address: str) -> str:
    """icmplib's traceroute. Its raw sockets need CAP_NET_RAW."""
    import icmplib

    try:
        hops = icmplib.traceroute(
            address,
            count=1,
            interval=0.01,
            timeout=HOP_TIMEOUT,
            max_hops=MAX_HOPS,
            fast=True,
        )
    except icmplib.SocketPermissionError as error:
        raise PermissionError(1, "traceroute needs CAP_NET_RAW") from error
    except icmplib.ICMPLibError as error:
        raise OSError(str(error)) from error
    return hops[-1].address if hops else ""
