"""What is compared, each as rules that the same engine asks of the same recording.

All are asked once a second and are over when nothing held for three seconds, whatever their own
files say: the experiment's events are short, and what is compared is what they see. (Caelus'
shipped rules.json asks its node every 10 s.)
"""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.interference.shipped_ewma import ShippedEwma
from exporter.interference import rules as rules_module
from exporter.interference.model import Detector, Entry, Rule, RuleSet, Scope
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules import read_rules

DEFAULT_RULES = Path(rules_module.__file__).with_name("default_rules.yaml")
CLEAR_SECONDS = 3.0


class Basis(NamedTuple):
    """What rules are read with. `ours` is the file in the place of the shipped one."""

    facts: NodeFacts
    ours: Path = DEFAULT_RULES


class Method(NamedTuple):
    """`make` makes its rules of a tuned number, one of `grid` (one only: nothing to tune).
    `names`: it ranks suspects."""

    title: str
    short: str
    make: Callable[[Basis, float], RuleSet]
    grid: tuple[float, ...] = (0.0,)
    names: bool = False


def from_text(text: str, facts: NodeFacts, suffix: str = ".yaml") -> RuleSet:
    with tempfile.NamedTemporaryFile("w", suffix=suffix) as file:
        file.write(text)
        file.flush()
        return read_rules(Path(file.name), facts).set


def our_rules(basis: Basis) -> RuleSet:
    return read_rules(basis.ours, basis.facts).set


def together(*sets: RuleSet) -> RuleSet:
    return RuleSet(
        tuple(rule for each in sets for rule in each.rules),
        tuple(f"{n} {name}" for n, each in enumerate(sets) for name in each.identity),
        tuple(line for each in sets for line in each.warnings),
    )


def paced(rules: RuleSet) -> RuleSet:
    """Asked, ranked and ended by the experiment's times."""

    def entry(each: Entry) -> Entry:
        return each._replace(clear=CLEAR_SECONDS)

    return rules._replace(
        rules=tuple(
            rule._replace(
                check_interval=1.0,
                handle_interval=1.0,
                recover_interval=1.0,
                cooldown=0.0,
                entries=tuple(map(entry, rule.entries)),
                recover=(),
            )
            for rule in rules.rules
        )
    )


_AUTO = """{"rule_check": {"node_rules": [
  {"name": "cpu", "metrics": ["cpu_avg"], "rules": [{"detects": [
    {"name": "expression", "args": {"expression": "auto", "warning_count": 1}}], "actions": []}]},
  {"name": "memory", "metrics": ["memory_available"], "rules": [{"detects": [
    {"name": "expression", "args": {"expression": "auto", "warning_count": 1}}], "actions": []}]}
]}}"""
_SLO_MIN = """{"rule_check": {"app_rules": [{"name": "slo", "metrics": ["slo_min"], "rules": [
  {"detects": [{"name": "expression", "args": {"expression": "slo_min < 0.05"}}],
   "actions": []}]}]}}"""
_PSI = """rule_check:
  container_rules:
    - name: psi
      rules:
        - any:
            - {{name: psi, args: {{resource: cpu, kind: some, threshold: {0}, window: 10s}}}}
            - {{name: psi, args: {{resource: memory, kind: some, threshold: {0}, window: 10s}}}}
            - {{name: psi, args: {{resource: io, kind: some, threshold: {0}, window: 10s}}}}
          actions: [{{name: log}}]
"""
BUSY = "offline_cpu > 0.4 || offline_io_bps > 20000000"
"""That offline work can have made it: the victim's own load, quota or cold cache is no alarm."""
_SLO = """rule_check:
  app_rules:
    - name: {0}:p99
      rules:
        - all:
            - {{name: slo, args: {{threshold: 0}}}}
            - {{name: expression, args: {{expression: "{1}"}}}}
          for: 1s
          actions: [{{name: log}}]
"""


def _auto(basis: Basis, tuned: float) -> RuleSet:
    return from_text(_AUTO, basis.facts, ".json")


def _ewma(scope: Scope, metrics: tuple[str, ...], nr: float) -> RuleSet:
    detectors: tuple[Detector, ...] = tuple(ShippedEwma(metric, int(nr)) for metric in metrics)
    rule = Rule(
        f"ewma {scope}", scope, "shipped", (Entry(detectors, (), ()),), (), 1.0, 1.0, 1.0, 0.0,
        "warning", None if scope != "app" else ".",
    )  # fmt: skip
    return RuleSet((rule,), (f"ewma {scope} {metrics} {nr}",), ())


def _node_ewma(basis: Basis, tuned: float) -> RuleSet:
    return _ewma("node", ("cpu_avg", "diskio_util", "mem_direct_reclaim"), tuned)


def _app_ewma(basis: Basis, tuned: float) -> RuleSet:
    return _ewma("app", ("value",), tuned)


def _psi(basis: Basis, tuned: float) -> RuleSet:
    return from_text(_PSI.format(tuned), basis.facts)


def _slo_min(basis: Basis, tuned: float) -> RuleSet:
    return from_text(_SLO_MIN, basis.facts, ".json")


def _ours(basis: Basis, tuned: float) -> RuleSet:
    return our_rules(basis)


def _ours_with_slo(basis: Basis, tuned: float) -> RuleSet:
    slo = (from_text(_SLO.format(job, BUSY), basis.facts) for job in ("redis", "http"))
    return together(our_rules(basis), *slo)


_NR = (13.0, 20.0, 40.0, 100.0)
_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
WITHOUT: tuple[Method, ...] = (
    Method("Caelus, expression auto", "auto", _auto),
    Method(
        "Caelus, ewma as shipped (cpu_avg, diskio_util, mem_direct_reclaim)",
        "ewma",
        _node_ewma,
        _NR,
    ),
    Method("PSI of the victim over a threshold", "PSI", _psi, _THRESHOLDS),
    Method("kernmesh, the shipped rules", "ours", _ours, names=True),
)
WITH_SLO: tuple[Method, ...] = (
    Method("Caelus, slo_min < 0.05", "slo_min", _slo_min),
    Method("Caelus, ewma as shipped of p99", "ewma of p99", _app_ewma, _NR),
    Method("kernmesh, the shipped rules and slo", "ours, slo", _ours_with_slo, names=True),
)
TABLES: Mapping[str, tuple[Method, ...]] = {"without": WITHOUT, "slo": WITH_SLO}
