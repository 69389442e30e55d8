"""What rules must have read, and that nothing else is."""

from pathlib import Path

import pytest

from exporter.interference.needs import Needs, take_rules
from exporter.interference.node_facts import NodeFacts
from tests.interference.facts import FACTS


def needs(folder: Path, scope: str, detect: str, more: str = "", facts: NodeFacts = FACTS) -> Needs:
    file = folder / "rules.yaml"
    file.write_text(
        f"rule_check:\n  {scope}:\n    - name: own\n      check_interval: 1s\n      {more}\n"
        f"      rules: [{{detects: [{detect}]}}]\n"
    )
    return take_rules(str(file), facts).needs


def expression(text: str) -> str:
    return f"{{name: expression, args: {{expression: '{text}'}}}}"


@pytest.mark.parametrize(
    ("text", "online", "programs"),
    [
        ("cpu_usage > 1", {"cpu_seconds"}, False),
        ("memory_cache_usage > 1Gi", {"cache_bytes"}, False),
        ("waited_for_offline > 0.1", {"waited_for_offline_seconds"}, True),
        ("load_avg > 8", {"cpu_seconds", "runq_wait_seconds"}, True),
        ("offline_cpu > 1", set(), False),
        ("listen_overflows > 1", {"listen_overflows"}, False),
    ],
)
def test_a_container_s_rule_needs_the_measures_that_it_names(
    tmp_path: Path, text: str, online: set[str], programs: bool
) -> None:
    found = needs(tmp_path, "container_rules", expression(text))
    assert found.online == online
    assert bool(found.programs) is programs


def test_suspects_are_read_by_what_they_are_ranked_by(tmp_path: Path) -> None:
    detect = "{name: psi, args: {resource: io, threshold: 0.2}}"
    found = needs(tmp_path, "container_rules", detect)
    assert found.online == {"io_some_seconds"}
    assert found.offline == {"read_bytes", "written_bytes"}


@pytest.mark.parametrize(
    ("text", "busiest", "links"),
    [
        ("cpu_avg > 0.9", False, False),
        ("cpu_per_core > 0.9", True, False),
        ("netio_recv_kbps / netio_speed > 0.9", False, True),
    ],
)
def test_a_node_s_rule_needs_no_cgroup_but_the_suspects(
    tmp_path: Path, text: str, busiest: bool, links: bool
) -> None:
    found = needs(tmp_path, "node_rules", expression(text))
    assert (found.online, found.busiest, found.links) == (frozenset(), busiest, links)
    assert not found.programs


def test_cycles_and_instructions_are_the_program_cpi_s(tmp_path: Path) -> None:
    facts = FACTS._replace(unavailable=())
    found = needs(tmp_path, "container_rules", expression("cpi > 2"), facts=facts)
    assert found.online == {"cycles", "instructions"}
    assert found.programs == ("cpi",)


def test_an_application_s_rule_needs_its_answers(tmp_path: Path) -> None:
    assert needs(tmp_path, "app_rules", "{name: slo, args: {threshold: 0.1}}").slo


def test_offline_containers_may_be_asked_too(tmp_path: Path) -> None:
    detect = expression("memory_cache_usage > 1Gi")
    found = needs(tmp_path, "container_rules", detect, "work: offline")
    assert found.online == frozenset()
    assert "cache_bytes" in found.offline


def test_the_shipped_rules_need_the_kernel_s_counts_of_waits() -> None:
    taken = take_rules("default", FACTS)
    assert taken.set.rules
    assert set(taken.needs.programs) == {"runqlat", "preemptions"}
