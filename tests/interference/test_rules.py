"""Rules files that are right: Caelus' as it is, ours, and what is made of them."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter.config import schema_of
from exporter.interference.expression import parse
from exporter.interference.model import ActionSpec, Rule, Step
from exporter.interference.node_facts import NodeFacts, auto_expression
from exporter.interference.rules import Rules, read_rules
from exporter.interference.rules_file import RulesFile
from exporter.interference.rules_words import rule_lines, seconds
from tests.interference.facts import FACTS

HERE = Path(__file__).parent
CAELUS = HERE / "valid" / "caelus.json"
ROOT = HERE.parents[1]
SHIPPED = sorted(
    [*(ROOT / "deploy" / "rules").glob("*.yaml"), *(ROOT / "exporter/interference").glob("*.yaml")]
)


def read_json(folder: Path, value: Any, facts: NodeFacts = FACTS) -> Rules:
    path = folder / "rules.json"
    path.write_text(json.dumps(value, indent=1))
    return read_rules(path, facts)


def rule(*detects: Any, **more: Any) -> dict[str, Any]:
    return {"metrics": ["cpu_avg"], "rules": [{"detects": list(detects)}], **more}


def expression(text: str, **more: Any) -> dict[str, Any]:
    return {"name": "expression", "args": {"expression": text, **more}}


def words(rules: Rules, index: int = 0) -> str:
    return rules.words[index].entries[0].any_of[0]


def named(rules: Rules) -> dict[str, Rule]:
    return {each.name: each for each in rules.set.rules}


def test_caelus_rules_json_reads_as_it_is() -> None:
    rules = read_rules(CAELUS, FACTS)
    assert [each.name for each in rules.set.rules] == [
        "cpu",
        "memory",
        "diskio",
        "load",
        "container_rules[0]",
        "search",
        "osd:latency",
        "osd:latency (app_rules[2])",
        "cgroup_notify.pressures[0]",
        "cgroup_notify.usages[0]",
    ]
    cpu = named(rules)["cpu"]
    assert (cpu.check_interval, cpu.handle_interval, cpu.recover_interval) == (10.0, 120.0, 180.0)
    assert cpu.entries[0].actions == (
        ActionSpec("adjust", steps=(Step("cpu", 1.0, None),)),
        ActionSpec("schedule"),
    )
    assert cpu.recover[0].actions == (ActionSpec("adjust", steps=(Step("cpu", 0.5, None),)),)
    assert (cpu.severity, cpu.cooldown, cpu.scope, cpu.place) == (
        "warning", 0.0, "node", f"{CAELUS}:6",
    )  # fmt: skip


def test_what_caelus_takes_and_is_not_to_be_had_costs_the_detect_and_is_told_with_its_line() -> (
    None
):
    rules = read_rules(CAELUS, FACTS)
    told = [warning.removeprefix(f"{CAELUS}:") for warning in rules.set.warnings]
    assert [line.split(":")[0] for line in told] == ["62", "78", "81", "113"]
    assert "unknown variable nf_conntrack_count" in told[0]
    assert told[0].endswith("this detect is left out")
    assert len(named(rules)["load"].entries[0].any_of) == 1
    assert len(named(rules)["container_rules[0]"].entries[0].any_of) == 3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_rules_load_without_a_warning(path: Path) -> None:
    rules = read_rules(path, NodeFacts.of(2.0, 4 * 2.0**30))
    assert rules.set.warnings == ()
    assert rules.set.rules


def test_the_schema_takes_what_the_reader_takes() -> None:
    schema = schema_of(RulesFile)
    for path in SHIPPED:
        jsonschema.validate(yaml.safe_load(path.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"rule_check": {"node_rules": [{"named": "x"}]}}, schema)


@pytest.mark.parametrize(
    ("name", "recovers", "text"),
    [
        ("cpu", False, "cpu_avg > 0.9"),  # (8 − 0.8) / 8, which is not under 0.85
        ("cpu", True, "cpu_avg < 0.85"),
        ("memory", False, f"memory_available < {2**30}"),
        ("memory", True, f"memory_available > {2**31}"),
    ],
)
def test_auto_is_made_of_the_nodes_size_and_reserve(name: str, recovers: bool, text: str) -> None:
    metric = "cpu_avg" if name == "cpu" else "memory_available"
    assert auto_expression(name, metric, FACTS, recovers) == text


def test_auto_gives_a_twentieth_to_nodes_with_a_large_reserve() -> None:
    facts = FACTS._replace(cpu_reserve=2.0)
    assert auto_expression("cpu", "cpu_avg", facts, False) == "cpu_avg > 0.8"
    assert auto_expression("cpu", "cpu_avg", facts, True) == "cpu_avg < 0.75"


@pytest.mark.parametrize(
    ("name", "facts"),
    [("cpu", FACTS._replace(cpu_reserve=0.0)), ("memory", FACTS._replace(memory_reserve=2.0**29))],
)
def test_an_auto_that_can_never_fire_is_left_out_and_told(
    tmp_path: Path, name: str, facts: NodeFacts
) -> None:
    metric = {"cpu": "cpu_avg", "memory": "memory_available"}[name]
    value = {"rule_check": {"node_rules": [rule(expression("auto"), name=name, metrics=[metric])]}}
    rules = read_json(tmp_path, value, facts)
    assert rules.set.rules == ()
    left_out, why = rules.set.warnings
    assert "nothing of it can be asked here" in left_out
    assert "auto can never fire here" in why


@pytest.mark.parametrize(
    ("args", "want"),
    [
        ({}, "cpu_avg > 0.9 holds"),
        ({"warning_count": 0}, "cpu_avg > 0.9 holds"),
        ({"warning_count": 1, "warning_duration": "10s"}, "cpu_avg > 0.9 holds"),
        ({"warning_count": 3}, "cpu_avg > 0.9 holds for 3 samples in a row"),
        ({"warning_duration": 10_000_000_000}, "cpu_avg > 0.9 holds for 10s"),
        (
            {"warning_count": 3, "warning_duration": "1m30s"},
            "cpu_avg > 0.9 holds for 3 samples in a row or 1m30s",
        ),
    ],
)
def test_count_and_duration_are_as_caelus_has_them(
    tmp_path: Path, args: dict[str, Any], want: str
) -> None:
    value = {"rule_check": {"node_rules": [rule(expression("cpu_avg > 0.9", **args))]}}
    assert words(read_json(tmp_path, value)) == want


@pytest.mark.parametrize(
    ("group", "name", "text", "want"),
    [
        ("node_rules", "diskio", "$dev_diskio_util > 0.9", "diskio_util[$dev] > 0.9"),
        ("node_rules", "diskio", "sda_diskio_util > 0.9", "diskio_util[sda] > 0.9"),
        ("node_rules", "netio", "eth0_netio_drop_in > 1", "netio_drop_in[eth0] > 1"),
        ("app_rules", "osd:lat", "value > 2*slo", "value[osd:lat] > 2 * slo[osd:lat]"),
        ("app_rules", "osd:latency", "slo_min < 0.1", "slack[osd:latency] < 0.1"),
        ("app_rules", "search", "slo_min < 0.1", "slo_min < 0.1"),
    ],
)  # fmt: skip
def test_caelus_names_of_devices_and_jobs_are_resolved(
    tmp_path: Path, group: str, name: str, text: str, want: str
) -> None:
    value = {"rule_check": {group: [rule(expression(text), name=name, metrics=[])]}}
    assert words(read_json(tmp_path, value)).startswith(want)


@pytest.mark.parametrize(
    ("name", "subjects"), [("osd:latency", "^(osd)$"), ("slo", "^$"), ("anything", "^$")]
)
def test_an_app_rule_is_asked_of_its_job_or_of_all_together(
    tmp_path: Path, name: str, subjects: str
) -> None:
    value = {"rule_check": {"app_rules": [rule(expression("slo_min < 0.1"), name=name)]}}
    assert read_json(tmp_path, value).set.rules[0].subjects == subjects


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        (expression("cpu_avg > 90"), "never holds"),
        (expression("memory_available < cpu_avg"), "between bytes"),
        (expression("cpu_avg > 0.9", nr=3), "is no argument of expression"),
        ({"name": "ewma", "args": {"nr": 5}}, "11 is taken"),
        ({"name": "ewma", "args": {"metric": "cpu_avg"}}, "is missing, want 11 or more"),
    ],
)
def test_what_caelus_passed_over_is_a_warning_in_its_file(
    tmp_path: Path, change: dict[str, Any], warning: str
) -> None:
    rules = read_json(tmp_path, {"rule_check": {"node_rules": [rule(change)]}})
    assert len(rules.set.rules[0].entries[0].any_of) == 1
    assert warning in rules.set.warnings[0]


def test_keys_that_caelus_does_not_know_are_passed_over_and_told(tmp_path: Path) -> None:
    value = {"rule_node": 1, "rule_check": {"node_rules": [rule(expression("cpu_avg > 0.9"))]}}
    rules = read_json(tmp_path, value)
    assert len(rules.set.rules) == 1
    assert rules.set.warnings == (
        f"{tmp_path}/rules.json:2: rule_node: unknown key (did you mean rule_nodes?), passed over",
    )


@pytest.mark.parametrize("key", ["cgroup_notify", "notify_config"])
def test_cgroup_notify_is_read_under_both_names(tmp_path: Path, key: str) -> None:
    memory = {
        "pressures": [{"cgroups": ["/a/b", "c.d/"], "pressure_level": "critical", "count": 2}],
        "usages": [{"cgroups": ["/a"], "margin_mb": 1, "duration": "1m"}],
    }
    pressure, usage = read_json(tmp_path, {key: {"memory_cgroup": memory}}).set.rules
    assert pressure.subjects == "^/?(a/b|c\\.d)$"
    assert (usage.scope, usage.work, usage.entries[0].hold) == ("container", None, 60.0)


@pytest.mark.parametrize(
    ("change", "facts", "why"),
    [
        ({"disable": True}, FACTS, "disable is true"),
        (
            {"rule_nodes": ["192.0.2.1"]},
            FACTS._replace(addresses=frozenset(["192.0.2.7"])),
            "rule_nodes has no address of this node (192.0.2.7)",
        ),
    ],
)
def test_a_file_that_is_not_for_this_node_has_no_rules(
    tmp_path: Path, change: dict[str, Any], facts: NodeFacts, why: str
) -> None:
    value = {"rule_check": {"node_rules": [rule(expression("cpu_avg > 0.9"))]}, **change}
    rules = read_json(tmp_path, value, facts)
    assert rules.set.rules == ()
    assert why in rules.set.warnings[0]


@pytest.mark.parametrize("addresses", [None, frozenset(["192.0.2.1", "::1"])])
def test_a_file_for_this_node_has_its_rules(
    tmp_path: Path, addresses: frozenset[str] | None
) -> None:
    value = {
        "rule_nodes": ["192.0.2.1"],
        "rule_check": {"node_rules": [rule(expression("cpu_avg > 0.9"))]},
    }
    assert len(read_json(tmp_path, value, FACTS._replace(addresses=addresses)).set.rules) == 1


YAML = """\
rule_check:
  container_rules:
    - name: slow
      check_interval: 1s
      subjects: ^/kubepods/burstable/
      severity: critical
      cooldown: 5m
      longest_clear: 10m
      rules:
        - any: [{name: expression, args: {expression: cpu_usage > 2}}]
          all:
            - {name: psi, args: {resource: cpu, threshold: 0.2}}
            - {name: runq, args: {delay: 5ms}}
          for: 4s
          clear: 30s
          actions:
            - {name: preempt}
            - {name: webhook, args: {url: "http://127.0.0.1:9/hook"}}
            - {name: io, args: {limits: {rbps: 1Mi, riops: 100}}}
"""


def test_yaml_says_what_rules_json_cannot(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(YAML)
    rules = read_rules(path, FACTS)
    slow = rules.set.rules[0]
    entry = slow.entries[0]
    assert (len(entry.any_of), len(entry.all_of), entry.hold, entry.clear) == (1, 2, 4.0, 30.0)
    assert (slow.severity, slow.cooldown, slow.subjects) == (
        "critical", 300.0, "^/kubepods/burstable/",
    )  # fmt: skip
    assert entry.actions == (
        ActionSpec("preempt"),
        ActionSpec("webhook", url="http://127.0.0.1:9/hook"),
        ActionSpec("io", limits=(("rbps", 2.0**20), ("riops", 100.0))),
    )
    assert "\n".join(rule_lines(slow, rules.words[0])) == (
        f"slow (critical), {path}:3\n"
        "  asked of online containers that match ^/kubepods/burstable/ every 1s\n"
        "  when (cpu_usage > 2 holds) and (some tasks wait for cpu more than 20 % of 10s) and "
        "(5 % of its waits for a CPU in 10s take longer than 5ms)\n"
        "    and that for 4s\n"
        "    then let offline work run only on idle CPUs, post to http://127.0.0.1:9/hook, limit "
        "offline disk I/O (rbps 1048576, riops 100); again every 1s while it holds\n"
        "    over once nothing of it held for 30s, up to 10m if it keeps coming back\n"
        "  taken back a step every 1s\n"
        "  and then left alone for 5m"
    )


def test_a_detector_that_this_machine_cannot_have_is_left_out_with_the_reason(
    tmp_path: Path,
) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(YAML.replace("{name: runq, args: {delay: 5ms}}", "{name: cpi}"))
    rules = read_rules(path, FACTS)
    assert rules.set.rules == ()
    assert rules.set.warnings[1].endswith("name: cpi is not to be had here: no PMU")


def test_a_rule_that_moved_is_the_same_and_one_that_changed_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(YAML)
    before = read_rules(path, FACTS).set.identity
    path.write_text("# moved\n\n" + YAML)
    assert read_rules(path, FACTS).set.identity == before
    path.write_text(YAML.replace("for: 4s", "for: 5s"))
    assert read_rules(path, FACTS).set.identity != before


def test_a_rule_of_auto_is_another_rule_on_another_node(tmp_path: Path) -> None:
    value = {"rule_check": {"node_rules": [rule(expression("auto"), name="cpu")]}}
    here = read_json(tmp_path, value).set.identity
    assert read_json(tmp_path, value, FACTS._replace(cpu_reserve=2.0)).set.identity != here


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.03, "30ms"), (1, "1s"), (1.5, "1.5s"), (90, "1m30s"), (3600, "1h"), (120 + 1e-12, "2m")],
)
def test_seconds_read_as_durations_are_written(value: float, text: str) -> None:
    assert seconds(value) == text


def test_an_expression_over_lines_is_one_condition() -> None:
    assert str(parse("cpu_avg > 0.9\n  && load_1min > 3\n")) == "cpu_avg > 0.9 && load_1min > 3"
