"""What the configuration means to the levels, and to crane's annotations. Pure but for the policy.

The rule: a threshold of dynamicScheduler's begins pressure just where it did (strictly over it).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from exporter.errors import ConfigError, Problem
from exporter.labeller.config import LabellerConfig, PromRules
from exporter.labeller.rule_file import Rule, read_rules
from exporter.pressure.annotations import HOT_VALUE, Hot, check_policy, read_policy
from exporter.pressure.crane import Crane
from exporter.pressure.deciding import SCHEDULE, request_settings
from exporter.pressure.levels import Settings
from exporter.usage import grammar


class CranePlan(NamedTuple):
    crane: Crane
    hot: Sequence[Hot]


def settings_of(
    config: LabellerConfig, rules: Collection[Rule], broken: Iterable[str] = ()
) -> Mapping[str, Settings]:
    """By resource. Prometheus' come after the agents', whose names count. `broken` are resources
    whose rules cannot be followed: what was known of them holds, until it expires."""
    hold, expire = float(config.hold), float(config.expire_after)
    of, at_least = config.enter.of, config.enter.at_least
    found: dict[str, Settings] = {}
    if config.agents is not None:
        for resource, level in config.chosen().items():
            found[resource] = Settings(level.high, level.end, of, at_least, hold, expire)
        if config.levels.schedule and config.agents.interference:
            found[SCHEDULE] = request_settings(expire)
    if config.prometheus is not None:
        for rule in rules:
            low = rule.threshold - (1 - config.prometheus.low) * abs(rule.threshold)
            found[rule.resource] = Settings(rule.threshold, low, of, at_least, hold, expire)
        for resource in broken:
            never = Settings(math.inf, -math.inf, of, at_least, hold, expire)
            found.setdefault(resource, never)
    return found


def crane_plan(config: LabellerConfig) -> CranePlan | None:
    """None without a policy. Raises ConfigError."""
    if config.crane_policy is None:
        return None
    spec = read_policy(Path(config.crane_policy)).spec
    periods = {each.name: float(each.period) for each in spec.sync_policy if _computed(each.name)}
    return CranePlan(Crane(periods, ZoneInfo(config.crane_timezone)), spec.hot_value)


def check(config: LabellerConfig) -> list[Problem]:
    """What is wrong with the files of its sources, and with them together."""
    problems: list[Problem] = []
    if config.crane_policy is not None:
        path = Path(config.crane_policy)
        try:
            names = [each.name for each in read_policy(path).spec.sync_policy]
        except ConfigError:
            names = []
        problems += check_policy(path, [HOT_VALUE, *filter(_computed, names)])
    if config.prometheus is not None:
        problems += _rules(config, config.prometheus)
    return problems


def _rules(config: LabellerConfig, prometheus: PromRules) -> list[Problem]:
    path = Path(prometheus.rules)
    try:
        found = read_rules(path)
    except ConfigError as error:
        return list(error.problems)
    taken = set(config.chosen()) | {SCHEDULE} if config.agents is not None else set[str]()
    problems = list(found.problems)
    for rule in found.rules:
        if rule.resource in taken:
            text = f"is a level of the agents', too, got {rule.name}, want another name"
            problems.append(Problem(str(path), 0, f"Rulename.{rule.name}", text))
    return problems


def _computed(name: str) -> bool:
    """Whether an agent may have a value of that name."""
    try:
        grammar.parse(name)
    except ValueError:
        return False
    return True
