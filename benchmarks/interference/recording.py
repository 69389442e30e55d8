"""One seed as it happened: usage in the store's own format, what was done when, every latency.

    .cache/experiment/<name>/seed-N/  usage.store  events.json  latencies

The rule: a recording is whole or it is not there, so a run that was broken off goes on with the
seeds that are missing.
"""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import msgspec

from benchmarks.interference.antagonists import antagonist, harmless
from benchmarks.interference.cgroups import OFFLINE, VICTIM
from benchmarks.interference.client import SERVICES
from benchmarks.interference.machine import CACHE, Machine, kernel_programs, machine
from benchmarks.interference.schedule import WARM_UP_SECONDS, Planned, lasts, plan
from benchmarks.interference.truth import OBJECTIVE_TIMES, p99
from benchmarks.interference.victim import Latencies
from exporter.interference.sources.slo import SloReader
from exporter.usage import store as stores
from exporter.usage.statedir import now_of

THROTTLED_CORES, THROTTLED_PERIOD_US = 0.24, 50_000


class Happened(msgspec.Struct, frozen=True):
    """An event with the monotonic seconds at which it began and ended. `path` is the cgroup that
    something was started in."""

    role: str
    kind: str
    intensity: int
    path: str
    start: float
    stop: float


class Notes(msgspec.Struct, frozen=True):
    """`epoch`: monotonic seconds less the store's. `load` is the mean of the node's 1-minute load,
    `others` the cores that work other than ours used, on average."""

    seed: int
    epoch: float
    began: float
    events: list[Happened]
    objectives: dict[str, float]
    load: float


def folder_of(name: str, seed: int) -> Path:
    return CACHE / name / f"seed-{seed}"


def record_seed(name: str, seed: int, events: int, seconds: float) -> Path:
    """Its folder, made where it is not there yet."""
    folder = folder_of(name, seed)
    if (folder / "events.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    planned = plan(seed, events, seconds)
    with machine(folder / "latencies") as found:
        notes = _record(found, folder, seed, planned)
    whole = folder / "events.json.new"
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(notes)))
    whole.rename(folder / "events.json")
    return folder


def read_notes(folder: Path) -> Notes:
    return msgspec.json.decode((folder / "events.json").read_bytes(), type=Notes)


def _record(on: Machine, folder: Path, seed: int, planned: list[Planned]) -> Notes:
    slo = SloReader(on.clock, {"client": on.client.answer}, 1.0)
    total = lasts(planned)
    loads: list[float] = []
    happened: list[Happened] = []
    objectives: dict[str, float] = {}
    with kernel_programs() as programs:
        sampler = on.sampler(programs, slo)
        file = stores.create(folder / "usage.store", 1.0, total + 5, now_of(on.clock, on.host))
        epoch = file.elapsed_at(0.0)
        began = time.monotonic() + 1.0

        def tick() -> None:
            slo.ask_all()
            sample = sampler.tick()
            file.put(sample.at, sample.wall, sample.values)
            loads.append(os.getloadavg()[0])

        def set_objectives() -> None:
            found = Latencies(folder / "latencies")
            for service in SERVICES:
                rows = found.between(service, began + 5.0, time.monotonic() - 1.0)
                objectives[service] = p99(rows) * 1000 * OBJECTIVE_TIMES
                on.client.tell(f"objective {service} {objectives[service]:.6g}")

        todo: list[tuple[float, Callable[[], None]]] = [
            (began + second, tick) for second in range(int(total))
        ]
        todo.append((began + WARM_UP_SECONDS - 2.0, set_objectives))
        for each in planned:
            todo += _doing(on, each, began, happened)
        try:
            for due, act in sorted(todo, key=lambda row: row[0]):
                time.sleep(max(due - time.monotonic(), 0.0))
                act()
        finally:
            file.close()
    return Notes(seed, -epoch, began, happened, objectives, fmean(loads))


def _doing(
    on: Machine, event: Planned, began: float, happened: list[Happened]
) -> list[tuple[float, Callable[[], None]]]:
    path = OFFLINE[event.cgroup]
    started = [0.0]

    def start() -> None:
        started[0] = time.monotonic()
        if event.role == "antagonist":
            on.begin(path, antagonist(event.kind, event.intensity, on.scratch))
        elif event.kind.startswith("load x"):
            for service in SERVICES:
                on.client.tell(f"rate {service} {event.kind.removeprefix('load x')}")
        elif event.kind == "harmless":
            on.begin(path, harmless(event.cgroup, on.scratch))
        elif event.kind == "cold cache":
            on.victim.restart_cold()
        elif event.kind == "throttled":
            on.cgroups.set_quota(VICTIM, THROTTLED_CORES, THROTTLED_PERIOD_US)

    def stop() -> None:
        stopped = time.monotonic()
        if event.role == "antagonist" or event.kind == "harmless":
            on.end(path)
        elif event.kind.startswith("load x"):
            for service in SERVICES:
                on.client.tell(f"rate {service} 1")
        elif event.kind == "throttled":
            on.cgroups.set_quota(VICTIM, None)
        where = path if event.role == "antagonist" or event.kind == "harmless" else ""
        happened.append(
            Happened(event.role, event.kind, event.intensity, where, started[0], stopped)
        )

    return [(began + event.start, start), (began + event.stop, stop)]
