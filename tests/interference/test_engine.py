"""The engine over time: readings in, transitions out."""

from collections.abc import Sequence
from itertools import pairwise

import pytest

from exporter.errors import KernmeshError
from exporter.interference.asking import ask
from exporter.interference.engine import Engine
from exporter.interference.model import NODE, Finding, Rule, Subject, Suspect, View
from exporter.interference.states import Transition
from tests.interference.scripted import (
    EVICT,
    LOG,
    PREEMPT,
    Scripted,
    container,
    entry,
    rule,
    ruleset,
    view_at,
)


def run(
    engine: Engine,
    seconds: range,
    subjects: Sequence[Subject] = (NODE,),
    steps_to_settle: int | None = 0,
    every: float = 1.0,
) -> list[Transition]:
    """Ticks, with a driver whose easing finds nothing left after so many steps; None: never."""
    told: list[Transition] = []
    left: dict[str, int] = {}
    for second in seconds:
        now = second * every
        for each in engine.tick(now, subjects, view_at(now), wall=1000.0 + now):
            told.append(each)
            if each.incident is None or each.what != "ease" or steps_to_settle is None:
                continue
            key = each.incident.run
            left[key] = left.get(key, steps_to_settle) - 1
            if left[key] < 0 and (over := engine.settle(key, now)) is not None:
                told.append(over)
    return told


def story(told: Sequence[Transition]) -> str:
    return " ".join(f"{each.at:g}:{each.what}" for each in told)


def over(the_rule: Rule, length: int, steps_to_settle: int | None = 0) -> str:
    return story(run(Engine(ruleset(the_rule)), range(length), steps_to_settle=steps_to_settle))


# `handle_interval` 3, `recover_interval` 2, checks every second


@pytest.mark.parametrize(
    ("script", "hold", "clear", "want"),
    [
        (".....", 0, 2, ""),
        ("??????", 0, 2, ""),
        ("!!!!!!", 0, 2, ""),
        (".###.", 0, 2, "1:fire 6:ease 6:clear"),
        (".###.", 0, 5, "1:fire 9:ease 9:clear"),
        (".########.", 0, 2, "1:fire 4:again 7:again 11:ease 11:clear"),
        (".###.", 0, None, "1:fire 6:ease 6:clear"),  # no clear: recover_interval
        (".###.", 2, 2, "1:pending 3:fire 6:ease 6:clear"),
        (".##.##.", 2, 2, "1:pending 3:calm 4:pending 6:calm"),
        (".##.####.", 2, 2, "1:pending 3:calm 4:pending 6:fire 10:ease 10:clear"),
        # unknown holds the state, and is neither quiet nor held
        (".#??????.", 0, 2, "1:fire 10:ease 10:clear"),
        (".#.?.?.?...", 0, 2, "1:fire 10:ease 10:clear"),
        (".##??#.", 3, 2, "1:pending 6:calm"),
        (".##!!##.", 0, 2, "1:fire 5:again 9:ease 9:clear"),
        # it holds again before all was quiet for long enough
        (".#.#.#.#....", 0, 2, "1:fire 5:again 10:ease 10:clear"),
    ],
)
def test_readings_over_time_give_these_transitions(
    script: str, hold: float, clear: float | None, want: str
) -> None:
    assert over(rule(entry(Scripted(script), hold=hold, clear=clear)), len(script) + 8) == want


def test_each_step_back_waits_for_recover_interval_and_the_last_ends_it() -> None:
    story_of = over(rule(entry(Scripted(".##."), clear=2)), 14, steps_to_settle=3)
    assert story_of == "1:fire 5:ease 7:ease 9:ease 11:ease 11:clear"


def test_what_was_never_settled_is_eased_on() -> None:
    assert over(rule(entry(Scripted(".##."))), 10, None) == "1:fire 5:ease 7:ease 9:ease"


def test_a_relapse_is_the_same_incident_and_fires_again_at_its_own_interval() -> None:
    engine = Engine(ruleset(rule(entry(Scripted(".#..#.###......"), clear=1))))
    told = run(engine, range(16), steps_to_settle=2)
    assert story(told) == "1:fire 3:ease 4:relapse 7:again 10:ease 12:ease 12:clear"
    assert len({each.incident.run for each in told if each.incident}) == 1
    assert [each.before for each in told] == [
        "ok", "firing", "recovering", "firing", "firing", "recovering", "recovering",
    ]  # fmt: skip


def test_cooldown_keeps_it_pending_and_nothing_is_done() -> None:
    cooling = rule(entry(Scripted(".#...######")), cooldown=6.0)
    assert over(cooling, 16) == "1:fire 4:ease 4:clear 5:pending 10:fire 13:again"


def test_in_cooldown_what_ends_was_nothing() -> None:
    assert over(rule(entry(Scripted(".#...#....")), cooldown=60.0), 12) == (
        "1:fire 4:ease 4:clear 5:pending 6:calm"
    )


def test_checks_far_apart_take_the_detectors_word_for_since_when() -> None:
    """Between two checks it broke: the detector that looks back knows, hold begins anew."""
    broken = rule(entry(Scripted("#" * 13 + "." + "#" * 30), hold=15.0), check_interval=10.0)
    engine = Engine(ruleset(broken))
    told = run(engine, range(44))
    assert [each.what for each in told] == ["pending", "fire"]
    assert told[1].at - 14 >= 15.0


def test_any_and_all_are_asked_as_they_say() -> None:
    yes, no, open_ = Scripted("#"), Scripted("."), Scripted("?")
    for any_of, all_of, holds in [
        ([no, yes], [], True),
        ([open_, yes], [], True),
        ([no, open_], [], None),
        ([no, no], [], False),
        ([], [yes, yes], True),
        ([], [yes, open_], None),
        ([], [open_, no], False),
        ([yes], [yes, yes], True),
        ([yes], [no], False),
        ([no], [open_], False),
        ([open_], [yes], None),
        ([yes], [open_], None),
    ]:
        answer = ask(entry(*any_of, all_of=all_of), view_at(0.0)(NODE))
        assert (answer if answer is None else bool(answer)) is holds


def test_what_several_say_together_holds_since_the_latest_of_them() -> None:
    both = entry(Scripted(".####"), all_of=[Scripted("...##"), Scripted("..###")])
    finding = ask(both, view_at(4.0)(NODE))
    assert finding
    assert finding.since == 3.0
    assert finding.text == "x is 2 and x is 2 and x is 2"


def test_an_entry_waits_until_nothing_of_its_rule_holds() -> None:
    first, second = entry(Scripted(".####....")), entry(Scripted(".##......"), actions=[EVICT])
    told = run(Engine(ruleset(rule(first, second))), range(12))
    assert sorted((each.at, each.entry, each.what) for each in told) == [
        (1, 0, "fire"),
        (1, 1, "fire"),
        (4, 0, "again"),
        (7, 0, "clear"),
        (7, 0, "ease"),
        (7, 1, "clear"),
        (7, 1, "ease"),
    ]


def test_recover_rules_hold_it_until_they_hold_and_their_actions_run_backwards() -> None:
    recover = (entry(Scripted("....?....#."), actions=[LOG]),)
    told = run(Engine(ruleset(rule(entry(Scripted(".##.")), recover=recover))), range(16))
    assert story(told) == "1:fire 9:ease 9:clear"
    assert [each.actions for each in told] == [(PREEMPT,), (LOG,), (PREEMPT,)]


def test_recover_rules_without_actions_run_the_entrys_own_backwards() -> None:
    recover = (entry(Scripted("#"), actions=[]),)
    told = run(Engine(ruleset(rule(entry(Scripted(".##.")), recover=recover))), range(8))
    assert [each.actions for each in told] == [(PREEMPT,)] * 3


def test_who_is_gone_has_its_incident_ended_and_nothing_is_left_of_it() -> None:
    one, other = container("/a"), container("/b")
    engine = Engine(ruleset(rule(entry(Scripted("#")), scope="container", work=None)))
    told = run(engine, range(4), (one, other))
    assert sorted(each.subject.name for each in told if each.what == "fire") == ["/a", "/b"]
    told = engine.tick(4.0, (other,), view_at(4.0))
    assert [(each.what, each.subject, each.why) for each in told if each.what == "clear"] == [
        ("clear", one, "it is gone")
    ]
    assert {standing.subject for standing in engine.standing()} == {other}


def test_an_incident_names_what_fired_and_who_is_suspected() -> None:
    suspect = Suspect(container("/batch"), 0.7, "cpu_usage", None, "moves with it")
    engine = Engine(ruleset(rule(entry(Scripted("#")), severity="critical")))
    fired = engine.tick(7.0, (NODE,), view_at(7.0), lambda view, finding: (suspect,), wall=99.0)
    fired += engine.tick(8.0, (NODE,), view_at(8.0), lambda view, finding: (suspect,), wall=100.0)
    incident = fired[0].incident
    assert incident is not None
    assert incident.suspects == (suspect,)
    assert (incident.rule, incident.severity, incident.finding.text) == ("r", "critical", "x is 2")
    assert engine.amend(incident.run, ()) == incident._replace(suspects=())
    assert engine.amend("nobody", ()) is None
    assert engine.settle(incident.run, 9.0) is None  # it does not recover yet


def test_a_rule_that_raises_hides_no_other_and_is_counted() -> None:
    bad = rule(entry(Scripted("!")), name="bad")
    good = rule(entry(Scripted("#")), name="good")
    dark = rule(entry(Scripted("?")), name="dark")
    engine = Engine(ruleset(bad, good, dark))
    told = run(engine, range(4))
    assert {each.rule.name for each in told} == {"good"}
    assert engine.faults["bad"] == 3
    assert engine.fault_texts == {"bad": "ZeroDivisionError: a detector's own fault"}
    assert dict(engine.unknown) == {"bad": 3, "dark": 3}


def test_only_its_own_subjects_are_asked() -> None:
    subjects = (
        NODE,
        container("/kubepods/a"),
        container("/kubepods/b", pod="shop/cart-1"),
        container("/kubepods/c")._replace(work="offline"),
        Subject("app", "search"),
        Subject("app", ""),
    )
    rules = [
        rule(entry(Scripted("#")), name="node"),
        rule(entry(Scripted("#")), name="online", scope="container", work="online"),
        rule(entry(Scripted("#")), name="all", scope="container", work=None),
        rule(entry(Scripted("#")), name="pod", scope="container", subjects="^shop/"),
        rule(entry(Scripted("#")), name="jobs", scope="app"),
        rule(entry(Scripted("#")), name="together", scope="app", subjects="^$"),
    ]
    told = run(Engine(ruleset(*rules)), range(2), subjects)
    asked: dict[str, list[str]] = {}
    for each in told:
        asked.setdefault(each.rule.name, []).append(each.subject.name)
    assert {name: sorted(subjects) for name, subjects in asked.items()} == {
        "node": [""],
        "online": ["/kubepods/a", "/kubepods/b"],
        "all": ["/kubepods/a", "/kubepods/b", "/kubepods/c"],
        "pod": ["/kubepods/b"],
        "jobs": ["search"],
        "together": [""],
    }


def test_each_subject_is_asked_once_in_each_interval_and_not_all_at_once() -> None:
    subjects = tuple(container(f"/pod{i}") for i in range(100))
    engine = Engine(ruleset(rule(entry(Scripted(".")), scope="container", check_interval=10.0)))
    counts = []
    for second in range(40):
        engine.tick(float(second), subjects, view_at(float(second)))
        counts.append(engine.checks)
    assert counts[39] - counts[9] == 300
    assert max(b - a for a, b in pairwise(counts)) < 30


def test_a_late_tick_asks_each_once() -> None:
    engine = Engine(ruleset(rule(entry(Scripted(".")))))
    for now in (0.0, 1.0, 100.0, 101.02, 101.98):
        engine.tick(now, (NODE,), view_at(now))
    assert engine.checks in (4, 5)


# --- reload and restart


def test_a_reload_keeps_what_did_not_change_and_ends_what_did() -> None:
    kept, gone = rule(entry(Scripted("#")), name="kept"), rule(entry(Scripted("#")), name="gone")
    engine = Engine(ruleset(kept, gone))
    fired = run(engine, range(3))
    new = rule(entry(Scripted("#")), name="new")
    told = engine.replace(ruleset(new, kept._replace(place="rules.yaml:9")), 3.0)
    assert [(each.what, each.rule.name, each.why) for each in told] == [
        ("clear", "gone", "its rule changed")
    ]
    told = run(engine, range(3, 6))
    assert {(each.what, each.rule.name) for each in told} >= {("fire", "new"), ("again", "kept")}
    before = next(each.incident for each in fired if each.rule.name == "kept")
    after = next(each.incident for each in told if each.rule.name == "kept")
    assert before is not None
    assert after is not None
    assert before.run == after.run


def test_states_survive_a_restart_in_one_boot() -> None:
    rules = ruleset(rule(entry(Scripted("###..."), actions=[PREEMPT]), cooldown=60.0))
    first = Engine(rules)
    begun = run(first, range(2))
    saved = first.dump("boot-1", 2.0)
    second = Engine(rules)
    assert second.load(saved, "boot-1", 2.5) == []
    told = run(second, range(3, 9))
    assert story(begun + told) == "1:fire 6:ease 6:clear"
    assert len({each.incident.run for each in begun + told if each.incident}) == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "Input data was truncated"),
        (b"{}", "missing required field"),
        (b'{"format":2,"boot":"b","at":0,"states":[]}', "Invalid"),
        (b'{"format":1,"boot":"other","at":0,"states":[]}', "of another boot"),
        (b'{"format":1,"boot":"b","at":99,"states":[]}', "of a later time than now"),
        (
            b'{"format":1,"boot":"b","at":0,"states":[{"rule":"r","subject":["node","","","",null],'
            b'"entry":0,"phase":"firing","since":0,"asked":0,"held":0,"quiet":null,"handled":0,'
            b'"eased":0,"cleared":null,"incident":null}]}',
            "contradict themselves",
        ),
    ],
)
def test_states_that_are_not_to_be_believed_are_refused_whole(data: bytes, why: str) -> None:
    engine = Engine(ruleset(rule(entry(Scripted("#")))))
    with pytest.raises(KernmeshError, match=why):
        engine.load(data, "b", 10.0)
    assert list(engine.standing()) == []


def test_saved_incidents_of_rules_that_are_no_more_are_given_back() -> None:
    first = Engine(ruleset(rule(entry(Scripted("#")), name="old")))
    fired = run(first, range(2))
    second = Engine(ruleset(rule(entry(Scripted("#")), name="new")))
    assert second.load(first.dump("b", 2.0), "b", 2.0) == [fired[0].incident]


def test_after_a_restart_who_is_not_found_yet_is_waited_for_and_then_ended() -> None:
    rules = ruleset(rule(entry(Scripted("#")), scope="container"))
    first = Engine(rules)
    run(first, range(2), (container("/a"), container("/b")))
    second = Engine(rules)
    second.load(first.dump("b", 2.0), "b", 2.0)
    told = run(second, range(3, 16), (container("/a"),))
    assert [each.what for each in told if each.subject.name == "/b"] == []
    told = run(second, range(16, 20), (container("/a"),))
    assert [each.what for each in told if each.subject.name == "/b"] == ["clear"]


def test_switching_off_ends_everything_once() -> None:
    engine = Engine(ruleset(rule(entry(Scripted("#")))))
    run(engine, range(2))
    assert [each.what for each in engine.end_all(2.0, "switched off")] == ["clear"]
    assert engine.end_all(2.0, "switched off") == []
    assert list(engine.standing()) == []


def test_a_ranking_that_raises_is_its_rule_s_fault_and_hides_no_incident() -> None:
    def suspects(victim: View, finding: Finding) -> tuple[Suspect, ...]:
        raise ZeroDivisionError("a ranking's own fault")

    engine = Engine(ruleset(rule(entry(Scripted("#")), name="a"), rule(entry(Scripted("#")))))
    told = [t for now in (0.0, 1.0) for t in engine.tick(now, (NODE,), view_at(now), suspects)]
    assert sorted((each.rule.name, each.what) for each in told) == [("a", "fire"), ("r", "fire")]
    assert engine.fault_texts["a"] == "ZeroDivisionError: a ranking's own fault"
    assert engine.faults == {"a": 1, "r": 1}
