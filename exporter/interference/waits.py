"""Waits for a CPU as a histogram: its bounds, quantiles, and what a cgroup's own quota explains.

Pure. Bounds are some of the kernel program's powers of two (bpf/runqlat.bpf.c): fewer series for
each cgroup, and every wait is still in the bucket that holds it.
"""

from collections.abc import Sequence
from itertools import pairwise

BOUNDS_MICROSECONDS: tuple[int, ...] = (
    128, 256, 512, 1024, 2048, 4096, 8192, 16384, 65536, 1 << 40,
)  # fmt: skip
"""Upper bounds, inclusive; the last is for all that is longer."""
_LONGEST_SECONDS = 1.0  # what is said of a wait above the last real bound


def bucket_of_slot(slot: int) -> int:
    """Which of ours holds the kernel's slot n: waits of 2^(n−1) to 2^n µs."""
    upper = 1 << slot
    return next(at for at, bound in enumerate(BOUNDS_MICROSECONDS) if upper <= bound)


def _edges() -> tuple[tuple[float, float], ...]:
    uppers = (*(bound / 1e6 for bound in BOUNDS_MICROSECONDS[:-1]), _LONGEST_SECONDS)
    return tuple(pairwise((0.0, *uppers)))


EDGES: tuple[tuple[float, float], ...] = _edges()
"""Lower and upper bound of each bucket in seconds."""


def quantile_seconds(counts: Sequence[float], q: float) -> float | None:
    """`counts` by bucket, of any length of time. Within a bucket as if waits were spread evenly
    (as Prometheus' histogram_quantile). None where there was no wait."""
    total = sum(counts)
    if total <= 0:
        return None
    rank, before = q * total, 0.0
    for count, (low, high) in zip(counts, EDGES, strict=True):
        if count > 0 and before + count >= rank:
            return low + (high - low) * (rank - before) / count
        before += count
    return EDGES[-1][1]


def held_by_offline(counts: Sequence[float]) -> list[float]:
    """All waits by bucket, then those for offline work by how long that held the CPU: together the
    waits as they would be if offline work were all that one waits for. What is not behind
    offline work is no wait, in the first bucket."""
    half = len(counts) // 2
    everyone, offline = counts[:half], list(counts[half:])
    offline[0] += max(sum(everyone) - sum(offline), 0.0)
    return offline


def without_throttling(
    counts: Sequence[float], periods: float, seconds: float, tasks: float
) -> list[float]:
    """Less the waits that the cgroup's own quota made: in each throttled period up to `tasks` of
    its tasks wait until it ends, `seconds`/`periods` on average, so as many of the longest waits
    are taken out, of those that are at least a quarter of that. `seconds` is how long it was
    throttled, in all."""
    rest = list(counts)
    if periods <= 0:
        return rest
    budget = periods * max(tasks, 1.0)
    typical = seconds / periods
    for at in range(len(rest) - 1, -1, -1):
        if EDGES[at][1] < typical / 4 or budget <= 0:
            break
        taken = min(rest[at], budget)
        rest[at] -= taken
        budget -= taken
    return rest
