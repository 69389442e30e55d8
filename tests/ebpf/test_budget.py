"""Per CPU while it is cheap, shared where it is not; computed for any number of CPUs."""

import pytest

from exporter.ebpf.budget import BUDGET_BYTES, MapPlan, plan, value_stride

HISTOGRAM = 30 * 8  # 28 slots, overflow, sum

CASES = [
    # kind, entries, value bytes, CPUs → plan
    ("percpu_hash", 10_000, HISTOGRAM, 2, MapPlan("percpu_hash", False, 4_800_000)),
    ("percpu_hash", 10_000, HISTOGRAM, 128, MapPlan("hash", True, 2_400_000)),
    ("percpu_hash", 1024, 8, 128, MapPlan("percpu_hash", False, 1_048_576)),
    ("percpu_hash", 1024, HISTOGRAM, 64, MapPlan("percpu_hash", False, 15_728_640)),
    ("percpu_hash", 1024, HISTOGRAM, 128, MapPlan("hash", True, 245_760)),
    ("percpu_array", 1_000_000, 8, 128, MapPlan("array", True, 8_000_000)),
    ("lru_percpu_hash", 1_000_000, 8, 128, MapPlan("lru_hash", True, 8_000_000)),
    # padded to 8 bytes on each CPU: 4-byte values cost as much as 8-byte ones
    ("percpu_hash", 1 << 20, 4, 2, MapPlan("percpu_hash", False, BUDGET_BYTES)),
    ("percpu_hash", (1 << 20) + 1, 4, 2, MapPlan("hash", True, 8 * ((1 << 20) + 1))),
    # what is shared anyway stays what it is, at any size
    ("hash", 10_000_000, HISTOGRAM, 128, MapPlan("hash", False, 2_400_000_000)),
    ("ringbuf", 1 << 20, 0, 128, MapPlan("ringbuf", False, 0)),
]


@pytest.mark.parametrize(("kind", "entries", "size", "cpus", "expected"), CASES)
def test_a_map_is_per_cpu_only_within_the_budget(
    kind: str, entries: int, size: int, cpus: int, expected: MapPlan
) -> None:
    assert plan(kind, entries, size, cpus, can_share=True) == expected


def test_a_program_that_cannot_add_atomically_keeps_its_per_cpu_map() -> None:
    kept = plan("percpu_hash", 10_000, HISTOGRAM, 128, can_share=False)
    assert kept == MapPlan("percpu_hash", False, 307_200_000)


@pytest.mark.parametrize("cpus", [1, 2, 8, 64, 128, 512, 1024])
def test_no_map_that_can_be_shared_takes_more_than_the_budget_for_being_per_cpu(cpus: int) -> None:
    for entries in (16, 1024, 10_000, 65_536):
        made = plan("percpu_hash", entries, HISTOGRAM, cpus, can_share=True)
        assert made.value_bytes <= max(BUDGET_BYTES, entries * HISTOGRAM)


@pytest.mark.parametrize(
    ("kind", "size", "stride"),
    [("percpu_hash", 4, 8), ("percpu_array", 9, 16), ("hash", 4, 4), ("array", 9, 9)],
)
def test_only_per_cpu_values_are_padded(kind: str, size: int, stride: int) -> None:
    assert value_stride(kind, size) == stride
