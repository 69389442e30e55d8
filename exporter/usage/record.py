"""`kernmesh record FILE` and `kernmesh replay FILE`: usage in the store's own format.

A recording is a store: one row per tick with everything that the agent's tiers would keep, so
that detectors can be tried on it later. An agent's own files can be looked into as well.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.clock import Clock
from exporter.config.agent import Usage
from exporter.errors import KernmeshError
from exporter.hostfs import HostFs
from exporter.usage import store, window
from exporter.usage.layout import Refused
from exporter.usage.node import node_sources
from exporter.usage.sampler import Sampler
from exporter.usage.series import Series, Source
from exporter.usage.statedir import now_of
from exporter.usage.store import Store
from exporter.usage.workloads import Workloads, workloads

Pause = Callable[[float], bool]
"""Sleeps so many seconds; False where the recording shall end."""


class Recorded(NamedTuple):
    rows: int
    series: int
    bytes: int


def all_sources(
    host: HostFs,
    settings: Usage,
    clock: Clock,
    more: Callable[[Workloads], Iterable[Source]] = lambda work: (),
) -> tuple[Source, ...]:
    """Everything that any tier is fed with, and what `more` has of it besides."""
    work = workloads(host, settings, clock)
    return (*node_sources(host), *work.sources, *more(work))


def record(
    path: Path,
    clock: Clock,
    host: HostFs,
    sources: Sequence[Source],
    interval: float,
    seconds: float,
    pause: Pause,
) -> Recorded:
    """A row every `interval` seconds for so many `seconds`, or until `pause` says so; if that is
    longer, the newest ones stay. Raises KernmeshError where the file is there already or cannot
    be written."""
    if path.exists():
        raise KernmeshError(f"{path}: is there already; recordings are not written over")
    try:
        file = store.create(path, interval, seconds, now_of(clock, host))
    except OSError as error:
        raise KernmeshError(f"{path}: cannot be written: {error.strerror}") from error
    sampler = Sampler(clock, {source.name: source.make() for source in sources})
    began = due = clock.monotonic()
    try:
        while True:
            sample = sampler.tick()
            file.put(sample.at, sample.wall, sample.values)
            due = max(due + interval, clock.monotonic())
            if due - began > seconds or not pause(due - clock.monotonic()):
                break
    except OSError as error:
        raise KernmeshError(f"{path}: recording ended: {error.strerror}") from error
    finally:
        found = Recorded(file.end - file.first, len(file.series()), file.shape.size)
        file.close()
    return found


class SeriesSummary(NamedTuple):
    """Of a gauge its values, of a counter its rate per second. `samples` are those known."""

    series: Series
    samples: int
    least: float
    mean: float
    most: float


def read(path: Path) -> Store:
    """A recording, or a file of an agent's that may be running. Raises KernmeshError."""
    try:
        return store.read_file(path)
    except OSError as error:
        raise KernmeshError(f"{path}: cannot be read: {error.strerror}") from error
    except Refused as refused:
        raise KernmeshError(f"{path}: {refused}; want a file that kernmesh recorded") from refused


def summary(recording: Store) -> list[SeriesSummary]:
    """By name. A series of which no value is known is left out."""
    found: list[SeriesSummary] = []
    for series in sorted(recording.series()):
        asked = recording.window(series, float("inf"))
        if series.kind == "counter":
            mean = window.rate(asked)
            asked = window.per_second(asked)
        else:
            mean = window.mean(asked)
        least, most = window.minimum(asked), window.maximum(asked)
        if mean is not None and least is not None and most is not None:
            found.append(SeriesSummary(series, len(asked.values), least, mean, most))
    return found


def lines(recording: Store) -> Iterator[str]:
    """The summary as text, a heading first."""
    rows = recording.end - recording.first
    if not rows:
        yield "no rows"
        return
    first, last = recording.head(recording.first), recording.head(recording.end - 1)
    lasted = last.elapsed - first.elapsed
    yield f"{rows} rows over {lasted:.0f} s, from {_time(first.wall)} to {_time(last.wall)}"
    shown = summary(recording)
    width = max((len(each.series.name) for each in shown), default=0)
    yield f"{'series':{width}}  {'samples':>7}  {'least':>12}  {'mean':>12}  {'most':>12}"
    for series, samples, *numbers in shown:
        unit = "/s" if series.kind == "counter" else ""
        values = "  ".join(f"{number:>12.6g}" for number in numbers)
        yield f"{series.name:{width}}  {samples:>7}  {values}{unit}"


def _time(wall: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall))
