"""What a set of rules must have read: measures of cgroups, sources of the node, kernel programs.

The rule: what no detector asks for, and no suspect is ranked by, is not read. Pure: specs and
names of series in, names of series out.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from exporter.interference.attribution import suspect_signals
from exporter.interference.detector_specs import (
    CpiSpec,
    DetectorSpec,
    EwmaSpec,
    ExpressionSpec,
    PsiSpec,
    RunqSpec,
    make,
)
from exporter.interference.model import NODE, Detector, Rule, RuleSet, Scope, Subject
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules import Rules, read_rules
from exporter.interference.signals import Devices, signal_of
from exporter.interference.sources import counters
from exporter.interference.sources.processors import BUSIEST
from exporter.usage.subjects import MEASURES

DEFAULT = "default"
_SHIPPED = Path(__file__).with_name("default_rules.yaml")
_ANY = Devices(("d",), ("l",))  # one of each, so that their series have names
_CGROUP = Subject("container", "/c")
_PREFIX = "cgroup/c."
_OF_RUN_QUEUES = ("runq_", "waited_", "offline_waits", "preempted", "forks")
_PROGRAMS = ("runqlat", "preemptions")


class Needs(NamedTuple):
    """`online` and `offline` are measures of each such cgroup, whoever reads them; `programs`
    must run for some of them. `busiest` and `links` are the node's; `slo`: applications are to
    be asked."""

    online: frozenset[str] = frozenset()
    offline: frozenset[str] = frozenset()
    busiest: bool = False
    links: bool = False
    slo: bool = False

    @classmethod
    def everything(cls) -> "Needs":
        """All that rules could ask of cgroups and of the node; no applications."""
        counted = frozenset({*MEASURES, "runq_waits"})
        return cls(counted | {"listen_overflows"}, counted, busiest=True, links=True)

    @property
    def programs(self) -> tuple[str, ...]:
        """Kernel programs that are to run for it. What only ranks suspects is taken where it is
        counted anyway."""
        queues = _PROGRAMS if any(map(of_run_queues, self.online)) else ()
        return (*queues, counters.PROGRAM) if any(map(of_counters, self.online)) else queues


class Taken(NamedTuple):
    """One rules file, as it is to be used."""

    rules: Rules
    needs: Needs

    @property
    def set(self) -> RuleSet:
        return self.rules.set


def path_of(text: str) -> Path:
    """What `interference.rules` and --rules say: a file, or `default`, the shipped ones."""
    return _SHIPPED if text == DEFAULT else Path(text)


def take_rules(text: str, facts: NodeFacts) -> Taken:
    """Raises ConfigError with all that is wrong."""
    specs: dict[int, DetectorSpec] = {}

    def remember(spec: DetectorSpec) -> Detector:
        made = make(spec)
        specs[id(made)] = spec
        return made

    rules = read_rules(path_of(text), facts, remember)
    return Taken(rules, needs_of(rules.set.rules, specs))


def of_run_queues(measure: str) -> bool:
    """Whether kernel programs count it."""
    return measure.startswith(_OF_RUN_QUEUES)


def of_counters(measure: str) -> bool:
    """Whether the hardware counts it."""
    return measure in counters.COUNTED


def needs_of(rules: Iterable[Rule], specs: dict[int, DetectorSpec]) -> Needs:
    """`specs` of each detector, by its id()."""
    online, offline, node = set[str](), set[str](), set[str]()
    slo = False
    for rule in rules:
        for entry in (*rule.entries, *rule.recover):
            for detector in (*entry.any_of, *entry.all_of):
                asked = set(signals_of(specs[id(detector)]))
                if rule.scope == "app":
                    slo = True
                elif rule.scope == "node":
                    node |= set(_series(asked, "node"))
                else:
                    own = set(_measures(asked))
                    online |= own if rule.work != "offline" else set()
                    offline |= own if rule.work != "online" else set()
                for signal in asked or {""}:
                    offline |= set(_measures(suspect_signals(signal)))
    speeds = any(name.endswith(".speed_bytes_per_second") for name in node)
    return Needs(frozenset(online), frozenset(offline), BUSIEST.name in node, speeds, slo)


def signals_of(spec: DetectorSpec) -> Iterator[str]:
    """Names that the detector made of it asks its view for."""
    match spec:
        case ExpressionSpec(tree=tree):
            yield from tree.variables
        case EwmaSpec(metric=metric):
            yield metric
        case PsiSpec(resource=resource, kind=kind):
            yield f"psi_{resource}_{kind}"
            if resource == "cpu":
                yield "cpu_throttled_ratio"
        case RunqSpec():
            yield from ("runq_waits", "runq_delay", "runq_p95", "waited_for_offline_p99")
            yield from ("nr_cpu_throttled", "cpu_throttled_ratio", "nr_processes")
        case CpiSpec():
            yield from ("cpi", "cpu_usage")


def _measures(signals: Iterable[str]) -> Iterator[str]:
    for name in _series(signals, "container"):
        if name.startswith(_PREFIX):
            yield name.removeprefix(_PREFIX)


def _series(signals: Iterable[str], scope: Scope) -> Iterator[str]:
    for name in signals:
        asked = name.partition("[")[0] if scope == "node" else name
        found = signal_of(NODE if scope == "node" else _CGROUP, asked, _ANY, ())
        if found is not None:
            yield from (series.name for series in found.inputs)
