"""What rules ask of the node before they are asked themselves: its size, reserve and addresses.

`auto` thresholds are made of these once, when the file is read. Pure.
"""

from typing import NamedTuple

from exporter.usage.idle import CPU_RESERVE, MEMORY_RESERVE

_GIB = 2.0**30
_MARGIN = 0.05
_HIGH = 0.85


class NodeFacts(NamedTuple):
    """`cpus` cores and `memory` bytes in all, what of them is reserved for online work and the
    system; `addresses` None where nobody asked. `unavailable`: variables and detectors that this
    node cannot have, with the reason ("no PMU")."""

    cpus: float
    memory: float
    cpu_reserve: float
    memory_reserve: float
    addresses: frozenset[str] | None = None
    unavailable: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, cpus: float, memory: float) -> "NodeFacts":
        """With the reserve that idle resources are predicted with (exporter/usage/idle.py)."""
        return cls(cpus, memory, CPU_RESERVE.of(cpus), MEMORY_RESERVE.of(memory))

    def why_not(self, name: str) -> str | None:
        return dict(self.unavailable).get(name)


def auto_expression(rule: str, metric: str, facts: NodeFacts, recovers: bool) -> str:
    """What "auto" stands for (Caelus pkg/caelus/types/health_check.go, initExpressionEvaluate).
    Raises ValueError with what is wrong."""
    if rule == "cpu":
        used = (facts.cpus - facts.cpu_reserve) / facts.cpus
        if used < _HIGH:
            used += _MARGIN
        if recovers:
            return f"{metric} < {used - _MARGIN:.6g}"
        if used >= 1:
            raise ValueError("auto can never fire here: no CPU is reserved")
        return f"{metric} > {used:.6g}"
    if rule == "memory":
        if recovers:
            return f"{metric} > {facts.memory_reserve:.0f}"
        if facts.memory_reserve <= _GIB:
            reserve = f"{facts.memory_reserve / _GIB:.3g}Gi"
            raise ValueError(f"auto can never fire here: it is 1Gi below the reserve of {reserve}")
        return f"{metric} < {facts.memory_reserve - _GIB:.0f}"
    raise ValueError("auto is for the rules named cpu and memory, want an expression")
