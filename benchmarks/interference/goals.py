"""Issue 6's goals, beside what the shipped rules reached. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.interference.antagonists import SCORED
from benchmarks.interference.remedies import Trials, solo_of
from benchmarks.interference.report import Judged, is_scored
from benchmarks.interference.scores import score
from benchmarks.tables import Table, at_least, at_most

_TITLES = {"without": "without slo", "slo": "with slo"}
_Row = tuple[str, str, str, str]


def goals_table(judged: Mapping[str, Sequence[Judged]], trials: Trials | None) -> Table:
    """Of what was recorded; what was not measured has no row."""
    rows: list[_Row] = []
    for key, title in _TITLES.items():
        for each in judged.get(key, ()):
            if each.method.names:
                rows += _noticed(each, title, f1_counts=key == "without")
    if trials is not None:
        rows += _eased(trials)
    return Table("The goals", ("the shipped rules", "measured", "goal", "met"), tuple(rows))


def _noticed(each: Judged, title: str, f1_counts: bool) -> Iterator[_Row]:
    found = score(each.outcomes, is_scored)
    raised = sum(
        one.event.label == "calm" and one.alarm is not None
        for outcome in each.outcomes
        for one in outcome.detected
    )
    if found.f1 is not None and f1_counts:
        yield f"{title}: F1", f"{found.f1:.2f}", *at_least(found.f1, 0.95)
    if found.delay is not None:
        yield f"{title}: delay, median", f"{found.delay:.1f} s", *at_most(found.delay, 5, "s")
    yield f"{title}: false alarms on the negatives", str(raised), *at_most(raised, 0)
    if found.first is not None:
        share = found.first * 100
        yield f"{title}: antagonist first", f"{share:.0f} %", *at_least(share, 90, "%")


def _eased(trials: Trials) -> Iterator[_Row]:
    """p99 under attack, of the service that suffers more, where the rules answer."""
    solo = solo_of(trials)
    worst = {
        f"{each.kind} {each.intensity}": max(each.p99[name] / solo[name] for name in solo)
        for each in trials.done
        if each.remedy == "rules" and each.kind in SCORED and solo
    }
    if worst:
        most = max(worst, key=lambda kind: worst[kind])
        text = f"{worst[most]:.2g} × ({most})"
        goal = at_most(worst[most], 1.3, "× solo")
        yield f"p99 with actions on, worst of {len(worst)} antagonists", text, *goal
