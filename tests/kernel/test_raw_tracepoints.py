"""raw-tracepoints against a known number of timers."""

from pathlib import Path

import pytest

from tests.kernel.conftest import Load, counts, shipped_program
from tests.kernel.quiet import least
from tests.kernel.test_shipped import kernel_function
from tests.kernel.workloads import start_keepalive_timers

pytestmark = pytest.mark.bpf


def test_raw_tracepoints_counts_each_started_timer_by_its_function(
    shipped: Path, loaded: Load
) -> None:
    running = loaded(shipped_program(shipped, "raw-tracepoints"))

    def found() -> dict[bytes, int]:
        return counts(running, "raw_timer_starts_total")

    risen = least(found, lambda: start_keepalive_timers(1234), rounds=5)
    assert risen[kernel_function("tcp_keepalive_timer")] == 1234
    assert running.refused_updates() == {"raw_timer_starts_total": 0}


def test_both_timer_programs_count_the_same_at_once(shipped: Path, loaded: Load) -> None:
    raw = loaded(shipped_program(shipped, "raw-tracepoints"))
    typed = loaded(shipped_program(shipped, "timers"))
    key = kernel_function("tcp_keepalive_timer")

    def found() -> dict[str, int]:
        return {
            "raw": counts(raw, "raw_timer_starts_total").get(key, 0),
            "typed": counts(typed, "timer_starts_total").get(key, 0),
        }

    risen = least(found, lambda: start_keepalive_timers(700), rounds=5)
    assert risen == {"raw": 700, "typed": 700}
