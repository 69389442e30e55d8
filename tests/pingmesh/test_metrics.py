"""Metrics by FORMATS.md section 2: a gauge belongs to its round, the healthy have none."""

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter.testing import FakeClock
from pingmesh.flight import Flight
from pingmesh.metrics import MAX_CLASSES, Board, Facts
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import NO_NUMBERS, Outcome, probes

FACTS = Facts(ended=1_700_000_000.0, duration=9.0, period=10.0, lateness=0.01, delay=200.0)


class Mesh:
    """A board and a list; `round` publishes one round of results, seconds or reasons."""

    def __init__(self, text: str, max_classes: int = MAX_CLASSES) -> None:
        self.clock = FakeClock()
        self.board = Board(self.clock, max_classes)
        self.probes = probes(targets(read_pinglist(text.encode())))
        self.tallies = self.board.tallies(self.probes, {"zone": "here", "rack": "r1"})

    def round(self, *results: float | str, outcomes: dict[int, Outcome] | None = None) -> None:
        flight = Flight(1, len(self.probes), 2.0)
        for index, result in enumerate(results):
            if isinstance(result, str):
                flight.fail(index, result)
            else:
                flight.succeed(index, result)
        assert flight.done
        self.board.publish("x", self.probes, self.tallies, flight, FACTS, outcomes or {})

    def lines(self, name: str) -> list[str]:
        registry = CollectorRegistry()
        registry.register(self.board)
        text = generate_latest(registry).decode()
        return [line for line in text.splitlines() if line.startswith(name)]


THREE = "mesh: {a: {name: t, ips: [h1, h2, h3]}}"


def test_a_probe_at_or_under_delay_leaves_no_series_and_one_over_it_does() -> None:
    mesh = Mesh(THREE)
    mesh.round(0.2, 0.2001, 0.0001)
    assert mesh.lines("pingmesh_fail") == []
    assert mesh.lines("pingmesh_duration") == [
        'pingmesh_duration_milliseconds{target="h2",tor="t"} 200.1'
    ]


def test_a_failure_leaves_no_stale_duration_beside_it() -> None:
    mesh = Mesh(THREE)
    mesh.round(0.3, 0.3, 0.3)
    mesh.round("timeout", 0.1, 0.4)
    assert mesh.lines("pingmesh_fail") == ['pingmesh_fail{target="h1",tor="t"} 1.0']
    assert mesh.lines("pingmesh_duration") == [
        'pingmesh_duration_milliseconds{target="h3",tor="t"} 400.0'
    ]


def test_the_next_round_replaces_a_gauge() -> None:
    mesh = Mesh(THREE)
    mesh.round("timeout", "refused", 0.3)
    mesh.round(0.1, 0.1, 0.1)
    assert mesh.lines("pingmesh_fail") + mesh.lines("pingmesh_duration") == []


def test_what_was_not_probed_is_neither_good_nor_lost() -> None:
    mesh = Mesh(THREE)
    mesh.round("permission", 0.1, "denied")
    assert mesh.lines("pingmesh_fail") == []
    assert mesh.lines("pingmesh_skipped_total") == [
        'pingmesh_skipped_total{probe="icmp",reason="permission"} 1.0',
        'pingmesh_skipped_total{probe="icmp",reason="denied"} 1.0',
    ]
    assert mesh.lines("pingmesh_probes_total")[0].endswith(" 1.0")
    assert mesh.lines("pingmesh_round_probes") == [
        'pingmesh_round_probes{lane="x",result="ok"} 1.0',
        'pingmesh_round_probes{lane="x",result="lost"} 0.0',
        'pingmesh_round_probes{lane="x",result="skipped"} 2.0',
    ]


def test_ten_thousand_healthy_targets_add_no_series_of_their_own() -> None:
    hosts = ", ".join(f"10.0.{n >> 8}.{n & 255}" for n in range(10_000))
    few, many = Mesh(THREE), Mesh(f"mesh: {{a: {{name: t, ips: [{hosts}]}}}}")
    few.round(*[0.001] * 3)
    many.round(*[0.001] * 10_000)
    assert len(many.lines("pingmesh")) == len(few.lines("pingmesh"))


def test_losses_are_counted_by_reason_and_the_drop_rate_follows() -> None:
    mesh = Mesh(THREE)
    mesh.round("timeout", 0.1, 0.1)
    mesh.round("timeout", "refused", 0.1)
    place = 'probe="icmp",{}source_rack="r1",source_zone="here",target_rack="",target_zone=""'
    assert mesh.lines("pingmesh_lost_total") == [
        "pingmesh_lost_total{" + place.format('reason="timeout",') + "} 2.0",
        "pingmesh_lost_total{" + place.format('reason="refused",') + "} 1.0",
    ]
    assert mesh.lines("pingmesh_drop_ratio") == [
        "pingmesh_drop_ratio{" + place.format("") + "} 0.5"
    ]


@pytest.mark.parametrize("step", [-86_400.0, 86_400.0])
def test_a_wall_clock_that_is_set_changes_no_drop_rate(step: float) -> None:
    mesh = Mesh("mesh: {a: {ips: [h1, h2]}}")
    mesh.round(0.1, "timeout")
    mesh.clock.set_wall(mesh.clock.wall() + step)
    [line] = mesh.lines("pingmesh_drop_ratio")
    assert line.endswith(" 0.5")
    mesh.clock.advance(601.0)
    assert mesh.lines("pingmesh_drop_ratio") == []


def test_round_trips_are_in_buckets_by_zone_and_rack() -> None:
    mesh = Mesh("mesh: {a: {ips: [h1, h2], labels: {zone: z, rack: r2}}, b: {ips: [h3]}}")
    mesh.round(0.00005, 0.0045, 9.0)
    near = [line for line in mesh.lines("pingmesh_rtt_seconds") if 'target_rack="r2"' in line]
    counts = {line.split('le="')[1].split('"')[0]: line[-3:] for line in near if "le=" in line}
    assert (counts["5e-05"], counts["0.004"], counts["0.005"], counts["+Inf"]) == (
        "1.0",
        "1.0",
        "2.0",
        "2.0",
    )
    [total] = [float(line.rsplit(" ", 1)[1]) for line in near if "_sum" in line]
    assert total == pytest.approx(0.00455)


def test_classes_are_bounded_by_the_setting_and_the_rest_is_other() -> None:
    groups = ", ".join(f"g{n}: {{ips: [h{n}], labels: {{rack: r{n}}}}}" for n in range(500))
    mesh = Mesh(f"mesh: {{{groups}}}", max_classes=128)
    mesh.round(*[0.001] * 500)
    lines = mesh.lines("pingmesh_probes_total")
    assert len(lines) == 128 + 1
    [other] = [line for line in lines if 'target_rack="other"' in line]
    assert other.endswith(f" {500 - 128}.0")
    assert mesh.board.folded == 500 - 128


def test_the_racks_of_a_large_mesh_have_series_of_their_own() -> None:
    groups = ", ".join(f"g{n}: {{ips: [h{n}], labels: {{rack: r{n}}}}}" for n in range(400))
    mesh = Mesh(f"mesh: {{{groups}}}")
    mesh.round(*[0.001] * 400)
    assert len(mesh.lines("pingmesh_probes_total")) == 400
    assert mesh.board.folded == 0


def test_a_target_in_two_groups_is_probed_once_and_has_both_series() -> None:
    mesh = Mesh("mesh: {a: {ips: [h]}, b: {ips: [h]}}")
    mesh.round("timeout")
    assert mesh.lines("pingmesh_fail") == [
        'pingmesh_fail{target="h",tor="a"} 1.0',
        'pingmesh_fail{target="h",tor="b"} 1.0',
    ]


def test_what_probes_found_out_has_its_metrics() -> None:
    mesh = Mesh("mesh: {a: {probe: tcp, port: 1, ips: [h]}, b: {probe: ntp, ips: [n]}}")
    tcp = Outcome(0.1, "", {"connect": 0.1}, {"tcp_retransmits": 2.0})
    ntp = Outcome(0.1, "", NO_NUMBERS, {"ntp_offset_seconds": -0.25})
    mesh.round(0.1, 0.1, outcomes={0: tcp, 1: ntp})
    assert mesh.lines("pingmesh_tcp_retransmits_total")[0].endswith(" 2.0")
    assert mesh.lines("pingmesh_ntp_offset_seconds") == [
        'pingmesh_ntp_offset_seconds{target="n",tor="b"} -0.25'
    ]
    assert 'pingmesh_phase_seconds_count{phase="connect",probe="tcp"} 1.0' in "".join(
        mesh.lines("pingmesh_phase_seconds_count")
    ).replace('probe="tcp",phase="connect"', 'phase="connect",probe="tcp"')


def test_a_changed_list_keeps_the_series_of_pairs_that_stay() -> None:
    mesh = Mesh(THREE)
    mesh.round("timeout", "timeout", 0.3)
    mesh.board.retain("x", {("h1", "t")})
    assert mesh.lines("pingmesh_fail") == ['pingmesh_fail{target="h1",tor="t"} 1.0']
    assert mesh.lines("pingmesh_duration") == []
    mesh.board.drop("x")
    assert mesh.lines("pingmesh_fail") == []
    assert len(mesh.lines("pingmesh_probes_total")) == 1


@pytest.mark.parametrize("name", ["pingmesh_last_round_timestamp_seconds", "pingmesh_rounds_total"])
def test_ok_is_told_from_no_data(name: str) -> None:
    mesh = Mesh(THREE)
    assert mesh.lines(name) == []
    mesh.round(0.1, 0.1, 0.1)
    assert len(mesh.lines(name)) == 1
