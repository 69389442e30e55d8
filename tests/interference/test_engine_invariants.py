"""What is true of the engine whatever the readings, reloads, restarts and subjects are."""

from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.interference.engine import Engine
from exporter.interference.model import Entry, Rule, RuleSet, Subject
from exporter.interference.states import Transition
from tests.interference.scripted import (
    EVICT,
    LOG,
    Scripted,
    container,
    entry,
    rule,
    ruleset,
    view_at,
)

LENGTH = 80
SUBJECTS = (container("/a"), container("/b"))
# stretches of which most are quiet, or no incident would ever end
_SCRIPT = st.lists(
    st.tuples(st.sampled_from("#.#..?#..!"), st.integers(1, 9)), min_size=6, max_size=14
).map(lambda stretches: "".join(sign * length for sign, length in stretches) + ".")
_SECONDS = st.sampled_from([0.0, 1.0, 2.5, 5.0])
_ENTRY = st.builds(
    lambda a, b, exact, hold, clear: entry(
        Scripted("", exact=exact, a=a, b=b), hold=hold, clear=clear, actions=[EVICT]
    ),
    _SCRIPT,
    _SCRIPT,
    st.booleans(),
    _SECONDS,
    st.none() | _SECONDS,
)


def _recovering(script: str) -> tuple[Entry, ...]:
    return (entry(Scripted(script), actions=[LOG]),)


_RULE = st.builds(
    lambda entries, recover, check, handle, back, cooldown: rule(
        *entries,
        recover=recover,
        scope="container",
        check_interval=check,
        handle_interval=handle,
        recover_interval=back,
        cooldown=cooldown,
    ),
    st.lists(_ENTRY, min_size=1, max_size=2),
    st.just(()) | st.just(()) | st.builds(_recovering, _SCRIPT),
    st.sampled_from([1.0, 2.0, 3.0]),
    st.sampled_from([1.0, 4.0]),
    st.sampled_from([1.0, 4.0]),
    st.sampled_from([0.0, 7.0, 20.0]),
)
_EVENT = st.sampled_from(["restart", "reload", "change", "leave", "return"])


class Driver:
    """Does as it is told, and writes it down. Easing has as many steps to take as were fired."""

    def __init__(self, the_rule: Rule) -> None:
        self.rules = ruleset(the_rule)
        self.engine = Engine(self.rules)
        self.told: list[Transition] = []
        self.steps: Counter[str] = Counter()

    def take(self, told: list[Transition], now: float) -> None:
        for each in told:
            self.told.append(each)
            if each.incident is None:
                continue
            key = each.incident.run
            if each.what in ("fire", "again", "relapse") and each.actions:
                self.steps[key] += 1
            elif each.what == "ease":
                self.steps[key] -= 1
                if self.steps[key] <= 0:
                    over = self.engine.settle(key, now)
                    self.take([over] if over else [], now)

    def event(self, name: str, now: float) -> None:
        if name == "restart":
            saved = self.engine.dump("boot", now)
            self.engine = Engine(self.rules)
            assert self.engine.load(saved, "boot", now) == []
            assert self.engine.dump("boot", now) == saved
        elif name == "reload":
            assert self.engine.replace(self.rules, now) == []
        elif name == "change":
            changed = RuleSet(self.rules.rules, (f"identity at {now}",), ())
            self.take(self.engine.replace(changed, now), now)
            self.rules = changed


@settings(max_examples=80, deadline=None)
@given(the_rule=_RULE, events=st.dictionaries(st.integers(0, LENGTH), _EVENT, max_size=3))
def test_whatever_happens_these_hold(the_rule: Rule, events: dict[int, str]) -> None:
    driver = Driver(the_rule)
    subjects: Sequence[Subject] = SUBJECTS
    for second in range(LENGTH):
        now = float(second)
        name = events.get(second, "")
        driver.event(name, now)
        if name in ("leave", "return"):
            subjects = SUBJECTS[:1] if name == "leave" else SUBJECTS
        driver.take(driver.engine.tick(now, subjects, view_at(now)), now)
    driver.take(driver.engine.end_all(float(LENGTH), "switched off"), float(LENGTH))
    _one_clear_for_every_fire(driver.told)
    _never_straight_from_firing_to_ok(driver.told)
    _nothing_in_cooldown(driver.told, the_rule, changed="change" in events.values())
    _phases_follow_one_another(driver.told)
    _steps_at_their_intervals(driver.told, the_rule)


def _one_clear_for_every_fire(told: list[Transition]) -> None:
    fired = [each.incident.run for each in told if each.what == "fire" and each.incident]
    cleared = [each.incident.run for each in told if each.what == "clear" and each.incident]
    assert len(fired) == len(set(fired))
    assert sorted(fired) == sorted(cleared)


def _never_straight_from_firing_to_ok(told: list[Transition]) -> None:
    for each in told:
        if each.after == "ok" and each.before == "firing":
            assert each.why in ("it is gone", "its rule changed", "switched off")


def _nothing_in_cooldown(told: list[Transition], the_rule: Rule, changed: bool) -> None:
    """A rule that was changed begins anew, its cooldown with it; so does who was gone."""
    over: dict[tuple[object, int], float] = {}
    for each in told:
        key = (each.subject, each.entry)
        if each.what == "clear" and each.why == "all is as before" and not changed:
            over[key] = each.at
        elif each.what == "fire" and key in over:
            assert each.at >= over.pop(key) + the_rule.cooldown


def _phases_follow_one_another(told: list[Transition]) -> None:
    phases: dict[tuple[object, int], str] = {}
    for each in told:
        key = (each.subject, each.entry)
        before = phases.get(key, "ok")
        # a pending state is forgotten with its rule or its subject, and nobody need be told
        assert each.before == before or (before, each.before) == ("pending", "ok")
        assert (each.incident is None) == (each.what in ("pending", "calm"))
        phases[key] = each.after


def _steps_at_their_intervals(told: list[Transition], the_rule: Rule) -> None:
    last: dict[tuple[str, str], float] = {}
    for each in told:
        if each.incident is None or each.what == "clear" or not each.actions:
            continue
        kind = "ease" if each.what == "ease" else "fire"
        least = the_rule.recover_interval if kind == "ease" else the_rule.handle_interval
        key = (each.incident.run, kind)
        if each.before != each.after and kind == "ease":
            least = 0.0  # the first step back comes when it is over, however short that took
        if key in last:
            assert each.at - last[key] >= least - the_rule.check_interval * 0.25
        last[key] = each.at
