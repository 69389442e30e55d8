"""One entry of one rule on one subject, over time: ok → pending → firing → recovering → ok.

The rule: pure. What is held, quiet or unknown comes in with the time, what is to be done goes out;
unknown holds the state. From firing the only way to ok is through recovering, but for a subject
or a rule that is gone.
"""

import hashlib
from typing import Literal, NamedTuple

from exporter.interference.model import (
    ActionSpec,
    Entry,
    Finding,
    Incident,
    Phase,
    Rule,
    Subject,
)

ADJACENT_SECONDS = 2.0
SHORTEST_PROOF = 60.0
"""So long at least it must stay away after something was given back, or it has come back."""
_MOST_DOUBLED = 20

What = Literal["pending", "calm", "fire", "again", "ease", "relapse", "clear"]
"""pending: it holds, and must for longer. calm: it did not. fire: an incident begins. again: it
still holds, one step more. ease: one step back. relapse: it holds again while that goes on. clear:
the incident is over, everything is put back at once."""


class Transition(NamedTuple):
    """`actions` are what is to be done now: `fire` each at fire, again and relapse, `ease` each at
    ease, `clear` each at clear. `incident` is None at pending and calm only, `finding` where
    nothing holds. Before and after are the same phase where only a step is taken."""

    what: What
    rule: Rule
    subject: Subject
    entry: int
    before: Phase
    after: Phase
    at: float
    finding: Finding | None
    incident: Incident | None
    actions: tuple[ActionSpec, ...]
    why: str


class State:
    """Seconds are elapsed ones. `held` since when it holds without a break; `quiet` since when it
    is known not to; `asked` when it could last be told; `handled` and `eased` when a step was last
    taken; `cleared` when the last incident ended. `gave_back` when something was last given back,
    until it is known whether that was too early; `relapses` how often in a row it was."""

    __slots__ = (
        "asked", "cleared", "eased", "entry", "gave_back", "handled", "held", "incident", "phase",
        "quiet", "relapses", "since",
    )  # fmt: skip

    def __init__(self, entry: int, now: float) -> None:
        self.entry = entry
        self.phase: Phase = "ok"
        self.since = now
        self.asked = now
        self.held: float | None = None
        self.quiet: float | None = None
        self.handled = now
        self.eased = now
        self.cleared: float | None = None
        self.incident: Incident | None = None
        self.gave_back: float | None = None
        self.relapses = 0

    def idle(self, rule: Rule, now: float) -> bool:
        """Whether nothing would be lost if it were forgotten."""
        return self.phase == "ok" and not (self.cooling(rule, now) or self.on_proof(rule, now))

    def on_proof(self, rule: Rule, now: float) -> bool:
        """Whether what was given back may yet turn out to have been needed."""
        if self.gave_back is None:
            return False
        return now - self.gave_back <= max(self.clear(rule), SHORTEST_PROOF)

    def clear(self, rule: Rule) -> float:
        """Seconds of quiet before anything is given back: the entry's, doubled for each time in a
        row that this was too early, up to the rule's `longest_clear`."""
        own = rule.entries[self.entry].clear
        seconds = rule.recover_interval if own is None else own
        doubled = seconds * 2.0 ** min(self.relapses, _MOST_DOUBLED)
        return min(doubled, max(seconds, rule.longest_clear))

    def cooling(self, rule: Rule, now: float) -> bool:
        return self.cleared is not None and now < self.cleared + rule.cooldown

    def enter(self, phase: Phase, now: float) -> Phase:
        """Gives the phase before."""
        before, self.phase = self.phase, phase
        if phase != before:
            self.since = now
        return before


class Asked(NamedTuple):
    """What the rule's detectors said of one subject now. `holds`: this entry; None: unknown, as
    where no entry holds and one is unknown. `quiet`: no entry of the rule holds, all known.
    `recovers`: one of its recover entries holds, or there are none."""

    holds: bool | None
    finding: Finding | None
    quiet: bool
    recovers: bool


def advance(
    state: State, rule: Rule, subject: Subject, asked: Asked, now: float, wall: float, salt: str
) -> Transition | None:
    """Takes the state one check further. `salt` makes run ids differ between rules."""
    before = state.phase
    if asked.holds:
        assert asked.finding is not None
        _note_held(state, asked.finding, now)
    elif asked.holds is not None:
        state.held = None
    if asked.quiet:
        state.quiet = now if state.quiet is None else state.quiet
    else:
        state.quiet = None
    if asked.holds is not None:
        state.asked = now
    if before in ("ok", "pending"):
        return _begin(state, rule, subject, asked, now, wall, salt)
    if asked.holds:
        return _hold_on(state, rule, subject, asked, now)
    if asked.quiet and asked.recovers:
        return _recover(state, rule, subject, now)
    return None


def _note_held(state: State, finding: Finding, now: float) -> None:
    """That it began after the last check means that it broke in between; between checks so close
    there is no sample that could say so."""
    since = min(finding.since, now)
    broke = since > state.asked and now - state.asked > ADJACENT_SECONDS
    if state.held is None or broke:
        state.held = since
    else:
        state.held = min(state.held, since)


def _begin(
    state: State, rule: Rule, subject: Subject, asked: Asked, now: float, wall: float, salt: str
) -> Transition | None:
    entry = rule.entries[state.entry]
    if asked.holds is None:
        return None
    if not asked.holds:
        if state.phase == "ok":
            return None
        state.enter("ok", now)
        return _told("calm", state, rule, subject, "pending", now, None, (), "it holds no more")
    finding = asked.finding
    assert finding is not None
    assert state.held is not None
    missing = entry.hold - (now - state.held)
    if missing > 1e-6 or state.cooling(rule, now):
        if state.phase == "pending":
            return None
        state.enter("pending", now)
        why = "in cooldown" if state.cooling(rule, now) else f"for {entry.hold:g} s to fire"
        return _told("pending", state, rule, subject, "ok", now, finding, (), why)
    before = state.enter("firing", now)
    state.handled = now
    state.quiet = None
    why = _note_relapse(state, rule, finding, now)
    run = hashlib.sha256(f"{salt}{subject}{state.entry}{now}{wall}".encode()).hexdigest()[:12]
    state.incident = Incident(
        run, rule.name, rule.severity, subject, state.entry, finding, (), wall
    )
    return _told("fire", state, rule, subject, before, now, finding, entry.actions, why)


def _note_relapse(state: State, rule: Rule, finding: Finding, now: float) -> str:
    """It holds (again): was something given back too early? Gives why, for the log."""
    if state.gave_back is None:
        return finding.text
    passed, on_proof = now - state.gave_back, state.on_proof(rule, now)
    state.gave_back = None
    if not on_proof:
        state.relapses = 0
        return finding.text
    state.relapses = min(state.relapses + 1, _MOST_DOUBLED)
    return (
        f"{finding.text}; it is back {passed:.3g} s after something was given back, which next"
        f" waits for {state.clear(rule):g} s of quiet"
    )


def _hold_on(
    state: State, rule: Rule, subject: Subject, asked: Asked, now: float
) -> Transition | None:
    finding = asked.finding
    assert state.incident is not None
    assert finding is not None
    state.incident = state.incident._replace(finding=finding)
    due = now - state.handled >= rule.handle_interval - _slack(rule)
    actions = rule.entries[state.entry].actions if due else ()
    if due:
        state.handled = now
    if state.phase == "recovering":
        why = _note_relapse(state, rule, finding, now)
        before = state.enter("firing", now)
        return _told("relapse", state, rule, subject, before, now, finding, actions, why)
    if not due:
        return None
    return _told("again", state, rule, subject, "firing", now, finding, actions, finding.text)


def _recover(state: State, rule: Rule, subject: Subject, now: float) -> Transition | None:
    entry = rule.entries[state.entry]
    assert state.quiet is not None
    if state.phase == "firing":
        if now - state.quiet < state.clear(rule) - _slack(rule):
            return None
        why = f"nothing of it held for {now - state.quiet:.3g} s"
    elif now - state.eased < rule.recover_interval - _slack(rule):
        return None
    else:
        why = "one step more"
    before = state.enter("recovering", now)
    state.eased = now
    return _told("ease", state, rule, subject, before, now, None, easing(rule, entry), why)


def end(state: State, rule: Rule, subject: Subject, now: float, why: str) -> Transition:
    """The incident is over: what was done is all back, or nobody is there to suffer."""
    before = state.enter("ok", now)
    actions = rule.entries[state.entry].actions
    told = _told("clear", state, rule, subject, before, now, None, actions, why)
    state.incident, state.held, state.quiet, state.cleared = None, None, None, now
    return told


def easing(rule: Rule, entry: Entry) -> tuple[ActionSpec, ...]:
    """What is run backwards: the recover entries' actions where they have some, else the entry's
    own."""
    own = tuple(spec for recover in rule.recover for spec in recover.actions)
    return own or entry.actions


def _slack(rule: Rule) -> float:
    """Checks come a little early or late; a step is not put off by a whole interval for that."""
    return rule.check_interval * 0.25


def _told(
    what: What,
    state: State,
    rule: Rule,
    subject: Subject,
    before: Phase,
    now: float,
    finding: Finding | None,
    actions: tuple[ActionSpec, ...],
    why: str,
) -> Transition:
    return Transition(
        what, rule, subject, state.entry, before, state.phase, now, finding, state.incident,
        actions, why,
    )  # fmt: skip
