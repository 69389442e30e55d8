"""Detection in the running agent: a thread of its own that ticks after each fast tick.

The rule: one thread drives; who wants something else of it (a reload, a page) waits for a tick to
end, or takes the board of the last one. States are kept in usage.state_dir, so that a restart goes
on with what was going on. Knows neither HTTP nor agent.yaml.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.clock import Clock
from exporter.errors import KernmeshError
from exporter.interference.board import Board, Costs, board
from exporter.interference.driver import Driver, Step, class_of
from exporter.interference.metrics import name_of
from exporter.interference.model import Subject
from exporter.interference.roster import Roster
from exporter.interference.views import Moment, Names, live
from exporter.usage.history import History
from exporter.usage.series import TierName
from exporter.wholefile import replace_whole

STATES = "interference.states"
_SAVE_SECONDS = 10.0
_END_SECONDS = 30.0
_USED: Mapping[str, tuple[str, ...]] = {
    "cpu": ("cpu_usage",),
    "memory": ("memory_total_usage",),
    "diskio": ("read_bps", "write_bps"),
}
_SILENT = frozenset({"pending", "calm"})

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """Where states are kept (None: nowhere), and this boot's id."""

    folder: Path | None
    boot: str


class Watching:
    """`start` once the history has begun, `close` before it is closed."""

    def __init__(
        self, driver: Driver, history: History, roster: Roster, clock: Clock, kept: Kept
    ) -> None:
        self._driver, self._history, self._roster = driver, history, roster
        self._clock, self._kept = clock, kept
        self.names = Names()
        self._turn = threading.Lock()
        self._due = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._loaded = False
        self._last = float("-inf")
        self._saved_at = float("-inf")
        self._given: Sequence[Subject] = ()
        self._counts: Mapping[str, int] = {}
        self._costs = Costs(0, 0.0)
        self._failed = self._not_kept = ""
        self._moment: Moment | None = None
        self.problem = ""
        """Why nothing is looked for, "" where it is."""
        self.board = Board(rules=tuple(rule.name for rule in driver.engine.rules))
        """As of the last tick."""

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="interference", daemon=True)
        self._history.after_tick.append(self._ticked)
        self._thread.start()

    def change(self, how: Callable[[Driver], list[Step]]) -> None:
        """Between two ticks: other rules, other actions. Blocks while one lasts."""
        with self._turn:
            self._tell(how(self._driver))
            self._show()

    def used(self, path: str, resource: str) -> float | None:
        """What Adjust asks, within a tick: what all offline subjects at or below a path use
        together; None where that is not known."""
        moment = self._moment
        signals = _USED.get(resource, ())
        top = "/" + path.strip("/")
        found = [
            moment.view(each).value(signal)
            for each in self._given
            if each.scope == "container" and f"{each.name}/".startswith(f"{top}/")
            for signal in signals
        ] if moment is not None else []  # fmt: skip
        known = [value for value in found if value is not None]
        return sum(known) if known else None

    def tick(self) -> None:
        """One, if there is something new. Blocks."""
        with self._turn:
            moment = live(self._history, self.names)
            if moment is None or moment.now <= self._last:
                return
            self._last = moment.now
            began = time.thread_time()
            if not self._loaded:
                self._loaded = True
                self._load(moment.now)
            jobs = tuple(dict.fromkeys(name.partition(":")[0] for name in self.names.jobs))
            subjects = self._roster.subjects(jobs, self._busy)
            if subjects is not self._given:
                self._given = subjects
                self.names.forget(subjects)
                self._counts = Counter(class_of(each) for each in subjects if each.name or
                                       each.scope == "node")  # fmt: skip
            self._moment = moment
            steps = self._driver.tick(moment, subjects, self._clock.wall())
            self._moment = None
            self._tell(steps)
            cpu = time.thread_time() - began
            self._costs = Costs(self._costs.ticks + 1, self._costs.cpu_seconds + cpu)
            self._show()
            standing = bool(self.board.phases)
            late = self._clock.monotonic() - self._saved_at >= _SAVE_SECONDS
            if (standing and late) or any(each.what not in _SILENT for each in steps):
                self._save()

    def close(self) -> None:
        """States are kept; what was done is for the actuator to take back, which ends next."""
        self._stopping = True
        self._due.set()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
        if self._loaded and self._turn.acquire(timeout=1.0):
            self._save()
            self._turn.release()

    # --- inside

    def _ticked(self, tier: TierName) -> None:
        if tier == "fast":
            self._due.set()

    def _run(self) -> None:
        while True:
            self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            try:
                self.tick()
                self.problem = self._failed = ""
            except Exception as error:  # what nobody thought of costs this tick, not the agent
                self.problem = f"interference: a tick failed: {type(error).__name__}: {error}"
                if self.problem != self._failed:  # an hour of the same is one line
                    self._failed = self.problem
                    log.error(self.problem, exc_info=error)

    def _busy(self) -> list[Subject]:
        return [each.subject for each in self._driver.engine.standing()]

    def _show(self) -> None:
        self.board = board(self._driver, self._clock.wall(), self._costs, self._counts)

    def _tell(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.what in _SILENT or step.incident is None:
                continue
            done = "; ".join(f"{each.action}: {each.result}: {each.text}" for each in step.outcomes
                             if each.action != "log")  # fmt: skip
            suspects = step.incident.suspects
            fields = {
                "run": step.incident.run,
                "rule": step.rule.name,
                "subject": name_of(step.subject),
                "why": step.why,
                "suspect": name_of(suspects[0].subject) if suspects else "",
                "actions": done,
            }
            log.info("interference: %s", step.what, extra=fields)

    def _load(self, now: float) -> None:
        if self._kept.folder is None:
            return
        try:
            data = (self._kept.folder / STATES).read_bytes()
            lost = self._driver.load(data, self._kept.boot, now)
        except FileNotFoundError:
            return
        except (OSError, KernmeshError) as error:
            log.info("interference: begins anew: %s", error)
            return
        for incident in lost:
            log.info(
                "interference: over: its rule is no more",
                extra={"run": incident.run, "rule": incident.rule},
            )
        going = sum(each.state.incident is not None for each in self._driver.engine.standing())
        if going:
            log.info("interference: %d incidents go on from before the restart", going)

    def _save(self) -> None:
        self._saved_at = self._clock.monotonic()
        if self._kept.folder is None or self._history.problem:
            return
        try:
            replace_whole(self._kept.folder / STATES, self._driver.save(self._kept.boot))
            self._not_kept = ""
        except OSError as error:
            if error.strerror != self._not_kept:  # an hour of the same is one line
                self._not_kept = str(error.strerror)
                log.warning("interference: states cannot be kept: %s", error.strerror)
