"""What detection shows at one tick, as values: for metrics, for /interference, for its page.

The rule: made whole by the thread that drives, given to any; nothing in it changes afterwards.
"""

from collections.abc import Mapping
from typing import NamedTuple

from exporter.interference.driver import Driver
from exporter.interference.model import Incident, Outcome, Phase


class Shown(NamedTuple):
    """An incident that is not over. `since` (wall) is since when it is in this phase."""

    incident: Incident
    phase: Phase
    since: float
    outcomes: tuple[Outcome, ...]


class Board(NamedTuple):
    """`wall` is the tick's, 0 before the first. `phases` are how many subjects are not ok, by rule
    and phase; `cpu_seconds` what ticks took, in all."""

    wall: float = 0.0
    rules: tuple[str, ...] = ()
    phases: Mapping[tuple[str, Phase], int] = {}
    incidents: tuple[Shown, ...] = ()
    recent: tuple[tuple[Incident, float], ...] = ()
    actions: Mapping[tuple[str, str], int] = {}
    begun: Mapping[str, int] = {}
    verdicts: Mapping[str, int] = {}
    seconds: Mapping[str, float] = {}
    undecided: Mapping[str, int] = {}
    faults: Mapping[str, int] = {}
    fault_texts: Mapping[str, str] = {}
    checks: int = 0
    ticks: int = 0
    cpu_seconds: float = 0.0
    subjects: Mapping[str, int] = {}


class Costs(NamedTuple):
    ticks: int
    cpu_seconds: float


def board(driver: Driver, wall: float, costs: Costs, subjects: Mapping[str, int]) -> Board:
    phases: dict[tuple[str, Phase], int] = {}
    shown: list[Shown] = []
    for standing in driver.engine.standing():
        state = standing.state
        key = standing.rule.name, state.phase
        phases[key] = phases.get(key, 0) + 1
        if state.incident is not None:
            since = wall - (driver.now - state.since)
            outcomes = driver.last_outcomes.get(state.incident.run, ())
            shown.append(Shown(state.incident, state.phase, since, outcomes))
    shown.sort(key=lambda each: (-each.incident.wall, each.incident.run))
    engine = driver.engine
    return Board(
        wall=wall,
        rules=tuple(rule.name for rule in engine.rules),
        phases=phases,
        incidents=tuple(shown),
        recent=tuple(driver.recent),
        actions=dict(driver.actions_total),
        begun=dict(driver.incidents_total),
        verdicts=dict(driver.verdicts),
        seconds=dict(driver.seconds),
        undecided=dict(engine.unknown),
        faults=dict(engine.faults),
        fault_texts=dict(engine.fault_texts),
        checks=engine.checks,
        ticks=costs.ticks,
        cpu_seconds=costs.cpu_seconds,
        subjects=subjects,
    )
