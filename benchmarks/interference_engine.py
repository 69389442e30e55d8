"""Rules over cgroups: what a tick of the engine costs in CPU, quiet and firing.

200 rules over 500 cgroups, with the real detectors over real views of a real store in memory; only
the readings are made up. A tick is what the agent does every second: a view of the newest row, and
every rule whose turn it is.
"""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from statistics import median, quantiles
from tempfile import TemporaryDirectory

from benchmarks.tables import Table, at_most, show
from exporter.interference.engine import Engine
from exporter.interference.model import NODE, Subject
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules import read_rules
from exporter.interference.views import replay
from exporter.usage import store as stores
from exporter.usage.series import Series
from exporter.usage.store import Now, Store

CGROUPS, RULES, TICKS, WARM_UP = 500, 200, 60, 40
GOAL_MS, QUIET_GOAL_MS = 60, 5
"""Of a tick, of one in which nothing fires."""
EXPRESSIONS = (
    "cpu_usage > {n}",
    "memory_total_usage > {n}Gi",
    "cpu_throttled_ratio > 0.5 && cpu_usage > {n}",
    "psi_cpu_some > 0.9 || psi_memory_some > 0.9",
)


def rules_yaml(threshold: int, interval: str, everywhere: bool) -> str:
    """40 rules of the node, 160 of containers: of each one pod in 16 or (everywhere) all."""
    lines = ["rule_check:", "  node_rules:"]
    for i in range(40):
        lines += _rule(f"node {i}", interval, "", f"cpu_avg > 0.{90 + i % 9}")
    lines.append("  container_rules:")
    for i in range(RULES - 40):
        subjects = "" if everywhere else f"subjects: '/pod[0-9a-f]*{i % 16:x}$', "
        text = EXPRESSIONS[i % len(EXPRESSIONS)].format(n=threshold)
        lines += _rule(f"container {i}", interval, subjects, text)
    return "\n".join(lines) + "\n"


def _rule(name: str, interval: str, subjects: str, text: str) -> list[str]:
    detect = f"{{name: expression, args: {{expression: '{text}'}}}}"
    return [
        f"    - {{name: {name}, check_interval: {interval}, {subjects}rules: "
        f"[{{detects: [{detect}], for: 3s, actions: [{{name: preempt}}]}}]}}"
    ]


COUNTERS = ("cpu_seconds", "throttled_seconds", "cpu_some_seconds", "memory_some_seconds")


class Readings:
    """Of every cgroup each second: between nothing and 5 % of a core, of throttling, of waiting."""

    def __init__(self, paths: list[str]) -> None:
        self._random = Random(1)
        self._paths = paths
        self._totals = dict.fromkeys(
            (Series(f"cgroup/{path}.{name}", "counter") for path in paths for name in COUNTERS), 0.0
        )

    def at(self, second: int) -> Mapping[Series, float]:
        for series in self._totals:
            self._totals[series] += self._random.uniform(0, 0.05)
        values: dict[Series, float] = dict(self._totals)
        values[Series("node.cpu.busy_seconds", "counter")] = 0.5 * second
        values[Series("node.cpu.online", "gauge")] = 2.0
        for path in self._paths:
            used = self._random.uniform(1e8, 2e9)
            values[Series(f"cgroup/{path}.memory_bytes", "gauge")] = used
        return values


def measure(rules: str, folder: Path) -> tuple[list[float], int, int]:
    """CPU seconds of each tick, checks and transitions per tick."""
    path = folder / "rules.yaml"
    path.write_text(rules)
    engine = Engine(read_rules(path, NodeFacts.of(2.0, 8 * 2.0**30)).set)
    paths = [f"kubepods/burstable/pod{i:x}" for i in range(CGROUPS)]
    readings = Readings(paths)
    subjects = (NODE, *(Subject("container", f"/{path}", work="online") for path in paths))
    store: Store = stores.in_memory(1.0, 900.0, Now(0.0, 0.0, "boot"))
    for second in range(1, WARM_UP + TICKS + 1):
        store.put(float(second), 0.0, readings.at(second))
    moments = replay(store)
    spent, told, checks = list[float](), 0, 0
    gc.collect()
    gc.freeze()
    for second in range(WARM_UP + TICKS):
        if second == WARM_UP:
            checks = engine.checks
        began = time.process_time()
        moment = next(moments)
        transitions = engine.tick(moment.now, subjects, moment.view)
        spent.append(time.process_time() - began)
        told += len(transitions) if second >= WARM_UP else 0
    return spent[WARM_UP:], (engine.checks - checks) // TICKS, told // TICKS


def row(title: str, rules: str, folder: Path) -> tuple[str, ...]:
    spent, checks, told = measure(rules, folder)
    worst = quantiles(spent, n=20)[-1]
    return (
        title,
        str(checks),
        str(told),
        f"{median(spent) * 1000:.1f} ms",
        f"{worst * 1000:.1f} ms",
        f"{median(spent) / max(checks, 1) * 1e6:.1f} µs",
        *goal(title, spent),
    )


def goal(title: str, spent: list[float]) -> tuple[str, str]:
    """Of the median; the cells."""
    most = QUIET_GOAL_MS if title.startswith("nothing fires") else GOAL_MS
    return at_most(median(spent) * 1000, most, "ms")


def tables() -> Iterator[Table]:
    cases: list[tuple[str, Callable[[], str]]] = [
        ("nothing fires, each rule on its own pods, 10s", lambda: rules_yaml(50, "10s", False)),
        ("nothing fires, each rule on all pods, 1m", lambda: rules_yaml(50, "1m", True)),
        ("most fire, each rule on its own pods, 10s", lambda: rules_yaml(0, "10s", False)),
        ("most fire, each rule on all pods, 1m", lambda: rules_yaml(0, "1m", True)),
        ("nothing fires, each rule on its own pods, 1s", lambda: rules_yaml(50, "1s", False)),
    ]
    with TemporaryDirectory() as folder:
        rows = [row(title, rules(), Path(folder)) for title, rules in cases]
    head = ("case", "checks per tick", "transitions", "CPU, median", "p95", "per check",
            "goal", "met")  # fmt: skip
    notes = (
        f"{RULES} rules (40 of the node) over {CGROUPS} cgroups, {TICKS} ticks of 1 s. The goals "
        "are of the median. Views, detectors and engine are what the agent runs; reading cgroups "
        "is not in it.",
    )
    yield Table("Interference rules: CPU of a tick", head, tuple(rows), notes)


if __name__ == "__main__":
    show(tables())
