"""What GET /interference answers: its JSON as structs, made of a Board. `kernmesh schema
interference` publishes it; the labeller reads `schedule` and `evictions` of it.

The rule: a key is never renamed or given another meaning; readers ignore unknown keys.
"""

from collections.abc import Mapping, Sequence

import msgspec

from exporter.interference.board import Board, Shown
from exporter.interference.model import Incident, Phase, Scope, Severity, Subject, WorkClass

FORMAT = 1


class SubjectJson(msgspec.Struct, frozen=True, rename={"work": "class"}):
    """`name`: the cgroup's path below the mounts, a job's name, "" for the node. `pod` is
    namespace/name, `uid` the pod's; "" where unknown. `class` is null where nobody says."""

    scope: Scope
    name: str
    pod: str = ""
    uid: str = ""
    work: WorkClass | None = None


class FindingJson(msgspec.Struct, frozen=True):
    """`value` against `threshold`, in `unit`, of `signal`; `text` says it for a person."""

    signal: str
    value: float
    threshold: float
    unit: str
    text: str


class SuspectJson(msgspec.Struct, frozen=True):
    """`score` −1 to 1; `preemptions` of the victim by it, null where nobody counts."""

    subject: SubjectJson
    score: float
    signal: str
    preemptions: float | None
    evidence: str


class OutcomeJson(msgspec.Struct, frozen=True):
    """`result`: done, dry_run, nothing, refused, failed."""

    action: str
    result: str
    text: str


class IncidentJson(msgspec.Struct, frozen=True, omit_defaults=True):
    """`run` joins it with the log. `began` and `ended` in seconds since the epoch; `state` is
    firing, recovering, or ok where it is over. `actions` are what was done last."""

    run: str
    rule: str
    severity: Severity
    state: Phase
    subject: SubjectJson
    began: float
    finding: FindingJson
    suspects: tuple[SuspectJson, ...] = ()
    actions: tuple[OutcomeJson, ...] = ()
    ended: float | None = None


class EvictionJson(msgspec.Struct, frozen=True):
    """To be evicted, with `uid` as precondition. `asked` in seconds since the epoch."""

    run: str
    namespace: str
    pod: str
    uid: str
    grace_seconds: int
    reason: str
    asked: float


class InterferenceJson(msgspec.Struct, frozen=True):
    """`enabled`: rules are configured; all else is empty where not. `time` is the last tick's,
    seconds since the epoch, 0 before the first: what is older than some ticks says nothing of
    now. `schedule`: no more work should be sent to this node, and `reasons` why, by run. `problems`
    are lines for a person."""

    format: int
    node: str
    enabled: bool
    dry_run: bool
    time: float
    rules: int
    schedule: bool
    reasons: dict[str, str]
    evictions: tuple[EvictionJson, ...]
    incidents: tuple[IncidentJson, ...]
    recent: tuple[IncidentJson, ...]
    problems: tuple[str, ...]


class Asked(msgspec.Struct, frozen=True):
    """What others are asked for. Evictions in EvictionRequest's order."""

    reasons: Mapping[str, str] = {}
    evictions: Sequence[tuple[str, str, str, str, int, str, float]] = ()


def answer(
    board: Board | None,
    node: str,
    dry_run: bool,
    asked: Asked = Asked(),  # noqa: B008 # a value
    problems: Sequence[str] = (),
) -> InterferenceJson:
    """`board` None: no rules are configured."""
    shown = board or Board()
    return InterferenceJson(
        format=FORMAT,
        node=node,
        enabled=board is not None,
        dry_run=dry_run,
        time=shown.wall,
        rules=len(shown.rules),
        schedule=bool(asked.reasons),
        reasons=dict(asked.reasons),
        evictions=tuple(EvictionJson(*each) for each in asked.evictions),
        incidents=tuple(map(_standing, shown.incidents)),
        recent=tuple(_over(incident, wall) for incident, wall in reversed(shown.recent)),
        problems=tuple(problems),
    )


def to_json(answer: InterferenceJson) -> bytes:
    return msgspec.json.encode(answer)


def _standing(shown: Shown) -> IncidentJson:
    actions = tuple(OutcomeJson(*each) for each in shown.outcomes)
    return _incident(shown.incident, shown.phase, actions=actions)


def _over(incident: Incident, wall: float) -> IncidentJson:
    return _incident(incident, "ok", ended=wall)


def _incident(
    incident: Incident,
    state: Phase,
    actions: tuple[OutcomeJson, ...] = (),
    ended: float | None = None,
) -> IncidentJson:
    finding = incident.finding
    return IncidentJson(
        run=incident.run,
        rule=incident.rule,
        severity=incident.severity,
        state=state,
        subject=_subject(incident.subject),
        began=incident.wall,
        finding=FindingJson(
            finding.signal, finding.value, finding.threshold, finding.unit, finding.text
        ),
        suspects=tuple(
            SuspectJson(_subject(each.subject), each.score, each.signal, each.preemptions,
                        each.evidence)
            for each in incident.suspects
        ),
        actions=actions,
        ended=ended,
    )  # fmt: skip


def _subject(subject: Subject) -> SubjectJson:
    return SubjectJson(*subject)
