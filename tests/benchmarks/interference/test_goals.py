"""The experiment's goals: which of them the shipped rules met, told of what was measured only."""

from benchmarks.interference.goals import goals_table
from benchmarks.interference.methods import Method
from benchmarks.interference.remedies import Trial, Trials
from benchmarks.interference.report import Judged
from benchmarks.interference.scores import Alarm, Detected, Event, Outcome
from exporter.interference.model import RuleSet

GUILTY = "kubepods/offline/pod1"
OURS = Method("ours", "ours", lambda basis, tuned: RuleSet((), (), ()), names=True)
THEIRS = OURS._replace(names=False)


def outcome(*delays: float | None, false_on_calm: int = 0) -> Outcome:
    """Harmful events of which each was found after so long or not at all; calm ones with alarms."""
    detected = []
    for number, delay in enumerate(delays):
        start = 100.0 * number
        event = Event("cpu", 1, GUILTY, start, start + 10, 3.0, "harm")
        found = None if delay is None else start + delay
        alarm = None if found is None else Alarm(found, found + 5, (GUILTY,), (GUILTY,))
        detected.append(Detected(event, alarm))
    calm = Event("load x2", 0, "", 5000, 5010, 1.0, "calm")
    wrong = tuple(Alarm(5001.0, 5002.0, (), ()) for _ in range(false_on_calm))
    detected += [Detected(calm, alarm) for alarm in wrong]
    return Outcome(tuple(detected), wrong, 3600.0)


def judged(found: Outcome) -> list[Judged]:
    return [Judged(THEIRS, 0.0, (outcome(None),)), Judged(OURS, 0.0, (found,))]


def test_only_the_shipped_rules_are_held_to_them_and_f1_only_without_slo() -> None:
    found = {"without": judged(outcome(1.0, 2.0, 9.0)), "slo": judged(outcome(1.0, None))}
    rows = {row[0]: row[1:] for row in goals_table(found, None).rows}
    assert rows == {
        "without slo: F1": ("1.00", "≥ 0.95", "yes"),
        "without slo: delay, median": ("2.0 s", "≤ 5 s", "yes"),
        "without slo: false alarms on the negatives": ("0", "0", "yes"),
        "without slo: antagonist first": ("100 %", "≥ 90 %", "yes"),
        "with slo: delay, median": ("1.0 s", "≤ 5 s", "yes"),
        "with slo: false alarms on the negatives": ("0", "0", "yes"),
        "with slo: antagonist first": ("100 %", "≥ 90 %", "yes"),
    }


def test_what_was_missed_says_no() -> None:
    found = {"without": judged(outcome(6.0, None, false_on_calm=2))}
    rows = {row[0].partition(": ")[2]: row[1:] for row in goals_table(found, None).rows}
    assert rows["F1"] == ("0.40", "≥ 0.95", "no")
    assert rows["delay, median"] == ("6.0 s", "≤ 5 s", "no")
    assert rows["false alarms on the negatives"] == ("2", "0", "no")


def test_actions_are_held_to_the_worst_that_a_scored_antagonist_did_under_them() -> None:
    def trial(kind: str, remedy: str, redis: float, http: float) -> Trial:
        return Trial(kind, 3, remedy, {"redis": redis, "http": http}, "")

    done = [
        trial("cpu", "solo", 0.002, 0.001),
        trial("cpu", "rules", 0.0024, 0.001),
        trial("disk", "rules", 0.002, 0.004),
        trial("disk", "nothing", 0.2, 0.4),
        trial("network", "rules", 0.2, 0.4),  # no counter sees it
    ]
    table = goals_table({}, Trials([1.0], done))
    assert table.rows == (
        ("p99 with actions on, worst of 2 antagonists", "4 × (disk 3)", "≤ 1.3 × solo", "no"),
    )
