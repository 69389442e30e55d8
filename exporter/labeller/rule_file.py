"""dynamicScheduler's rule.yaml, as it is, and the names that its rules have on a Node.

The rule: what is wrong with one rule costs that rule. Knows no Prometheus.
"""

import math
import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct, field

from exporter.config import line_of, load_yaml
from exporter.errors import ConfigError, Problem

LONGEST = 63 - len("pressure-")
"""Of a label's name (docs/concepts/overview/working-with-objects/labels)."""


class _Rule(Struct, frozen=True):
    promsql: str = field(name="Promsql", default="")
    threshold: str = field(name="Threshold", default="")


class _File(Struct, frozen=True):
    """PromJob is not used there either."""

    rules: dict[str, _Rule] = field(name="Rulename", default_factory=dict)


class Rule(NamedTuple):
    """`resource` is the rule's name as far as a label can have it."""

    name: str
    resource: str
    query: str
    threshold: float


class RuleFile(NamedTuple):
    """`broken` are rules that are not followed: nothing is known of their resources."""

    rules: tuple[Rule, ...]
    broken: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_rules(path: Path) -> RuleFile:
    """Raises ConfigError where it cannot be read as a whole."""
    found = load_yaml(path, _File, unknown="ignore", nulls="default").rules
    if not found:
        text = "has no rules, want Rulename: {NAME: {Promsql: …, Threshold: …}}"
        raise ConfigError([Problem(str(path), 0, "Rulename", text)])
    rules: list[Rule] = []
    broken: list[str] = []
    problems: list[Problem] = []
    for name, rule in found.items():
        wrong = _wrong(rule)
        for key, text in wrong.items():
            where = f"Rulename.{name}.{key}"
            problems.append(Problem(str(path), line_of(path, where), where, text))
        if wrong:
            broken.append(resource_of(name))
        else:
            threshold = float(rule.threshold)
            rules.append(Rule(name, resource_of(name), rule.promsql.strip(), threshold))
    return RuleFile(tuple(rules), tuple(broken), tuple(problems))


def resource_of(name: str) -> str:
    """Two names have never the same, as far as a checksum can tell."""
    text = re.sub(r"[^A-Za-z0-9_.-]", "-", name).strip("-_.")
    if text == name and len(name) <= LONGEST:
        return name
    mark = f"{zlib.crc32(name.encode()):08x}"
    return f"{text[: LONGEST - len(mark) - 1]}-{mark}".lstrip("-")


def _wrong(rule: _Rule) -> Mapping[str, str]:
    problems = {}
    if not rule.promsql.strip():
        problems["Promsql"] = "is missing, want a PromQL expression; the rule is not followed"
    try:
        good = math.isfinite(float(rule.threshold))
    except ValueError:
        good = False
    if not good:
        got = f"got {rule.threshold}" if rule.threshold else "got nothing"
        problems["Threshold"] = f"no number, {got}, want one; the rule is not followed"
    return problems
