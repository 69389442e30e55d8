"""Reloads are told as Prometheus tells its own."""

from exporter.metrics.reloads import Reloads
from exporter.testing import FakeClock


def values(reloads: Reloads) -> dict[str, float]:
    return {
        sample.name + "".join(sample.labels.values()): sample.value
        for family in reloads.collect()
        for sample in family.samples
    }


def test_the_start_is_a_success_and_a_failure_keeps_its_time() -> None:
    clock = FakeClock()
    reloads = Reloads(clock)
    started = clock.wall()
    clock.advance(60)
    reloads.failed("agent.yaml:1: x")
    assert values(reloads) == {
        "kernmesh_config_last_reload_successful": 0,
        "kernmesh_config_last_reload_success_timestamp_seconds": started,
        "kernmesh_config_reloads_totalsuccess": 0,
        "kernmesh_config_reloads_totalfailure": 1,
    }
    reloads.succeeded()
    assert reloads.problem is None
    assert values(reloads)["kernmesh_config_last_reload_successful"] == 1
    assert values(reloads)["kernmesh_config_last_reload_success_timestamp_seconds"] == started + 60
