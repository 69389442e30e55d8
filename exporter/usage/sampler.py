"""Reads a tier's sources at its pace.

    Sampler.tick ─▶ Sample ─▶ History (gauges, store) ─▶ readers

The only part of usage that knows the time. What cannot be read is missing from the sample, never
0, and is said once in the log, not at every tick.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from exporter.clock import Clock
from exporter.errors import KernmeshError, NoData
from exporter.threads import in_thread
from exporter.usage.series import Read, Series

FIRST_INTERVAL_SECONDS = 1.0

log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """`at` is the clock's monotonic seconds, `wall` its seconds since the epoch. What is unknown
    is not in `values`."""

    at: float
    wall: float
    values: Mapping[Series, float]


Pause = Callable[[float], Awaitable[None]]


class Sampler:
    def __init__(self, clock: Clock, readers: Mapping[str, Read]) -> None:
        """`readers` by the name that the log has for them."""
        self._clock = clock
        self._readers = dict(readers)
        self._ailing: dict[str, str] = {}
        self.reading = ""
        """The source that is being read, or that the last tick ended with."""

    @property
    def problems(self) -> Mapping[str, str]:
        """Why, by source, of those that the last tick could not read."""
        return self._ailing.copy()

    def tick(self) -> Sample:
        """Reads each source once. Blocks for as long as they do."""
        at, wall = self._clock.monotonic(), self._clock.wall()
        values: dict[Series, float] = {}
        for name, read in self._readers.items():
            self.reading = name
            try:
                values.update(read(self._clock.monotonic()))
            except NoData:  # nothing of the kind on this machine, which is no failure
                self._tell(name, "")
            except (OSError, ValueError, KernmeshError) as error:
                self._tell(name, _reason(error))
            except Exception as error:  # what nobody thought of costs this source, not the agent
                self._tell(name, f"{type(error).__name__}: {error}")
            else:
                self._tell(name, "")
        return Sample(at, wall, values)

    def _tell(self, name: str, reason: str) -> None:
        """One line when a source goes missing, one when the reason changes, one when it is back."""
        if self._ailing.get(name, "") == reason:
            return
        if reason:
            self._ailing[name] = reason
            log.warning("usage: cannot be read", extra={"source": name, "reason": reason})
        else:
            del self._ailing[name]
            log.info("usage: is read again", extra={"source": name})


async def at_pace(
    clock: Clock, interval: float, act: Callable[[], object], pause: Pause, name: str
) -> None:
    """Calls `act`, in a thread of this name, until cancelled or until `pause` raises Stopped: now,
    one second later, so that what needs two readings is there soon, and then every `interval`
    seconds. `pause` sleeps.

    Ticks keep to their grid however long one takes; those that are past are left out, so a
    machine that was asleep gets one tick, not thousands."""
    due = clock.monotonic()
    step = min(FIRST_INTERVAL_SECONDS, interval)
    with suppress(Stopped):
        while True:
            try:
                await in_thread(act, name)
            except Exception as error:  # what nobody thought of costs this tick, not the agent
                log.error("%s: tick failed", name, exc_info=error)
            due += step
            step = interval
            late = clock.monotonic() - due
            if late >= 0:
                due += (late // interval + 1) * interval
            await pause(max(due - clock.monotonic(), 0.0))


class Stopped(Exception):
    """Raised by a `pause` to end `at_pace`."""


def pause_until(stop: asyncio.Event) -> Pause:
    """The `pause` of a running agent: sleeps, or raises Stopped as soon as `stop` is set."""

    async def pause(seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()
                raise Stopped

    return pause


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
