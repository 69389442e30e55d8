"""The node's memory.available as kubelet reckons it, by which it evicts pods.

Kernel's MemAvailable says what could be had; kubelet says what the root cgroup's working set
leaves. Formulas: FORMATS section 4 (kubelet's cgroup v1 and v2 scripts).
"""

from exporter.errors import KernmeshError
from exporter.host.text import is_count


def parse_memory_stat(text: str, keys: tuple[str, ...], place: str) -> list[int]:
    """The values of `keys`, bytes. Raises KernmeshError where one is missing."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key in keys and is_count(value):
            found[key] = int(value)
    missing = [key for key in keys if key not in found]
    if missing:
        raise KernmeshError(f"{place}: no {' and no '.join(missing)} line")
    return [found[key] for key in keys]


def available_v1(total: int, usage: int, total_inactive_file: int) -> int:
    """Bytes. `usage` is the root memory cgroup's memory.usage_in_bytes."""
    return total - max(0, usage - total_inactive_file)


def available_v2(total: int, anon: int, file: int, inactive_file: int) -> int:
    """Bytes. The root cgroup of v2 has no memory.current, so what it uses is anon + file."""
    return total - max(0, anon + file - inactive_file)
