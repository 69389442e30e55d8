"""A driver over seconds that a story tells: who waits, who uses the CPU; real store, real views."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from exporter.interference.actions import Actions, make_actions
from exporter.interference.detectors.expression import Expression
from exporter.interference.driver import Driver, Step
from exporter.interference.expression import parse
from exporter.interference.model import NODE, ActionSpec, Entry, Rule, RuleSet, Subject
from exporter.interference.ticks import RowValues, Tick
from exporter.interference.views import Moment, Names
from exporter.testing import FakeClock
from exporter.usage import store as stores
from exporter.usage.series import Series
from exporter.usage.store import Now
from tests.interference.actions.incidents import RememberingActuator

VICTIM = Subject("container", "/kubepods/burstable/podv", "shop/web", "v", "online")
BAD = Subject("container", "/kubepods/besteffort/podb", "batch/train", "b", "offline")
QUIET = Subject("container", "/kubepods/besteffort/podq", "batch/etl", "q", "offline")
SUBJECTS = (NODE, VICTIM, BAD, QUIET)
PREEMPT = ActionSpec("preempt")
LOG = ActionSpec("log")
_WAITED = Series("cgroup/kubepods/burstable/podv.waited_for_offline_seconds", "counter")


def rules(
    *actions: ActionSpec, clear: float = 3.0, handle: float = 5.0, longest_clear: float = 3600.0
) -> RuleSet:
    """The victim waits for offline work more than half of the time."""
    entry = Entry(
        (Expression(parse("waited_for_offline > 0.5")),), (), actions or (LOG, PREEMPT), clear=clear
    )
    rule = Rule("cpu", "container", "rules.yaml:1", (entry,), (), 1.0, handle, 1.0, 0.0, "warning")
    rule = rule._replace(longest_clear=longest_clear)
    return RuleSet((rule,), ("identity",), ())


class Story:
    """`second` tells what the next one was like: the share that the victim waited, and the cores
    that suspects used, by name's last letter."""

    def __init__(self, driver: Driver, before: int = 12) -> None:
        self.driver = driver
        self.store = stores.in_memory(1.0, 900.0, Now(0.0, 1e9, "boot"))
        self.now = 0
        self.subjects: Sequence[Subject] = SUBJECTS
        self._names, self._rows = Names(), RowValues()
        self._totals: dict[Series, float] = {}
        for _ in range(before):
            self.second(0.0)

    def second(self, waited: float | None, **used: float) -> list[Step]:
        self.now += 1
        values = self._grow({_WAITED: waited}) if waited is not None else {}
        for subject in (BAD, QUIET):
            series = Series(f"cgroup{subject.name}.cpu_seconds", "counter")
            values |= self._grow({series: used.get(subject.uid, 0.01)})
        self.store.put(float(self.now), 1e9 + self.now, values)
        row = self.store.end - 1
        moment = Moment([Tick(self.store, row, nullcontext(), self._rows)], self._names)
        return self.driver.tick(moment, self.subjects, 1e9 + self.now)

    def seconds(self, count: int, waited: float, **used: float) -> list[Step]:
        return [step for _ in range(count) for step in self.second(waited, **used)]

    def _grow(self, more: Mapping[Series, float | None]) -> dict[Series, float]:
        for series, value in more.items():
            self._totals[series] = self._totals.get(series, 0.0) + (value or 0.0)
        return {series: self._totals[series] for series in more}


def acting(
    actuator: RememberingActuator, *, dry_run: bool = False, confirm: bool = False
) -> Actions:
    return make_actions(actuator, FakeClock(), dry_run=dry_run, confirm=confirm)


def said(steps: Sequence[Step]) -> list[str]:
    """What happened, but for what is only repeated."""
    return [step.what for step in steps if step.what != "again"]
