"""From readings to deeds: findings, suspects, actions, trials, restarts."""

from collections.abc import Iterator

import pytest

from exporter.actuator.protocol import Answer, AnyRequest, Set, Undo
from exporter.errors import KernmeshError
from exporter.interference.actions import Actions
from exporter.interference.driver import Driver
from exporter.interference.model import (
    ActionSpec,
    Finding,
    Incident,
    Outcome,
    RuleSet,
    Step,
    View,
)
from tests.interference.actions.incidents import RememberingActuator
from tests.interference.stories import (
    BAD,
    LOG,
    PREEMPT,
    QUIET,
    SUBJECTS,
    VICTIM,
    Story,
    acting,
    rules,
    said,
)


@pytest.fixture
def actuator() -> RememberingActuator:
    return RememberingActuator()


@pytest.fixture
def actions(actuator: RememberingActuator) -> Iterator[Actions]:
    made = acting(actuator)
    yield made
    made.close()


@pytest.fixture
def trying(actuator: RememberingActuator) -> Iterator[Actions]:
    made = acting(actuator, confirm=True)
    yield made
    made.close()


def test_what_hurts_is_acted_on_with_the_likeliest_first_and_taken_back_when_it_is_over(
    actuator: RememberingActuator, actions: Actions
) -> None:
    story = Story(Driver(rules(), actions))
    (fire,) = story.second(0.9, b=1.5)
    assert fire.what == "fire"
    assert fire.incident is not None
    assert fire.incident.suspects[0].subject == BAD
    assert [(each.action, each.result) for each in fire.outcomes] == [
        ("log", "done"),
        ("preempt", "done"),
    ]
    assert said(story.seconds(6, 0.0)) == ["ease", "clear"]
    run = fire.incident.run
    assert [type(each) for each in actuator.asked] == [Set, Undo]
    assert {each.run for each in actuator.asked} == {run}
    assert story.driver.standing() == []
    assert [incident.run for incident, _ in story.driver.recent] == [run]
    assert story.driver.incidents_total == {"cpu": 1}
    assert story.driver.actions_total["preempt", "done"] == 2


def flapping(story: Story, rounds: int) -> list[int]:
    """Hurts whenever nothing is held in force; the seconds of quiet that each give-back waited."""
    waited = []
    for _ in range(rounds):
        assert "fire" in said(story.seconds(2, 0.9, b=1.5))
        quiet = 1
        while "clear" not in said(story.second(0.0)):
            quiet += 1
        waited.append(quiet)
    return waited


def test_what_comes_back_whenever_it_is_given_back_is_given_back_less_and_less_often(
    actions: Actions,
) -> None:
    the_rules = rules(longest_clear=30.0)
    story = Story(Driver(the_rules, actions))
    first, *later, last = flapping(story, 6)
    assert [each - first for each in later] == [3, 9, 21, 27]  # of 3: 6, 12, 24, then 30 s
    assert last == later[-1]
    again = Driver(the_rules, actions)  # a restart forgets none of it
    again.load(story.driver.save("boot"), "boot", float(story.now))
    story.driver = again
    (fire,) = (step for step in story.seconds(2, 0.9, b=1.5) if step.what == "fire")
    assert fire.why.endswith("which next waits for 30 s of quiet")
    story.seconds(31, 0.0)
    story.seconds(61, 0.0)  # away for so long: as if it had never been
    assert flapping(story, 2) == [first, first + 3]


def test_where_nothing_was_in_force_what_comes_back_is_not_waited_for_any_longer(
    actuator: RememberingActuator, actions: Actions
) -> None:
    dry = acting(actuator, dry_run=True)
    for which, longest in ((None, 30.0), (dry, 30.0), (actions, 0.0)):
        waited = flapping(Story(Driver(rules(longest_clear=longest), which)), 3)
        assert len(set(waited)) == 1
    dry.close()


class _EachSecondAnother:
    """Holds, each second on another signal."""

    def evaluate(self, view: View) -> Finding | None:
        return Finding(f"signal {view.now:g}", 2.0, 1.0, "", view.now, "")


def test_of_what_an_incident_was_found_by_before_no_ranking_is_kept() -> None:
    (rule,) = rules(handle=1.0).rules
    entry = rule.entries[0]._replace(any_of=(_EachSecondAnother(),))
    story = Story(Driver(RuleSet((rule._replace(entries=(entry,)),), ("identity",), ())))
    story.seconds(60, 0.0)
    assert len(story.driver.standing()) == story.driver.rankings == 1


def test_who_is_gone_leaves_nothing_behind_of_its_relapses(actions: Actions) -> None:
    story = Story(Driver(rules(), actions))
    flapping(story, 1)
    assert b'"gave_back":1' in story.driver.save("boot")
    story.subjects = tuple(each for each in SUBJECTS if each != VICTIM)
    story.second(0.0)
    assert b"gave_back" not in story.driver.save("boot")


def test_a_dry_run_says_what_it_would_do_and_asks_for_nothing_to_be_written(
    actuator: RememberingActuator,
) -> None:
    actions = acting(actuator, dry_run=True)
    story = Story(Driver(rules(), actions))
    (fire,) = story.second(0.9, b=1.5)
    assert [each.result for each in fire.outcomes] == ["done", "dry_run"]
    assert "would set" in fire.outcomes[1].text
    assert said(story.seconds(6, 0.0)) == ["ease", "clear"]
    assert all(isinstance(each, Set) and each.dry for each in actuator.asked)
    actions.close()


def test_steps_are_given_back_one_by_one_before_it_is_over(actions: Actions) -> None:
    step = Step("cpu", None, 0.5)
    story = Story(Driver(rules(ActionSpec("adjust", steps=(step,)), handle=2.0), actions))
    # what the actuator says of places is empty here, so what may be taken is not known: refused
    (fire,) = story.second(0.9, b=1.5)
    assert [each.result for each in fire.outcomes] == ["refused"]
    assert said(story.seconds(6, 0.0)) == ["ease", "clear"]


def test_without_actions_it_is_found_and_is_over_all_the_same() -> None:
    story = Story(Driver(rules()))
    steps = story.seconds(3, 0.9, b=1.5) + story.seconds(6, 0.0)
    assert said(steps) == ["fire", "ease", "clear"]
    assert all(step.outcomes == () for step in steps)


def test_an_action_that_breaks_its_word_and_raises_hides_nothing_else(
    actuator: RememberingActuator, actions: Actions
) -> None:
    class Broken:
        def fire(self, incident: Incident, spec: ActionSpec) -> Outcome:
            raise ZeroDivisionError("an action's own fault")

        ease = clear = fire

    broken = actions._replace(table={**actions.table, "schedule": Broken()})
    story = Story(Driver(rules(LOG, ActionSpec("schedule"), PREEMPT), broken))
    (fire,) = story.second(0.9, b=1.5)
    assert [(each.action, each.result) for each in fire.outcomes] == [
        ("log", "done"),
        ("schedule", "failed"),
        ("preempt", "done"),
    ]
    assert fire.outcomes[1].text == "ZeroDivisionError: an action's own fault"
    assert said(story.seconds(6, 0.0)) == ["ease", "clear"]
    assert isinstance(actuator.asked[-1], Undo)


def test_a_victim_that_is_gone_ends_its_incident(
    actuator: RememberingActuator, actions: Actions
) -> None:
    story = Story(Driver(rules(), actions))
    story.second(0.9, b=1.5)
    story.subjects = tuple(each for each in SUBJECTS if each != VICTIM)
    (clear,) = story.second(0.9, b=1.5)
    assert (clear.what, clear.why) == ("clear", "it is gone")
    assert isinstance(actuator.asked[-1], Undo)


def test_time_in_interference_is_counted_while_it_fires_and_not_while_nothing_is_known() -> None:
    story = Story(Driver(rules()))
    story.seconds(4, 0.9, b=1.5)
    assert story.driver.seconds == {"online": 4.0}
    story.second(None)
    story.seconds(20, 0.0)
    assert story.driver.engine.unknown["cpu"] >= 1
    assert story.driver.seconds["online"] < 12.0


def test_after_a_restart_it_goes_on_as_the_same_incident_and_acts_again(
    actuator: RememberingActuator, actions: Actions
) -> None:
    story = Story(Driver(rules(handle=3600.0), actions))
    (fire,) = story.second(0.9, b=1.5)
    data = story.driver.save("boot")
    story.driver = Driver(rules(handle=3600.0), actions)
    assert story.driver.load(data, "boot", float(story.now)) == []
    (again,) = story.seconds(2, 0.9, b=1.5)
    assert (again.what, [each.action for each in again.outcomes]) == ("again", ["log", "preempt"])
    assert fire.incident is not None
    assert again.incident is not None
    assert again.incident.run == fire.incident.run
    assert [each.run for each in actuator.asked] == [fire.incident.run] * 2
    with pytest.raises(KernmeshError, match="another boot"):
        Driver(rules()).load(data, "later", 1.0)


def test_other_actions_take_back_what_the_ones_before_did(
    actuator: RememberingActuator, actions: Actions
) -> None:
    story = Story(Driver(rules(), actions))
    story.second(0.9, b=1.5)
    dry = acting(actuator, dry_run=True)
    assert said(story.driver.act_by(dry)) == ["clear"]
    assert isinstance(actuator.asked[-1], Undo)
    assert said(story.second(0.9, b=1.5)) == ["fire"]
    last = actuator.asked[-1]
    assert isinstance(last, Set)
    assert last.dry
    dry.close()


def test_neither_a_restart_nor_other_actions_shorten_the_time_between_two_evictions(
    actuator: RememberingActuator, actions: Actions
) -> None:
    evict = rules(ActionSpec("evict"), handle=1.0)
    story = Story(Driver(evict, actions))
    (fire,) = story.second(0.9, b=1.5)
    assert [each.result for each in fire.outcomes] == ["done"]
    others = acting(actuator)
    story.driver.act_by(others)
    (fire,) = story.second(0.9, b=1.5)
    assert fire.outcomes[0].text == "one was asked for, the next may be in 300 s"
    data = story.driver.save("boot")
    after = acting(actuator)
    story.driver = Driver(evict, after)
    story.driver.load(data, "boot", float(story.now))
    (again, *_) = story.seconds(2, 0.9, b=1.5)
    assert again.outcomes[0].text == "one was asked for, the next may be in 300 s"
    for each in (others, after):
        assert not each.evictions.requests()
        each.close()


# --- trials


def test_offline_work_is_touched_only_after_throttling_the_suspect_has_helped(
    actuator: RememberingActuator, trying: Actions
) -> None:
    story = Story(Driver(rules(clear=30.0), trying, confirm=True))
    (fire,) = story.second(0.9, b=1.5)
    assert [(each.action, each.result) for each in fire.outcomes] == [
        ("log", "done"),
        ("confirm", "done"),
    ]
    (throttle,) = actuator.asked
    assert throttle.knob == "cpu_quota"
    assert throttle.target.path == BAD.name.strip("/")
    assert throttle.seconds is not None  # it is undone by itself whatever becomes of the agent
    steps = story.seconds(6, 0.1, b=0.1)
    assert said(steps) == ["confirmed"]
    assert [each.action for each in steps[0].outcomes] == ["preempt"]
    assert [getattr(each, "knob", None) for each in actuator.asked] == [
        "cpu_quota",
        None,
        "preempt",
    ]
    assert story.driver.verdicts == {"confirmed": 1}


def test_one_whose_throttling_does_not_help_is_acquitted_and_the_next_is_tried(
    actuator: RememberingActuator, trying: Actions
) -> None:
    story = Story(Driver(rules(clear=30.0), trying, confirm=True))
    story.second(0.9, b=1.5, q=0.5)
    steps = story.seconds(7, 0.9, b=0.1, q=0.5)
    assert said(steps) == ["acquitted"]
    acquitted = next(step for step in steps if step.what == "acquitted")
    assert acquitted.incident is not None
    assert [each.subject for each in acquitted.incident.suspects] == [QUIET]
    steps = story.seconds(7, 0.1, b=1.5, q=0.0)
    assert "confirmed" in said(steps)
    throttled = [each.target.path for each in actuator.asked if getattr(each, "seconds", None)]
    assert throttled == [BAD.name.strip("/"), QUIET.name.strip("/")]


def test_where_nobody_is_guilty_nobody_is_touched(
    actuator: RememberingActuator, trying: Actions
) -> None:
    story = Story(Driver(rules(clear=30.0), trying, confirm=True))
    steps = story.seconds(40, 0.9, b=1.5, q=0.5)
    assert said(steps) == ["fire", "acquitted", "acquitted"]
    assert not [each for each in actuator.asked if getattr(each, "knob", "") == "preempt"]


def test_a_trial_ends_with_its_incident(trying: Actions, actuator: RememberingActuator) -> None:
    story = Story(Driver(rules(), trying, confirm=True))
    story.second(0.9, b=1.5)
    story.subjects = tuple(each for each in SUBJECTS if each != VICTIM)
    assert said(story.second(0.9)) == ["clear"]
    asked = [each for each in actuator.asked if isinstance(each, Undo)]
    assert any(each.run.endswith("/confirm") for each in asked)


def test_where_the_suspect_cannot_be_throttled_that_is_said_and_nothing_is_done() -> None:
    def refuse(request: AnyRequest) -> Answer | None:
        return Answer(0, refused="is no offline cgroup")

    actions = acting(RememberingActuator(refuse), confirm=True)
    story = Story(Driver(rules(LOG, PREEMPT), actions, confirm=True))
    (fire,) = story.second(0.9, b=1.5)
    assert [(each.action, each.result) for each in fire.outcomes] == [
        ("log", "done"),
        ("confirm", "refused"),
    ]
    actions.close()
