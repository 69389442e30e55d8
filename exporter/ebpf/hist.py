"""Histograms as kernel programs keep them, made into Prometheus' cumulative columns.

Two layouts (FORMATS section 1): a struct of u64 `slots[n], overflow, sum` per label set (ours),
and one u64 row per bucket with the sum in the bucket after the last (upstream's). Pure.
"""

from collections.abc import Sequence
from itertools import accumulate
from operator import add

from exporter.ebpf.metricspec import HistogramSpec

Numbers = list[int]


def multiplier(spec: HistogramSpec) -> float:
    """What a bucket's number and the sum are multiplied by. 0 means 1, as upstream reads it."""
    return spec.bucket_multiplier or 1.0


def bucket_numbers(spec: HistogramSpec) -> tuple[float, ...]:
    """The numbers that name the finite buckets in upstream's layout, in order. Raises ValueError
    where there is no bucket at all."""
    if spec.bucket_type == "fixed":
        if not spec.bucket_keys:
            raise ValueError("no buckets, got no bucket_keys, want some")
        return spec.bucket_keys
    if spec.bucket_min > spec.bucket_max:
        raise ValueError(
            f"no buckets, got bucket_min {spec.bucket_min} above bucket_max {spec.bucket_max}"
        )
    return tuple(range(spec.bucket_min, spec.bucket_max + 1))


def bounds(spec: HistogramSpec) -> tuple[float, ...]:
    """The finite buckets' upper bounds, in the metric's unit.

    exp2: 2^n; exp2zero: 0 holds the value zero, then 2^(n-1); linear: n; fixed: the keys.
    Each times the multiplier. Raises ValueError as `bucket_numbers`.
    """
    numbers = bucket_numbers(spec)
    if spec.bucket_type == "exp2":
        raw = [2.0**number for number in numbers]
    elif spec.bucket_type == "exp2zero":
        raw = [2.0 ** (number - 1) if number else 0.0 for number in numbers]
    else:
        raw = [float(number) for number in numbers]
    return tuple(value * multiplier(spec) for value in raw)


def bucket_slots(spec: HistogramSpec) -> dict[float, int]:
    """Upstream's bucket number → its slot; the sum's number comes last and is no bucket."""
    numbers = bucket_numbers(spec)
    return {number: slot for slot, number in enumerate((*numbers, numbers[-1] + 1))}


def struct_width(spec: HistogramSpec) -> int:
    """u64 words of one struct value: the slots, overflow, sum."""
    return len(bucket_numbers(spec)) + 2


def cumulative(columns: Sequence[Numbers], factor: float) -> tuple[list[Numbers], list[float]]:
    """Per label set: the buckets made cumulative, with +Inf and count; and the sums.

    `columns` are the slots (n lists, one entry per label set), then overflow, then sum;
    `factor` is the multiplier. Gives n + 2 lists of counts, and the sums in the metric's unit.
    """
    *slots, sums = columns
    counts = list(accumulate(slots, lambda left, right: list(map(add, left, right))))
    return [*counts, counts[-1]], [factor * value for value in sums]
