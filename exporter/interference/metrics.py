"""kernmesh_interference_*: rules' states, findings, suspects, actions, what it costs.

The rule: what is shown is what decided, as of the last tick; of incidents the newest MOST_SHOWN
are shown one by one, the rest is counted.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import Metric

from exporter.interference.board import Board, Shown
from exporter.interference.model import Phase, Subject
from exporter.metrics.table import FastFamily, Kind, Shape

MOST_SHOWN = 100
MOST_SUSPECTS = 3
_PHASES: tuple[Phase, ...] = ("pending", "firing", "recovering")
_CLASSES = ("online", "offline", "node", "app")


def _shape(kind: Kind, name: str, text: str, *labels: str) -> Shape:
    return Shape(kind, f"kernmesh_interference_{name}", text, labels)


_INCIDENT = ("rule", "run", "subject")
RULES = _shape("gauge", "rules", "Rules that are asked.")
SUBJECTS = _shape("gauge", "subjects", "Whom rules may be asked of, by class.", "class")
STATES = _shape("gauge", "rule_subjects", "Subjects of the rule in that state.", "rule", "state")
FINDING = _shape("gauge", "finding_value", "What is found, and decided.", *_INCIDENT, "signal")
THRESHOLD = _shape("gauge", "finding_threshold", "What it was held against.", *_INCIDENT, "signal")
SCORE = _shape(
    "gauge", "suspect_score", "How likely the suspect is the cause, -1 to 1.", *_INCIDENT, "suspect"
)
HIDDEN = _shape("gauge", "incidents_not_shown", "Incidents beyond those shown one by one.")
BEGUN = _shape("counter", "incidents_total", "Incidents that began.", "rule")
ACTIONS = _shape(
    "counter", "actions_total", "Steps of actions, by what became of them.", "action", "result"
)
VERDICTS = _shape(
    "counter", "verdicts_total", "Suspects throttled to find out, by verdict.", "verdict"
)
SECONDS = _shape(
    "counter", "seconds_total", "Time in which a subject of the class was hurt.", "class"
)
UNDECIDED = _shape(
    "counter", "undecided_total", "Checks that could not be told for want of readings.", "rule"
)
FAULTS = _shape("counter", "faults_total", "Checks in which a detector failed.", "rule")
CHECKS = _shape("counter", "checks_total", "Subjects asked, all rules together.")
TICKS = _shape("counter", "ticks_total", "Ticks of detection.")
CPU = _shape("counter", "cpu_seconds_total", "CPU that ticks took, actions included.")
SCHEDULE = _shape("gauge", "schedule_wanted", "Whether it asks to send no more work here.")
EVICTIONS = _shape("gauge", "eviction_requests", "Evictions that it asks the labeller for.")
DRY = _shape("gauge", "dry_run", "Whether it only says what it would do.")
RESTARTS = _shape("counter", "actuator_restarts_total", "Actuators that ended and were replaced.")
WEBHOOK = _shape("counter", "webhook_notices_total", "Notices to webhooks, by result.", "result")
WAITING = _shape("gauge", "webhook_waiting", "Notices that wait for their receiver.")
SHAPES = tuple(each for each in list(vars().values()) if isinstance(each, Shape))


class Doing(NamedTuple):
    """What the board does not know. `webhook` are notices delivered, dropped and waiting."""

    dry_run: bool
    schedule: bool
    evictions: int
    actuator_restarts: int
    webhook: tuple[int, int, int]


class InterferenceCollector:
    def __init__(self, board: Callable[[], Board], doing: Callable[[], Doing]) -> None:
        self._board, self._doing = board, doing

    def collect(self) -> Iterable[Metric]:
        board, doing = self._board(), self._doing()
        yield _one(RULES, len(board.rules))
        yield _one(DRY, doing.dry_run)
        yield _one(SCHEDULE, doing.schedule)
        yield _one(EVICTIONS, doing.evictions)
        yield _one(RESTARTS, doing.actuator_restarts)
        yield _by(SUBJECTS, {**dict.fromkeys(_CLASSES, 0), **board.subjects})
        states: dict[tuple[str, str], float] = {
            (rule, state): board.phases.get((rule, state), 0)
            for rule in board.rules
            for state in _PHASES
        }
        if states:
            yield FastFamily.of(STATES, states)
        yield from _incidents(board.incidents[:MOST_SHOWN])
        yield _one(HIDDEN, max(len(board.incidents) - MOST_SHOWN, 0))
        for shape, counts in ((BEGUN, board.begun), (UNDECIDED, board.undecided),
                              (FAULTS, board.faults)):  # fmt: skip
            known = {rule: counts.get(rule, 0) for rule in (*board.rules, *counts)}
            if known:
                yield _by(shape, known)
        if board.actions:
            yield FastFamily.of(ACTIONS, board.actions)
        if board.verdicts:
            yield _by(VERDICTS, board.verdicts)
        yield _by(SECONDS, {**dict.fromkeys(_CLASSES, 0.0), **board.seconds})
        yield _one(CHECKS, board.checks)
        yield _one(TICKS, board.ticks)
        yield _one(CPU, board.cpu_seconds)
        delivered, dropped, waiting = doing.webhook
        yield _by(WEBHOOK, {"delivered": delivered, "dropped": dropped})
        yield _one(WAITING, waiting)


def _incidents(shown: Iterable[Shown]) -> Iterable[Metric]:
    values: dict[tuple[str, ...], float] = {}
    thresholds: dict[tuple[str, ...], float] = {}
    scores: dict[tuple[str, ...], float] = {}
    for each in shown:
        incident = each.incident
        own = incident.rule, incident.run, name_of(incident.subject)
        finding = incident.finding
        values[(*own, finding.signal)] = finding.value
        thresholds[(*own, finding.signal)] = finding.threshold
        for suspect in incident.suspects[:MOST_SUSPECTS]:
            scores[(*own, name_of(suspect.subject))] = suspect.score
    for shape, rows in ((FINDING, values), (THRESHOLD, thresholds), (SCORE, scores)):
        if rows:
            yield FastFamily.of(shape, rows)


def name_of(subject: Subject) -> str:
    """namespace/pod where that is known, else the cgroup's path or the job's name; "node"."""
    return subject.pod or subject.name or ("node" if subject.scope == "node" else "all jobs")


def _one(shape: Shape, value: float) -> Metric:
    return FastFamily.of(shape, {(): float(value)})


def _by(shape: Shape, rows: Mapping[str, float]) -> Metric:
    return FastFamily.of(shape, {(name,): float(value) for name, value in rows.items()})
