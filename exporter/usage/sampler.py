"""Reads the node's usage at its pace and hands every sample on.

    Sampler.tick ─▶ Sample ─▶ sink (Latest now; a store of samples slides in here) ─▶ readers

The only part of usage that opens files or knows the time. A value that cannot be had is missing
from the sample, never 0, and is said once in the log, not at every tick.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.host.cpu import CpuTimes, busy_percent, parse_cpu_times
from exporter.host.memory import parse_memory, used_percent
from exporter.hostfs import HostFs
from exporter.threads import in_thread

CPU = "cpu_usage_active"
MEMORY = "mem_usage_active"
FIRST_INTERVAL_SECONDS = 1.0

log = logging.getLogger(__name__)


class Sample(NamedTuple):
    """`at` is the clock's monotonic seconds. `values` are percents, 0 to 100, by their name on
    /statistics; what is unknown is not in it."""

    at: float
    values: Mapping[str, float]


Sink = Callable[[Sample], None]
Pause = Callable[[float], Awaitable[None]]


class Latest:
    """The sink that only remembers the newest sample."""

    def __init__(self) -> None:
        self._sample: Sample | None = None

    def put(self, sample: Sample) -> None:
        self._sample = sample

    def values(self) -> Mapping[str, float]:
        """Percent by name; empty before the first sample."""
        return {} if self._sample is None else self._sample.values


class Sampler:
    def __init__(self, clock: Clock, fs: HostFs) -> None:
        self._clock = clock
        self._fs = fs
        self._cpu_before: CpuTimes | None = None
        self._ailing: dict[str, str] = {}

    def tick(self) -> Sample:
        """Reads once. Processor usage is that since the last tick, so the first tick has none:
        an average since boot would say nothing about now. Blocks for as long as /proc does."""
        at = self._clock.monotonic()
        values: dict[str, float] = {}
        for name, read in ((CPU, self._cpu), (MEMORY, self._memory)):
            try:
                value = read()
            except (OSError, ValueError, KernmeshError) as error:
                self._tell(name, _reason(error))
            else:
                self._tell(name, "")
                if value is not None:
                    values[name] = value
        return Sample(at, values)

    async def run(self, interval: float, sink: Sink, pause: Pause) -> None:
        """Ticks until cancelled or until `pause` raises Stopped: now, one second later, so that
        processor usage is there soon, and then every `interval` seconds. `pause` sleeps.

        Ticks keep to their grid however long a read takes; those that are past are left out, so
        a machine that was asleep gets one tick, not thousands."""
        due = self._clock.monotonic()
        step = min(FIRST_INTERVAL_SECONDS, interval)
        with suppress(Stopped):
            while True:
                sink(await in_thread(self.tick, "usage"))
                due += step
                step = interval
                late = self._clock.monotonic() - due
                if late >= 0:
                    due += (late // interval + 1) * interval
                await pause(max(due - self._clock.monotonic(), 0.0))

    def _cpu(self) -> float | None:
        path = self._fs.proc / "stat"
        before, self._cpu_before = self._cpu_before, None  # a failed read leaves no baseline
        after = parse_cpu_times(path.read_text(), str(path))
        self._cpu_before = after
        return None if before is None else busy_percent(before, after)

    def _memory(self) -> float:
        path = self._fs.proc / "meminfo"
        return used_percent(parse_memory(path.read_text(), str(path)))

    def _tell(self, name: str, reason: str) -> None:
        """One line when a value goes missing, one when the reason changes, one when it is back."""
        if self._ailing.get(name, "") == reason:
            return
        if reason:
            self._ailing[name] = reason
            log.warning("usage: value missing", extra={"value": name, "reason": reason})
        else:
            del self._ailing[name]
            log.info("usage: value is back", extra={"value": name})


class Stopped(Exception):
    """Raised by a `pause` to end `Sampler.run`."""


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
