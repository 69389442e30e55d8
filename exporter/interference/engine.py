"""All rules over all subjects, tick by tick: what begins, goes on, eases off and ends.

The rule: pure but for its memory. Time, subjects and views are given to `tick`; what is to be done
comes back as transitions, in order, and the driver does it. One rule that raises, or cannot be told
for want of readings, keeps its states and hides nothing else. One thread at a time.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from exporter.interference import saved_states
from exporter.interference.asking import Answer, ask
from exporter.interference.model import (
    Finding,
    Incident,
    Rule,
    RuleSet,
    Subject,
    Suspect,
    View,
)
from exporter.interference.saved_states import SavedState
from exporter.interference.states import Asked, State, Transition, advance, end
from exporter.interference.turns import Plan, Turns

SETTLING_SECONDS = 15.0
"""After states were loaded: who is not there yet may still be found."""

_RANKED = ("fire", "again", "relapse")


Suspects = Callable[[View, Finding], tuple[Suspect, ...]]


class Standing(NamedTuple):
    """A state that is not ok, for metrics and pages."""

    rule: Rule
    state: State
    subject: Subject


class _Memory:
    """A plan's data: its identity, and the states of subjects that have some."""

    __slots__ = ("identity", "states")

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.states: dict[Subject, list[State]] = {}


class Engine:
    """`unknown` and `faults` count, by rule, checks that could not be told and that raised;
    `fault_texts` has the last of each rule that raised; `checks` are all."""

    def __init__(self, rules: RuleSet) -> None:
        self.unknown: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.fault_texts: dict[str, str] = {}
        self.checks = 0
        self._turns = Turns()
        self._runs: dict[str, tuple[Plan, Subject, State]] = {}
        self._patience = 0.0
        self._absent = False
        self._turns.set_plans(_plans(rules, {}))

    # --- rules

    def replace(self, rules: RuleSet, now: float) -> list[Transition]:
        """Other rules: those that did not change keep their states; what the others had going is
        over."""
        old = {plan.data.identity: plan for plan in self._turns.plans}
        kept = _plans(rules, old)
        ended = []
        for plan in self._turns.plans:
            if plan not in kept:
                ended += self._end_all(plan, list(plan.data.states), now, "its rule changed")
        self._turns.set_plans(kept)
        return ended

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(plan.rule for plan in self._turns.plans)

    # --- ticks

    def tick(
        self,
        now: float,
        subjects: Sequence[Subject],
        view: Callable[[Subject], View],
        suspects: Suspects | None = None,
        wall: float = 0.0,
    ) -> list[Transition]:
        """Asks every rule whose turn has come. `view` is called at most once per subject;
        `suspects` for what fires. Give the same sequence of subjects while they are the same."""
        told = self._forget(self._turns.set_subjects(subjects, now), now)
        views: dict[Subject, View] = {}
        for group in self._turns.due(now):
            plan = group.plan
            rule, states = plan.rule, plan.data.states
            entries = rule.entries
            self.checks += len(group.subjects)
            for subject in group.subjects:
                seen = views.get(subject)
                if seen is None:
                    seen = views[subject] = view(subject)
                answers: list[Answer] = []
                for entry in entries:
                    try:
                        answers.append(ask(entry, seen))
                    except Exception as error:  # a detector's fault is its rule's, nobody else's
                        self._fault(rule, error)
                        answers.append(None)
                if None in answers:
                    self.unknown[rule.name] += 1
                if subject in states or any(answers):
                    told += self._advance(plan, subject, seen, answers, now, wall, suspects)
        return told

    def settle(self, run: str, now: float) -> Transition | None:
        """The driver says that easing found nothing left to take back: the incident is over. None
        where it is not recovering (any more)."""
        plan, subject, state = self._runs.get(run, (None, None, None))
        if plan is None or subject is None or state is None or state.phase != "recovering":
            return None
        return self._end(plan, subject, state, now, "all is as before")

    def gave_back(self, told: Transition) -> None:
        """The driver says that with this something was given back. Should it hurt again soon, that
        was too early, and the next time more quiet is wanted."""
        plan = next((each for each in self._turns.plans if each.rule is told.rule), None)
        for state in plan.data.states.get(told.subject, ()) if plan is not None else ():
            if state.entry == told.entry:
                state.gave_back = told.at

    def amend(self, run: str, suspects: tuple[Suspect, ...]) -> Incident | None:
        """Other suspects for an incident, as after one was confirmed or cleared."""
        found = self._runs.get(run)
        if found is None or found[2].incident is None:
            return None
        found[2].incident = found[2].incident._replace(suspects=suspects)
        return found[2].incident

    def rank(self, run: str, suspects: Suspects, view: View) -> Incident | None:
        """The incident with its suspects as they are now; with those that it had where that
        raises, which is its rule's fault."""
        plan, _, state = self._runs[run]
        assert state.incident is not None
        try:
            found = suspects(view, state.incident.finding)
        except Exception as error:
            self._fault(plan.rule, error)
            return state.incident
        return self.amend(run, found)

    def end_all(self, now: float, why: str) -> list[Transition]:
        """Everything that is going on is over, as when detection is switched off."""
        return [
            told
            for plan in self._turns.plans
            for told in self._end_all(plan, list(plan.data.states), now, why)
        ]

    def standing(self) -> Iterator[Standing]:
        """Every state that is not ok."""
        for plan in self._turns.plans:
            for subject, states in plan.data.states.items():
                for state in states:
                    if state.phase != "ok":
                        yield Standing(plan.rule, state, subject)

    # --- across restarts

    def dump(self, boot: str, now: float, evicted: float | None = None) -> bytes:
        """What `load` takes, to be kept in a file. `boot` is the boot's id; `evicted` is kept
        along (saved_states.py)."""
        return saved_states.encode(
            boot,
            now,
            tuple(
                SavedState(
                    plan.data.identity, subject, state.entry, state.phase, state.since,
                    state.asked, state.held, state.quiet, state.handled, state.eased,
                    state.cleared, state.incident, state.gave_back, state.relapses,
                )
                for plan in self._turns.plans
                for subject, states in plan.data.states.items()
                for state in states
            ),
            evicted,
        )  # fmt: skip

    def load(self, data: bytes, boot: str, now: float) -> list[Incident]:
        """Takes up what was saved; gives the incidents of rules that are no more (what they did
        is the journal's to undo). Raises KernmeshError where it is not to be used."""
        saved = saved_states.decode(data, boot, now)
        plans = {plan.data.identity: plan for plan in self._turns.plans}
        lost = []
        for each in saved.states:
            plan = plans.get(each.rule)
            if plan is None or not 0 <= each.entry < len(plan.rule.entries):
                lost += [each.incident] if each.incident is not None else []
                continue
            state = State(each.entry, now)
            for name in ("phase", "since", "asked", "held", "quiet", "handled", "eased",
                         "cleared", "incident", "gave_back", "relapses"):  # fmt: skip
                setattr(state, name, getattr(each, name))
            plan.data.states.setdefault(each.subject, []).append(state)
            if each.incident is not None:
                self._runs[each.incident.run] = (plan, each.subject, state)
        self._patience = now + SETTLING_SECONDS
        self._absent = True
        return lost

    # --- inside

    def _fault(self, rule: Rule, error: Exception) -> None:
        self.faults[rule.name] += 1
        self.fault_texts[rule.name] = f"{type(error).__name__}: {error}"

    def _advance(
        self,
        plan: Plan,
        subject: Subject,
        view: View,
        answers: Sequence[Answer],
        now: float,
        wall: float,
        suspects: Suspects | None,
    ) -> Iterator[Transition]:
        rule, memory = plan.rule, plan.data
        quiet = all(answer is False for answer in answers)
        states: dict[int, State] = {each.entry: each for each in memory.states.get(subject, ())}
        going = any(each.incident is not None for each in states.values())
        recovers = quiet and going and self._recovers(rule, view, now)
        for index, answer in enumerate(answers):
            finding = answer if isinstance(answer, Finding) else None
            state = states.get(index)
            if state is None:
                if finding is None:
                    continue
                state = states[index] = State(index, now)
            asked = Asked(None if answer is None else bool(answer), finding, quiet, recovers)
            told = advance(state, rule, subject, asked, now, wall, memory.identity)
            if told is not None:
                yield self._ranked(told, plan, state, view, suspects)
        left = [each for each in states.values() if not each.idle(rule, now)]
        if left:
            memory.states[subject] = left
        else:
            memory.states.pop(subject, None)

    def _ranked(
        self,
        told: Transition,
        plan: Plan,
        state: State,
        view: View,
        suspects: Suspects | None,
    ) -> Transition:
        if told.incident is None or state.incident is None:
            return told
        self._runs[told.incident.run] = (plan, told.subject, state)
        if suspects is None or told.finding is None or told.what not in _RANKED:
            return told
        return told._replace(incident=self.rank(told.incident.run, suspects, view))

    def _recovers(self, rule: Rule, view: View, now: float) -> bool:
        if not rule.recover:
            return True
        for entry in rule.recover:
            try:
                answer = ask(entry, view)
            except Exception as error:
                self._fault(rule, error)
                continue
            if answer and now - answer.since >= entry.hold - 1e-6:
                return True
        return False

    def _forget(self, gone: frozenset[Subject], now: float) -> list[Transition]:
        """Subjects that are gone; after a restart those that did not come back in time too."""
        told: list[Transition] = []
        check_all = self._absent and now >= self._patience
        if check_all:
            self._absent = False
        if not gone and not check_all:
            return told
        there = self._turns.subjects
        for plan in self._turns.plans:
            states = plan.data.states
            left = [s for s in states if s in gone or (check_all and s not in there)]
            told += self._end_all(plan, left, now, "it is gone")
        return told

    def _end_all(
        self, plan: Plan, subjects: Sequence[Subject], now: float, why: str
    ) -> list[Transition]:
        told = []
        for subject in subjects:
            for state in plan.data.states.pop(subject, ()):
                if state.incident is not None:
                    told.append(self._end(plan, subject, state, now, why))
        return told

    def _end(self, plan: Plan, subject: Subject, state: State, now: float, why: str) -> Transition:
        assert state.incident is not None
        self._runs.pop(state.incident.run, None)
        return end(state, plan.rule, subject, now, why)  # its next check forgets it, if it may


def _plans(rules: RuleSet, old: dict[str, Plan]) -> list[Plan]:
    return [
        old.get(identity) or Plan(rule, _Memory(identity))
        for rule, identity in zip(rules.rules, rules.identity, strict=True)
    ]
