"""How large a program's maps become, and which of them are shared by all CPUs (budget.py)."""

from collections.abc import Mapping

from exporter.ebpf import budget
from exporter.ebpf.layout import is_split_by_cpu
from exporter.ebpf.libbpf_object import Object
from exporter.ebpf.metricspec import CounterSpec, GaugeSpec
from exporter.ebpf.spec import ProgramSpec


def size_maps(
    obj: Object,
    spec: ProgramSpec,
    max_entries: Mapping[str, int],
    possible_cpus: int,
    budget_bytes: int,
) -> list[str]:
    """Sets map sizes, `max_entries` over the object's own; gives the names of those that become
    shared, as they do not fit per CPU."""
    constants = obj.variables(".rodata")
    by_cpu = split_by_cpu(spec)
    shared = []
    for each in obj.maps:
        if each.internal:
            continue
        if each.name in max_entries:
            each.set_max_entries(max_entries[each.name])
        plan = budget.plan(
            each.kind,
            each.max_entries,
            each.value_size,
            possible_cpus,
            can_share=f"shared_{each.name}" in constants and each.name not in by_cpu,
            budget_bytes=budget_bytes,
        )
        if plan.shared:
            each.set_kind(plan.kind)
            shared.append(each.name)
    return shared


def split_by_cpu(spec: ProgramSpec) -> set[str]:
    """Maps whose metric has a last label `cpu`: shared, they could not tell it."""
    metrics: tuple[CounterSpec | GaugeSpec, ...] = (*spec.metrics.counters, *spec.metrics.gauges)
    return {each.map_name for each in metrics if is_split_by_cpu(each)}
