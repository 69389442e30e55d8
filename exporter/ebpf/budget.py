"""What a map may cost in kernel memory, and what it becomes when per-CPU values cost too much.

Pure arithmetic: at 128 CPUs a 10,000-key histogram per CPU would take 315 MB.
"""

from collections.abc import Mapping
from typing import NamedTuple

BUDGET_BYTES = 16 * 1024 * 1024

_SHARED_KIND: Mapping[str, str] = {
    "percpu_hash": "hash",
    "percpu_array": "array",
    "lru_percpu_hash": "lru_hash",
}


class MapPlan(NamedTuple):
    """`kind` to load the map as. `value_bytes` is what all values take then, keys not counted."""

    kind: str
    shared: bool
    value_bytes: int


def is_per_cpu(kind: str) -> bool:
    return kind in _SHARED_KIND


def value_stride(kind: str, value_size: int) -> int:
    """Bytes from one part of a row's value to the next, as lookups lay them out: per-CPU values
    are padded to 8 bytes (kernel/bpf/syscall.c: bpf_map_value_size), a shared one is not."""
    return (value_size + 7) // 8 * 8 if is_per_cpu(kind) else value_size


def plan(
    kind: str,
    max_entries: int,
    value_size: int,
    possible_cpus: int,
    can_share: bool,
    budget_bytes: int = BUDGET_BYTES,
) -> MapPlan:
    """Per CPU where max_entries × possible CPUs × round_up(value_size, 8) is within the budget,
    else shared, where the program can do that (`can_share`: it then adds atomically)."""
    padded = (value_size + 7) // 8 * 8
    if not is_per_cpu(kind):
        return MapPlan(kind, False, max_entries * padded)
    per_cpu = max_entries * possible_cpus * padded
    if per_cpu <= budget_bytes or not can_share:
        return MapPlan(kind, False, per_cpu)
    return MapPlan(_SHARED_KIND[kind], True, max_entries * padded)
