"""A real Prometheus scrapes real agents and a controller under load: every panel has something to
show, or stands below with what is not there. About 45 s."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain

import pytest

from tests.dashboards.queries import Query, queries
from tests.dashboards.stack import Stack, begin, load, stack
from tests.peers import Series

pytestmark = pytest.mark.bpf

NO_PMU = "hardware counters, which virtual machines mostly lack"
ABSENT: Mapping[str, str] = {
    "ebpf_exporter_cgroup_cycles_total": NO_PMU,
    "ebpf_exporter_cgroup_instructions_total": NO_PMU,
    "ebpf_exporter_llc_references_total": NO_PMU,
    "ebpf_exporter_llc_misses_total": NO_PMU,
    "ebpf_exporter_tcp_retransmit_ipv4_packets_total": "constants.per_address, off by default",
    "ebpf_exporter_tcp_retransmit_ipv6_packets_total": "constants.per_address, off by default",
    "kernmesh_ebpf_events_lost_total": "a program with a ring buffer; none of the shipped has one",
    "kernmesh_interference_verdicts_total": "interference.confirm, which throttles for real",
}
"""Metrics that nothing here has, and what they need."""

OUR_METRICS = re.compile(r"(?<![\w:])(?:ebpf_exporter|kernmesh|pingmesh|node)_\w+(?!\w|:)")

EMPTY: Mapping[tuple[str, str], str] = {
    ("kernmesh", "Which collectors fail"): "a collector that fails",
}
"""Panels without data although their metrics are there, and the event that they wait for."""


class Live:
    def __init__(self, made: Stack) -> None:
        self.prometheus = made.prometheus
        self.labels: dict[str, set[str]] = {}
        for labels in made.prometheus.ask("series", match='{__name__=~".+"}'):
            self.labels.setdefault(labels["__name__"], set()).update(labels)
        # one moment for all, at which everybody's last scrapes were whole: the machine is busy
        made.prometheus.eventually("min(min_over_time(up[5s])) == 1")
        (now,) = made.prometheus.query("vector(time())")
        self.at = now.value
        self.found = {query: self.ask(query) for query in queries()}

    def ask(self, query: Query, instance: str = ".+") -> list[Series]:
        return self.prometheus.query(query.filled(instance=instance), self.at)

    def lacking(self, query: Query) -> Iterator[str]:
        """Labels that the query asks for, and none of its metrics has."""
        for metric, label in query.matched():
            if label not in self.labels.get(metric, {label}):
                yield f"{metric} has no label {label}"
        if query.metrics <= self.labels.keys():
            all_labels = set(chain.from_iterable(self.labels[name] for name in query.metrics))
            yield from query.grouped - all_labels
        if rows := self.found[query]:
            yield from query.legends - set(chain.from_iterable(row.labels for row in rows))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("dashboards")
    with stack(folder) as made:
        begin(made.ground)
        # rates need series that have grown since they were first scraped
        for histogram in ("bio_latency", "accept_latency", "direct_reclaim", "shrink_node_latency"):
            made.prometheus.eventually(f"ebpf_exporter_{histogram}_seconds_count")
        load(made.ground)
        made.hurt()
        for wanted in (
            'min(pingmesh_rounds_total{lane="connections"}) >= 2',
            "kernmesh_mesh_fault",
            "rate(ebpf_exporter_tcp_retransmits_total[5m]) > 0",
            "rate(ebpf_exporter_direct_reclaim_seconds_count[5m]) > 0",
            "kernmesh_interference_suspect_score",
            "kernmesh_pressure_node_marked",
            "rack_pair:pingmesh_lost:ratio_rate5m",
            "instance_device_operation:ebpf_exporter_bio_latency_seconds:p99_5m",
            "changes(kernmesh_interference_incidents_total[2m]) > 0",
        ):
            made.prometheus.eventually(wanted)
        yield Live(made)


def test_every_metric_that_is_named_is_scraped_or_known_to_be_absent(live: Live) -> None:
    named = set(chain.from_iterable(query.metrics for query in queries()))
    assert named - live.labels.keys() == set(ABSENT)


def test_every_query_of_every_panel_has_data(live: Live) -> None:
    without = {query for query, rows in live.found.items() if not rows}
    known = {
        query
        for query in queries()
        if query.metrics & ABSENT.keys() or (query.dashboard, query.panel) in EMPTY
    }
    assert sorted(map(str, without - known)) == []
    assert sorted(map(str, known - without)) == []


def test_no_query_and_no_legend_uses_a_label_that_is_not_there(live: Live) -> None:
    lacking = {str(query): found for query in queries() if (found := [*live.lacking(query)])}
    assert lacking == {}


def test_prometheus_can_parse_and_format_every_query(live: Live) -> None:
    for query in queries():
        assert live.prometheus.ask("format_query", query=query.filled())


def test_choosing_one_instance_leaves_the_others_out(live: Live) -> None:
    (agent, *_) = [row.labels["instance"] for row in live.prometheus.query("node_cpu_usage_active")]
    for query, rows in live.found.items():
        chosen = live.ask(query, instance=agent.replace(".", "[.]"))
        instances = {row.labels["instance"] for row in chosen if "instance" in row.labels}
        assert instances <= {agent}, str(query)
        assert len(chosen) <= max(len(rows), 10), str(query)


def test_every_rule_is_evaluated_and_asks_for_what_is_scraped(live: Live) -> None:
    groups = live.prometheus.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) > 60
    assert [rule["name"] for rule in rules if rule.get("lastError")] == []
    for rule in rules:
        named = set(OUR_METRICS.findall(rule["query"]))
        assert named <= live.labels.keys() | ABSENT.keys(), rule["name"]
    recorded = {rule["name"] for rule in rules if rule["type"] == "recording"}
    assert recorded <= live.labels.keys()
