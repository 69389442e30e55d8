"""Detection driven tick by tick: rules asked, suspects ranked, verdicts confirmed, actions done.

The rule: time and readings come in with a Moment, what was done goes out as Steps; the same
code runs in the agent, in `kernmesh replay` and in experiments. One thread at a time.

    driver = Driver(take_rules("default", facts).set)          # without actions: only what would be
    for moment, wall in ticks(recording):                      # or views.live(history, names)
        for step in driver.tick(moment, subjects, wall):
            print(step.what, step.incident)
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from exporter.interference.actions import Actions
from exporter.interference.attribution import rank
from exporter.interference.engine import Engine, Standing
from exporter.interference.model import (
    Action,
    ActionSpec,
    Finding,
    Incident,
    Outcome,
    Rule,
    RuleSet,
    Subject,
    Suspect,
    View,
)
from exporter.interference.saved_states import decode
from exporter.interference.states import Transition, What
from exporter.interference.trials import Trials
from exporter.interference.views import Moment

MOST_SUSPECTS = 5
MOST_RECENT = 50
MOST_RANKED = 4
"""Victims whose suspects are ranked at one tick: of fifty suspects that is 3 ms each."""
_LONGEST_TICK = 10.0
_LONG_AGO = 1e6
_CHANGED = ("done", "dry_run")
_GIVEN_BACK = frozenset({"adjust", "preempt", "io", "schedule"})
Did = Literal["fire", "ease", "clear"]
_DID: dict[What, Did] = {
    "fire": "fire",
    "again": "fire",
    "relapse": "fire",
    "ease": "ease",
    "clear": "clear",
}

Happened = What | Literal["confirmed", "acquitted", "undecided"]


class Step(NamedTuple):
    """One thing that happened: a transition of the engine, or what became of a trial. `at` in
    elapsed seconds, `wall` in seconds since the epoch. `incident` is None at pending and calm
    only; `outcomes` are of the actions done now."""

    what: Happened
    at: float
    wall: float
    rule: Rule
    subject: Subject
    finding: Finding | None
    incident: Incident | None
    outcomes: tuple[Outcome, ...]
    why: str


class Driver:
    """`totals` and `seconds` are for metrics: actions by kind and result, incidents by rule,
    seconds in which somebody of a class was hurt."""

    def __init__(
        self, rules: RuleSet, actions: Actions | None = None, *, confirm: bool = False
    ) -> None:
        """Without `actions` nothing is done, nor said that it would be. `confirm`: what touches
        offline work waits until throttling the first suspect has helped."""
        self.engine = Engine(rules)
        self.actions_total: Counter[tuple[str, str]] = Counter()
        self.incidents_total: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.verdicts: Counter[str] = Counter()
        self.now = 0.0
        self.last_outcomes: dict[str, tuple[Outcome, ...]] = {}
        """Of each run, what its actions said last."""
        self.recent: deque[tuple[Incident, float]] = deque(maxlen=MOST_RECENT)
        """Incidents that are over, the newest last, and when (wall)."""
        self._actions: Actions | None = None
        self._trials: Trials | None = None
        self._wall = 0.0
        self._ranked: dict[tuple[Subject, str], tuple[Suspect, ...]] = {}
        self._before: float | None = None
        self.act_by(actions, confirm=confirm)

    # --- what it goes by

    def act_by(self, actions: Actions | None, *, confirm: bool = False) -> list[Step]:
        """From now on by these. What the others did is taken back, and what goes on begins again
        with these at the next tick that finds it."""
        ended = self._do_all(self.engine.end_all(self.now, "what is done about it has changed"))
        if self._trials is not None:
            self._trials.end()
        if actions is not None and self._actions is not None:
            actions.evictions.go_on(self._actions.evictions.last)
        self._actions = actions
        self._trials = Trials(actions.confirm) if actions is not None and confirm else None
        return ended

    def replace(self, rules: RuleSet) -> list[Step]:
        """Other rules; those that did not change keep their states."""
        return self._do_all(self.engine.replace(rules, self.now))

    # --- ticks

    def tick(self, moment: Moment, subjects: Sequence[Subject], wall: float) -> list[Step]:
        """`subjects`: the same sequence as long as they are the same."""
        self.now, self._wall = moment.now, wall

        views: list[View] = []
        left = MOST_RANKED

        def suspects(victim: View, finding: Finding) -> tuple[Suspect, ...]:
            nonlocal left
            if not left:  # it keeps those that it had, or waits for its turn
                return self._ranked.get((victim.subject, finding.signal), ())
            left -= 1
            if not views:
                views.extend(moment.view(each) for each in subjects if each.work == "offline")
            others = [view for view in views if view.subject != victim.subject]
            found = tuple(rank(victim, finding, others)[:MOST_SUSPECTS])
            self._ranked[victim.subject, finding.signal] = found
            return found

        told = self.engine.tick(moment.now, subjects, moment.view, suspects, wall)
        standing = list(self.engine.standing())
        self._count_seconds(standing)
        if left and self._ranked:
            for each in standing:
                incident = each.state.incident
                if incident is None or each.state.phase != "firing":
                    continue
                key = each.subject, incident.finding.signal
                if left and key not in self._ranked:
                    self.engine.rank(incident.run, suspects, moment.view(each.subject))
        if len(self._ranked) > len(standing):
            going = {(each.subject, each.state.incident.finding.signal)
                     for each in standing if each.state.incident is not None}  # fmt: skip
            self._ranked = {key: kept for key, kept in self._ranked.items() if key in going}
        steps = self._do_all(told)
        if self._trials is not None:
            steps += self._try(self._trials, moment.view)
        return steps

    @property
    def rankings(self) -> int:
        """How many are kept, of victims that must wait for their turn."""
        return len(self._ranked)

    def standing(self) -> list[Standing]:
        return list(self.engine.standing())

    # --- across restarts

    def save(self, boot: str) -> bytes:
        evicted = self._actions.evictions.last if self._actions is not None else None
        return self.engine.dump(boot, self.now, evicted)

    def load(self, data: bytes, boot: str, now: float) -> list[Incident]:
        """Takes up what was saved; what fires goes on, and its actions, which nobody holds in
        force any more, are done again at the next check. Gives the incidents of rules that are no
        more. Raises KernmeshError where it is not to be used."""
        lost = self.engine.load(data, boot, now)
        for each in self.engine.standing():
            each.state.handled = each.state.eased = now - _LONG_AGO
        if self._actions is not None:
            self._actions.evictions.go_on(decode(data, boot, now).evicted)
        return lost

    # --- inside

    def _count_seconds(self, standing: Sequence[Standing]) -> None:
        before, self._before = self._before, self.now
        if before is None:
            return
        hurt = {class_of(each.subject) for each in standing if each.state.phase == "firing"}
        for name in hurt:
            passed = min(max(self.now - before, 0.0), _LONGEST_TICK)
            self.seconds[name] = self.seconds.get(name, 0.0) + passed

    def _do_all(self, told: Sequence[Transition]) -> list[Step]:
        steps: list[Step] = []
        for each in told:
            steps.append(self._give_back(each))
            if each.what == "ease" and not _any_changed(steps[-1].outcomes):
                assert each.incident is not None
                over = self.engine.settle(each.incident.run, self.now)
                if over is not None:
                    steps.append(self._give_back(over))
        return steps

    def _give_back(self, told: Transition) -> Step:
        """Done; where it eased what had been in force, the engine is told."""
        step = self._do(told)
        eased = told.what in ("ease", "clear")
        if eased and any(o.result == "done" and o.action in _GIVEN_BACK for o in step.outcomes):
            self.engine.gave_back(told)
        return step

    def _do(self, told: Transition) -> Step:
        incident = told.incident
        outcomes: tuple[Outcome, ...] = ()
        if incident is not None:
            if told.what == "fire":
                self.incidents_total[incident.rule] += 1
            if self._trials is not None:
                incident = self._judged(self._trials, incident)
            outcomes = self._act(told, incident)
            if told.what == "clear":
                self._over(incident)
            elif outcomes:
                self.last_outcomes[incident.run] = outcomes
        return Step(
            told.what, told.at, self._wall, told.rule, told.subject, told.finding, incident,
            outcomes, told.why,
        )  # fmt: skip

    def _act(self, told: Transition, incident: Incident) -> tuple[Outcome, ...]:
        did = _DID.get(told.what)
        if self._actions is None or did is None:
            return ()
        specs = told.actions
        said: tuple[Outcome, ...] = ()
        if self._trials is not None and did == "fire":
            specs, said = self._trials.now(incident, specs, self.now)
        return (*self._each(did, incident, specs), *self._counted(said))

    def _each(
        self, did: Did, incident: Incident, specs: Sequence[ActionSpec]
    ) -> tuple[Outcome, ...]:
        assert self._actions is not None
        table = self._actions.table
        known = [spec for spec in specs if spec.kind in table]
        return self._counted(tuple(_done(table[spec.kind], did, incident, spec) for spec in known))

    def _counted(self, outcomes: tuple[Outcome, ...]) -> tuple[Outcome, ...]:
        self.actions_total.update((each.action, each.result) for each in outcomes)
        return outcomes

    def _over(self, incident: Incident) -> None:
        self.last_outcomes.pop(incident.run, None)
        self.recent.append((incident, self._wall))
        if self._trials is not None:
            self._trials.forget(incident)

    def _judged(self, trials: Trials, incident: Incident) -> Incident:
        return self.engine.amend(incident.run, trials.judged(incident)) or incident

    def _try(self, trials: Trials, view: Callable[[Subject], View]) -> list[Step]:
        """What became of the trial that is under way; and the next one."""
        steps: list[Step] = []
        standing = {
            each.state.incident.run: each
            for each in self.engine.standing()
            if each.state.incident is not None and each.state.phase == "firing"
        }
        for verdict in trials.go_on(view, self.now, standing):
            found = standing.get(verdict.incident.run)
            self.verdicts[verdict.what] += 1
            if found is None:
                continue
            incident = self._judged(trials, verdict.incident)
            outcomes = self._each("fire", incident, verdict.specs)
            if outcomes:
                self.last_outcomes[incident.run] = outcomes
            steps.append(
                Step(
                    verdict.what,
                    self.now,
                    self._wall,
                    found.rule,
                    found.subject,
                    incident.finding,
                    incident,
                    outcomes,
                    verdict.why,
                )
            )
        return steps


def _done(action: Action, did: Did, incident: Incident, spec: ActionSpec) -> Outcome:
    """An action that breaks its word and raises costs nobody else what is to be done."""
    try:
        outcome: Outcome = getattr(action, did)(incident, spec)
    except Exception as error:
        return Outcome(spec.kind, "failed", f"{type(error).__name__}: {error}")
    return outcome


def class_of(subject: Subject) -> str:
    """online, offline, node or app; "other" for a container of which nobody says."""
    return subject.scope if subject.scope != "container" else subject.work or "other"


def _any_changed(outcomes: Sequence[Outcome]) -> bool:
    return any(each.result in _CHANGED for each in outcomes)
