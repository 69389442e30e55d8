"""Central labelling: an hour of 5,000 made-up nodes against dynamicScheduler's algorithm, and what
rounds cost. `python -m benchmarks pressure`; docs/pressure.md has its tables.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from statistics import median
from typing import NamedTuple

from benchmarks.pressure_simulation.cost import cost_table
from benchmarks.pressure_simulation.defaults import cost_of
from benchmarks.pressure_simulation.hour import OUTAGE, Outcome, hour
from benchmarks.pressure_simulation.load import LOOP, THRESHOLD, WARM, Usage, usage
from benchmarks.tables import NO_GOALS, Table, met, show
from exporter.labeller.config import Band, LabellerConfig
from exporter.pressure.levels import START, Settings, advance

NODES, GRID_NODES = 5000, 200
GRID_SEEDS, SEEDS = range(1, 6), range(6, 11)
ENTER = ((2, 3), (3, 4), (4, 5), (5, 8), (8, 10))
HOLD, LOW = (20.0, 60.0, 300.0), (79.0, 78.0, 75.0, 70.0)
EXPIRE = 600.0


def default() -> Settings:
    """labeller.yaml's."""
    config, band = LabellerConfig(), Band()
    enter, hold = config.enter, float(config.hold)
    return Settings(THRESHOLD, band.end, enter.of, enter.at_least, hold, EXPIRE)


AGENTS = Settings(THRESHOLD, 70.0, 10, 8, 300.0, EXPIRE)
"""agent.yaml's."""


def alone(usages: Sequence[Usage], settings: Settings) -> tuple[float, int]:
    """Wrong seconds and transitions of the levels alone, with no restart, no limit of writes, and
    nothing written in the outage: what the grid compares."""
    wrong = transitions = 0
    for each in usages:
        state, stands = START, False
        for index, value in enumerate(each.seen):
            before, state = state, advance(state, index * LOOP, value, settings)
            transitions += index >= WARM and state.level != before.level
            if index not in OUTAGE:
                stands = state.level == "pressed"
            wrong += index >= WARM and stands != each.truth[index]
    return wrong * LOOP, transitions


def words(settings: Settings) -> str:
    return f"{settings.at_least} of {settings.of}, {settings.hold:.0f} s, {settings.low:.0f}"


def grid() -> tuple[Table, Settings]:
    usages = [usage(seed, node) for seed in GRID_SEEDS for node in range(GRID_NODES)]
    found = []
    for (at_least, of), hold, low in product(ENTER, HOLD, LOW):
        settings = Settings(THRESHOLD, low, of, at_least, hold, EXPIRE)
        found.append((*alone(usages, settings), settings))
    found.sort(key=lambda each: each[0])
    best = found[0][0]
    ours = {default(), AGENTS}
    shown = found[:5] + [each for each in found[5:] if each[2] in ours]
    rows = tuple(
        (words(settings), f"{wrong / len(usages):.0f}", f"{wrong / best:.2f}", str(moves))
        for wrong, moves, settings in shown
    )
    notes = (
        f"Seeds {GRID_SEEDS.start} to {GRID_SEEDS.stop - 1}, {GRID_NODES} nodes each; the five "
        f"best of {len(found)}, labeller.yaml's default ({words(default())}) and agent.yaml's "
        f"({words(AGENTS)}). {NO_GOALS}",
    )
    head = ("enter, hold, low", "wrong s per node", "× best", "transitions")
    return Table("Settings, by grid", head, rows, notes), found[0][2]


def defaults_table() -> Table:
    """labeller.yaml's levels beside agent.yaml's."""
    usages = [usage(SEEDS.start, node) for node in range(NODES)]
    rows = []
    for file, settings in (("labeller.yaml", default()), ("agent.yaml", AGENTS)):
        cost = cost_of(usages, settings)
        rows.append(
            (
                f"{file}: {words(settings)}",
                str(cost.transitions),
                f"{(cost.labelled + cost.unlabelled) / NODES:.0f}",
                f"{cost.labelled / NODES:.0f}",
                f"{cost.unlabelled / NODES:.0f}",
                f"{median(cost.begins):.0f} / {_p99(cost.begins):.0f}",
                f"{median(cost.ends):.0f} / {_p99(cost.ends):.0f}",
            )
        )
    head = (
        *("defaults", "transitions", "wrong s per node", "labelled while calm"),
        *("unlabelled while pressed", "begins after s", "ends after s"),
    )
    notes = (
        f"Seed {SEEDS.start}, {NODES} nodes, the levels alone: nothing fails or is restarted, each "
        "change is written at once. begins, ends: median and p99 from a crossing that lasts "
        f"to the level; those that begin leave the noise behind within a minute. {NO_GOALS}",
    )
    return Table("The two defaults", head, tuple(rows), notes)


class Line(NamedTuple):
    """A line of the hour's table: of each seed its text, and the number that the goal is of."""

    what: str
    text: Callable[[Outcome, float], str]
    goal: str = ""
    figure: Callable[[Outcome, float], float] = lambda *_: 0.0
    most: float = 0.0

    def row(self, found: Sequence[tuple[Outcome, float]]) -> tuple[str, ...]:
        texts = [self.text(*each) for each in found]
        holds = all(self.figure(*each) <= self.most for each in found)
        return self.what, *texts, self.goal, met(holds) if self.goal else ""


def lines(settings: Settings) -> Sequence[Line]:
    """`best` is what the grid's best levels are wrong for, with neither restart nor delay."""
    in_time = (settings.of + 1) * LOOP
    return (
        Line("transitions", lambda o, best: str(o.transitions)),
        Line(
            "writes",
            lambda o, best: f"{o.writes} ({o.writes / o.transitions:.2f}×)",
            "≤ 1.1 × transitions",
            lambda o, best: o.writes / o.transitions,
            1.1,
        ),
        Line(
            "wrong s per node",
            lambda o, best: f"{o.wrong_seconds / NODES:.1f} ({o.wrong_seconds / best:.2f}×)",
            "≤ 1.1 × the grid's best",
            lambda o, best: o.wrong_seconds / best,
            1.1,
        ),
        Line("flaps", lambda o, best: str(o.flaps), "0", lambda o, best: o.flaps),
        Line(
            "p99 s to the label, clear crossings",
            lambda o, best: f"{_p99(o.clear):.0f}",
            f"≤ {in_time:.0f} s",
            lambda o, best: _p99(o.clear),
            in_time,
        ),
        Line(
            "p99 s to the label, all crossings",
            lambda o, best: f"{_p99(o.latencies):.0f}",
            f"≤ {in_time:.0f} s",
            lambda o, best: _p99(o.latencies),
            in_time,
        ),
        Line("labels lost", lambda o, best: str(o.lost), "0", lambda o, best: o.lost),
        Line("backlog s", lambda o, best: f"{o.backlog_seconds:.0f}"),
        Line(
            "dynamicScheduler's transitions",
            lambda o, best: f"{o.peer_transitions} ({o.transitions / o.peer_transitions:.2f}×)",
            "ours ≤ 1/3 of them",
            lambda o, best: o.transitions / o.peer_transitions,
            1 / 3,
        ),
        Line("its writes", lambda o, best: str(o.peer_writes)),
        Line("its wrong s per node", lambda o, best: f"{o.peer_wrong_seconds / NODES:.1f}"),
    )


def simulated(seed: int, best: Settings) -> tuple[Outcome, float]:
    usages = [usage(seed, node) for node in range(NODES)]
    return hour(usages, default()), alone(usages, best)[0]


def _p99(values: Sequence[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))] if values else float("nan")


def tables() -> Iterator[Table]:
    table, best = grid()
    yield table
    yield defaults_table()
    settings = default()
    found = [simulated(seed, best) for seed in SEEDS]
    head = ("", *(f"seed {seed}" for seed in SEEDS), "goal", "met")
    notes = (
        f"{NODES} nodes, an hour after five minutes, loops of {LOOP:.0f} s, 5 writes/s, "
        f"{words(settings)}; a "
        "restart after 20 minutes, no API from minute 35 to 40. wrong: seconds in which the label "
        "is not what the curve without noise says, and how many times those of the grid's best "
        "levels, which restart never and write at once. flaps: pressures shorter than the hold. "
        "p99: from a crossing that lasts to the label, of crossings that leave the noise behind "
        "within a minute, and of all. lost: labels that went in the outage or did not come after "
        "it; backlog: until all was written then. dynamicScheduler: its algorithm on the same "
        "samples (one sample, strictly over, every node patched every loop).",
    )
    rows = tuple(line.row(found) for line in lines(settings))
    yield Table("One hour under the labeller", head, rows, notes)
    yield cost_table()


if __name__ == "__main__":
    show(tables())
