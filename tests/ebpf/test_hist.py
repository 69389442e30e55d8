from typing import Any

import pytest

from exporter.ebpf import hist
from exporter.ebpf.metricspec import HistogramSpec


def spec(**keys: Any) -> HistogramSpec:
    return HistogramSpec(name="h", **keys)


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        (spec(bucket_type="exp2", bucket_max=3), (1, 2, 4, 8)),
        (spec(bucket_type="exp2", bucket_min=-1, bucket_max=1), (0.5, 1, 2)),
        (spec(bucket_type="exp2", bucket_max=2, bucket_multiplier=1e-6), (1e-6, 2e-6, 4e-6)),
        (spec(bucket_type="exp2zero", bucket_max=3), (0, 1, 2, 4)),
        (spec(bucket_type="exp2zero", bucket_min=1, bucket_max=2), (1, 2)),
        (spec(bucket_type="linear", bucket_max=2, bucket_multiplier=50), (0, 50, 100)),
        (spec(bucket_type="linear", bucket_max=1, bucket_multiplier=0), (0, 1)),
        (spec(bucket_type="fixed", bucket_keys=(1, 5, 10), bucket_multiplier=2), (2, 10, 20)),
    ],
)
def test_bounds_follow_from_type_numbers_and_multiplier(
    given: HistogramSpec, bounds: tuple[float, ...]
) -> None:
    assert hist.bounds(given) == bounds


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (spec(bucket_min=3, bucket_max=2), "no buckets, got bucket_min 3 above bucket_max 2"),
        (spec(bucket_type="fixed"), "no buckets, got no bucket_keys, want some"),
    ],
)
def test_a_histogram_without_buckets_is_refused(given: HistogramSpec, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        hist.bounds(given)


@pytest.mark.parametrize(
    ("given", "slots"),
    [
        (spec(bucket_min=2, bucket_max=4), {2: 0, 3: 1, 4: 2, 5: 3}),
        (spec(bucket_type="fixed", bucket_keys=(1, 5)), {1: 0, 5: 1, 6: 2}),
    ],
)
def test_the_sum_is_in_the_bucket_after_the_last(
    given: HistogramSpec, slots: dict[float, int]
) -> None:
    assert hist.bucket_slots(given) == slots


def test_a_struct_value_has_the_slots_overflow_and_sum() -> None:
    assert hist.struct_width(spec(bucket_max=26)) == 29
    assert hist.struct_width(spec(bucket_type="fixed", bucket_keys=(1, 5))) == 4


def test_buckets_become_cumulative_and_the_sum_gets_its_unit() -> None:
    columns = [[1, 0], [2, 0], [0, 3], [4, 0], [10, 7]]
    counts, sums = hist.cumulative(columns, 0.5)
    assert counts == [[1, 0], [3, 0], [3, 3], [7, 3], [7, 3]]
    assert sums == [5.0, 3.5]
