"""cgroup_notify of rules.json as rules: memory pressure and memory near the limit of some cgroups.

The rule: cgroup v1's pressure_level and threshold events exist on v1 only and need an own listener
per cgroup; PSI and usage say the same on both. What stands for what: docs/interference-rules.md.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from exporter.config.wording import KeyPath
from exporter.interference.detector_specs import DetectorSpec, ExpressionSpec, PsiSpec
from exporter.interference.expression import parse
from exporter.interference.rules_file import Pressure, RulesFile, UsageNotice

# mm/vmpressure.c: low is any reclaim at all, medium that 60 % of what was scanned was not
# reclaimed, critical 95 %. Reclaim that finds little keeps tasks waiting: PSI says how long.
PRESSURE: dict[str, PsiSpec] = {
    "low": PsiSpec("memory", "some", 0.01, 10.0),
    "medium": PsiSpec("memory", "some", 0.1, 10.0),
    "critical": PsiSpec("memory", "full", 0.1, 10.0),
}


class Notice(NamedTuple):
    """`subjects` is the pattern of its cgroups, `hold` the seconds before it fires."""

    name: str
    path: KeyPath
    subjects: str
    spec: DetectorSpec
    hold: float


def notices(file: RulesFile) -> Iterator[Notice]:
    key = "notify_config" if file.notify_config is not None else "cgroup_notify"
    config = file.notify_config or file.cgroup_notify
    if config is None:
        return
    memory = config.memory_cgroup
    kinds: tuple[tuple[str, tuple[Pressure | UsageNotice, ...]], ...] = (
        ("pressures", memory.pressures),
        ("usages", memory.usages),
    )
    for kind, listed in kinds:
        for index, item in enumerate(listed):
            if item.cgroups:
                path: KeyPath = (key, "memory_cgroup", kind, index)
                name = f"cgroup_notify.{kind}[{index}]"
                yield Notice(name, path, _pattern(item.cgroups), _spec(item), item.duration)


def _spec(item: Pressure | UsageNotice) -> DetectorSpec:
    if isinstance(item, Pressure):
        return PRESSURE[item.pressure_level]
    margin = item.margin_mb * 2**20
    tree = parse(f"memory_total_usage > memory_limit - {margin}")
    return ExpressionSpec(tree, 1, item.duration or None)


def _pattern(cgroups: tuple[str, ...]) -> str:
    paths = "|".join(re.escape(cgroup.strip("/")) for cgroup in cgroups)
    return f"^/?({paths})$"
