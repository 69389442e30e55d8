"""Detection's whole tick: rules over cgroups, suspects, states, what is shown.

200 rules over 500 cgroups (a tenth of them offline, the suspects) over made-up readings in a real
store; Driver, views, detectors, attribution and board are the agent's. The actuator answers at
once.
"""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks.interference_engine import (
    CGROUPS,
    RULES,
    TICKS,
    WARM_UP,
    Readings,
    goal,
    rules_yaml,
)
from benchmarks.tables import Table, show
from exporter.actuator.protocol import Answer, AnyRequest
from exporter.clock import SystemClock
from exporter.interference.actions import make_actions
from exporter.interference.board import Costs, board
from exporter.interference.driver import Driver
from exporter.interference.model import NODE, Subject, WorkClass
from exporter.interference.needs import take_rules
from exporter.interference.node_facts import NodeFacts
from exporter.interference.views import replay
from exporter.usage import store as stores
from exporter.usage.store import Now

OFFLINE_EVERY = 10


def measure(text: str, folder: Path) -> tuple[list[float], int, int]:
    """CPU seconds of each tick; incidents that stand at the end, and checks per tick."""
    rules = folder / "rules.yaml"
    rules.write_text(text)
    actions = make_actions(_answered, SystemClock(), dry_run=True)
    driver = Driver(take_rules(str(rules), NodeFacts.of(2.0, 8 * 2.0**30)).set, actions)
    paths = [f"kubepods/burstable/pod{i:x}" for i in range(CGROUPS)]
    readings = Readings(paths)
    store = stores.in_memory(1.0, 900.0, Now(0.0, 0.0, "boot"))
    for second in range(1, WARM_UP + TICKS + 1):
        store.put(float(second), 0.0, readings.at(second))
    subjects = (NODE, *(Subject("container", f"/{p}", work=_work(i)) for i, p in enumerate(paths)))
    spent = list[float]()
    gc.collect()
    gc.freeze()
    for number, moment in enumerate(replay(store)):
        began = time.process_time()
        driver.tick(moment, subjects, 0.0)
        shown = board(driver, 0.0, Costs(number, 0.0), {})
        spent.append(time.process_time() - began)
    actions.close()
    return spent[WARM_UP:], len(shown.incidents), driver.engine.checks // (WARM_UP + TICKS)


def _work(number: int) -> WorkClass:
    return "online" if number % OFFLINE_EVERY else "offline"


def _answered(request: AnyRequest) -> Answer:
    return Answer(0)


def row(title: str, text: str, folder: Path) -> tuple[str, ...]:
    spent, standing, checks = measure(text, folder)
    worst = quantiles(spent, n=20)[-1]
    middle, late = f"{median(spent) * 1000:.1f} ms", f"{worst * 1000:.1f} ms"
    return title, str(checks), str(standing), middle, late, *goal(title, spent)


def tables() -> Iterator[Table]:
    cases = [
        ("nothing fires, each rule on its own pods, 10s", rules_yaml(50, "10s", False)),
        ("nothing fires, each rule on all pods, 1m", rules_yaml(50, "1m", True)),
        ("nothing fires, each rule on its own pods, 1s", rules_yaml(50, "1s", False)),
        ("most fire, each rule on its own pods, 10s", rules_yaml(0, "10s", False)),
    ]
    with TemporaryDirectory() as folder:
        rows = [row(title, text, Path(folder)) for title, text in cases]
    head = ("case", "checks per tick", "incidents", "CPU, median", "p95", "goal", "met")
    notes = (
        f"{RULES} rules over {CGROUPS} cgroups, every {OFFLINE_EVERY}th offline, {TICKS} ticks of "
        "1 s. The goals are of the median. Reading cgroups is not in it.",
    )
    yield Table("Interference detection: CPU of a whole tick", head, tuple(rows), notes)


if __name__ == "__main__":
    show(tables())
