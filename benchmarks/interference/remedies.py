"""What helps: the same antagonists live, answered in each way by the real actuator.

Each is on for a while before it is answered, so that there is a queue to be worked off, and what
counts is p99 from two seconds after the answer. `rules`: nobody answers by hand; the shipped rules
find it and act, and what counts is p99 from the goal's five seconds on. Finished trials are kept,
so a run that was broken off goes on.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.interference.antagonists import KINDS, antagonist
from benchmarks.interference.cgroups import OFFLINE, OFFLINE_ROOT, OFFLINE_SHARES
from benchmarks.interference.client import SERVICES
from benchmarks.interference.machine import CACHE, Machine, kernel_programs, machine
from benchmarks.interference.methods import Basis, our_rules
from benchmarks.interference.replaying import subjects_of
from benchmarks.interference.truth import p99
from benchmarks.interference.victim import Latencies
from exporter.actuator.client import Actuator
from exporter.actuator.protocol import Set, Start, Target, Undo
from exporter.interference.actions import make_actions
from exporter.interference.driver import Driver
from exporter.interference.model import RuleSet, Subject
from exporter.interference.sources.slo import SloReader
from exporter.interference.views import Names, at_row
from exporter.usage import store as stores
from exporter.usage.statedir import now_of

REMEDIES = ("nothing", "preempt", "quota", "shares 2", "io", "memory.high", "rules")
WARM_UP_SECONDS = 8.0
ANSWERED_AFTER, COUNTS_AFTER, SOLO_SECONDS, GAP_SECONDS = 2.0, 4.0, 5.5, 2.5
GOAL_SECONDS = 5.0
QUOTA_CORES = 0.5
IO_BYTES = 10e6
MEMORY_BYTES = 64 << 20
RUN = "experiment"
MOST_LOOKS = 20


class Trial(msgspec.Struct, frozen=True):
    """p99 in seconds by service, of the time that counts; of `solo` nothing was on. `said`: what
    the actuator did or why it did not."""

    kind: str
    intensity: int
    remedy: str
    p99: dict[str, float]
    said: str


class Trials(msgspec.Struct):
    load: list[float] = []
    done: list[Trial] = []


def solo_of(trials: Trials) -> dict[str, float]:
    """p99 in seconds by service with nothing on, the median of all; empty where none was taken."""
    rows = [each.p99 for each in trials.done if each.remedy == "solo"]
    return {name: median(row[name] for row in rows) for name in SERVICES} if rows else {}


def path_of(name: str) -> Path:
    return CACHE / name / "remedies.json"


def read_trials(name: str) -> Trials | None:
    """None where there are none yet."""
    path = path_of(name)
    return msgspec.json.decode(path.read_bytes(), type=Trials) if path.exists() else None


def run(
    name: str, basis: Basis, intensity: int, seconds: float,
    kinds: Sequence[str] = KINDS, remedies: Sequence[str] = REMEDIES,
) -> Trials:  # fmt: skip
    """Those that are not there yet; `seconds` is how long an antagonist is on."""
    found = read_trials(name) or Trials()
    have = {(each.kind, each.intensity, each.remedy) for each in found.done}
    wanted = {
        kind: [each for each in ("solo", *remedies) if (kind, intensity, each) not in have]
        for kind in kinds
    }
    if not any(wanted.values()):
        return found
    path = path_of(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    latencies = path.with_name("remedies.latencies")
    rules = our_rules(basis)
    with machine(latencies) as on, actuator() as acting:
        bench = _Bench(on, acting, latencies, rules, seconds)
        time.sleep(WARM_UP_SECONDS)
        for kind, missing in wanted.items():
            for remedy in missing:
                found.done.append(bench.trial(kind, intensity, remedy))
                found.load.append(os.getloadavg()[0])
                path.write_bytes(msgspec.json.encode(found))
    return found


@contextmanager
def actuator() -> Iterator[Actuator]:
    with tempfile.TemporaryDirectory() as folder:
        found = Actuator(Start(state_dir=folder, roots=(OFFLINE_ROOT,)))
        found.start()
        try:
            yield found
        finally:
            found.close()


class _Bench:
    def __init__(
        self, on: Machine, acting: Actuator, latencies: Path, rules: RuleSet, seconds: float
    ) -> None:
        self._on, self._acting, self._latencies = on, acting, latencies
        self._rules, self._seconds = rules, seconds
        self._turn = 0

    def trial(self, kind: str, intensity: int, remedy: str) -> Trial:
        time.sleep(GAP_SECONDS)
        if remedy == "solo":
            began = time.monotonic()
            time.sleep(SOLO_SECONDS)
            return self._counted(kind, intensity, remedy, began, began + SOLO_SECONDS, "")
        self._turn += 1
        path = OFFLINE[self._turn % len(OFFLINE)]
        if remedy == "rules":
            return self._by_rules(kind, intensity, path)
        began = time.monotonic()
        self._on.begin(path, antagonist(kind, intensity, self._on.scratch))
        try:
            time.sleep(ANSWERED_AFTER)
            said = self._answer(remedy, path)
            time.sleep(max(began + self._seconds - time.monotonic(), 0.0))
        finally:
            self._take_back(remedy)
            self._on.end(path)
        start, stop = began + COUNTS_AFTER, began + self._seconds
        return self._counted(kind, intensity, remedy, start, stop, said)

    def _counted(
        self, kind: str, intensity: int, remedy: str, start: float, stop: float, said: str
    ) -> Trial:
        # The client writes each second, and only of what was answered: a queue is waited for.
        for _ in range(MOST_LOOKS):
            time.sleep(1.5)
            rows = Latencies(self._latencies)
            if all(rows.between(name, stop - 0.5, stop) for name in SERVICES):
                break
        found = {name: p99(rows.between(name, start, stop)) for name in SERVICES}
        return Trial(kind, intensity, remedy, found, said)

    def _answer(self, remedy: str, path: str) -> str:
        if remedy == "nothing":
            return ""
        if remedy == "shares 2":
            self._on.cgroups.set_shares(OFFLINE_ROOT, 2)
            return f"{OFFLINE_ROOT}/cpu.shares → 2"
        target = Target(path, path.rpartition("/pod")[2])
        request = {
            "preempt": Set(run=RUN, knob="preempt"),
            "quota": Set(run=RUN, knob="cpu_quota", limits={"cores": QUOTA_CORES}),
            "io": Set(
                run=RUN, knob="io", target=target, limits={"rbps": IO_BYTES, "wbps": IO_BYTES}
            ),
            "memory.high": Set(
                run=RUN, knob="memory_high", target=target, limits={"bytes": MEMORY_BYTES}
            ),
        }[remedy]
        answer = self._acting.ask(request)
        changes = [f"{each.file} {each.before} → {each.after}" for each in answer.changes]
        return answer.refused or "; ".join((*changes, *answer.notes)) or "nothing to change"

    def _take_back(self, remedy: str) -> None:
        if remedy == "shares 2":
            self._on.cgroups.set_shares(OFFLINE_ROOT, OFFLINE_SHARES[0])
        elif remedy != "nothing":
            self._acting.ask(Undo(run=RUN))

    def _by_rules(self, kind: str, intensity: int, path: str) -> Trial:
        """As an agent would: a tick a second, the shipped rules, dry_run off. It ends before they
        give anything back."""
        on = self._on
        slo = SloReader(on.clock, {"client": on.client.answer}, 1.0)
        actions = make_actions(self._acting.ask, on.clock, dry_run=False)
        driver = Driver(self._rules, actions)
        said: list[str] = []
        before, during = 10, int(self._seconds) + 1
        with kernel_programs() as programs:
            sampler = on.sampler(programs, slo)
            kept = stores.in_memory(1.0, 300.0, now_of(on.clock, on.host))
            names, due, began = Names(), time.monotonic(), 0.0
            subjects: tuple[Subject, ...] = ()
            try:
                for second in range(before + during):
                    if second == before:
                        began = time.monotonic()
                        on.begin(path, antagonist(kind, intensity, on.scratch))
                    sample = sampler.tick()
                    kept.put(sample.at, sample.wall, sample.values)
                    subjects = subjects or subjects_of(kept)
                    moment = at_row(kept, kept.end - 1, names)
                    for step in driver.tick(moment, subjects, sample.wall):
                        done = [
                            f"{each.action}: {each.result}: {each.text}"
                            for each in step.outcomes
                            if each.action != "log"
                        ]
                        if step.what in ("fire", "clear"):
                            said.append(f"{time.monotonic() - began:.1f} s {step.what} "
                                        f"{step.rule.name}: {'; '.join(done)}")  # fmt: skip
                    due += 1.0
                    time.sleep(max(due - time.monotonic(), 0.0))
            finally:
                stopped = time.monotonic()
                driver.act_by(None)  # what it did is taken back: cpu.idle refuses other shares
                actions.close()
                on.end(path)
        start, stop = began + GOAL_SECONDS, stopped
        return self._counted(kind, intensity, "rules", start, stop, "\n".join(said))
