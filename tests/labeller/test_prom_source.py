"""Prometheus as it may answer, and rule files as people write them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from exporter.config import Duration, HttpUrl
from exporter.errors import ConfigError
from exporter.labeller.config import PromRules
from exporter.labeller.nodes import Known, by_name
from exporter.labeller.prom_source import PromSource
from exporter.labeller.rule_file import LONGEST, read_rules, resource_of
from exporter.pressure.marks import Marks
from exporter.pressure.standing import look
from tests.labeller.answering import Answer, answering, as_json, http, run

RULES = """
PromJob: {Name: "x"}
Rulename:
  Node_cpu1: {Promsql: "cpu > bool 0", Threshold: 70}
  Node_mem1: {Promsql: "mem", Threshold: "80.5"}
"""
NAMES = {"node-a": "node-a", "10.0.0.1": "node-a", "fd00::1": "node-b", "node-b": "node-b"}


def vector(*rows: tuple[str, str]) -> bytes:
    result = [{"metric": {"instance": name}, "value": [1.5, text]} for name, text in rows]
    return as_json({"status": "success", "data": {"resultType": "vector", "result": result}})


def played(folder: Path, answer: Answer, test: Callable[[PromSource, int], object]) -> None:
    (folder / "rule.yaml").write_text(RULES)

    async def inner() -> None:
        async with answering(answer) as port:
            url = HttpUrl(f"http://127.0.0.1:{port}")
            rules = PromRules(url, str(folder / "rule.yaml"), timeout=Duration("300ms"))
            source = PromSource(rules)
            try:
                await test(source, port)  # type: ignore[misc]
            finally:
                await source.close()

    run(inner)


def test_rules_are_read_with_thresholds_as_numbers_or_text(tmp_path: Path) -> None:
    (tmp_path / "rule.yaml").write_text(RULES)
    found = read_rules(tmp_path / "rule.yaml")
    assert [each.resource for each in found.rules] == ["Node_cpu1", "Node_mem1"]
    assert [each.threshold for each in found.rules] == [70.0, 80.5]
    assert found.problems == ()


@pytest.mark.parametrize("threshold", ["", "seventy", "nan", "inf", "70%", "[70]"])
def test_a_bad_threshold_costs_its_rule_and_is_not_zero(tmp_path: Path, threshold: str) -> None:
    path = tmp_path / "rule.yaml"
    path.write_text(
        f"Rulename:\n  bad: {{Promsql: x, Threshold: '{threshold}'}}\n"
        "  good: {Promsql: y, Threshold: 1}\n"
    )
    found = read_rules(path)
    assert [each.name for each in found.rules] == ["good"]
    assert found.broken == ("bad",)
    assert [(each.line, each.path) for each in found.problems] == [(2, "Rulename.bad.Threshold")]


def test_a_rule_s_name_becomes_one_that_a_label_may_have() -> None:
    assert resource_of("Node_cpu1") == "Node_cpu1"
    odd = [resource_of(name) for name in ("a b", "a/b", "é", "x" * 100, "x" * 101, "-")]
    assert len(set(odd)) == len(odd)
    assert all(len(each) <= LONGEST and each.strip("-_.") == each for each in odd)


@pytest.mark.parametrize("instance", ["10.0.0.1:9100", "10.0.0.1", "node-a", "node-a:9100"])
def test_an_instance_names_a_node_by_address_or_name(tmp_path: Path, instance: str) -> None:
    async def test(source: PromSource, port: int) -> None:
        values = await source.read(NAMES)
        assert values == {
            "node-a": {"Node_cpu1": 71.0, "Node_mem1": 71.0},
            "node-b": {"Node_cpu1": 3.0, "Node_mem1": 3.0},
        }
        assert source.unmatched == 2
        assert source.problems == []

    rows = [(instance, "70"), (instance, "71"), ("[fd00::1]:9100", "3"), ("stranger", "99")]
    played(tmp_path, lambda at, path: vector(*rows), test)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (vector(), "empty"),
        (vector(("node-a", "NaN")), "NaN"),
        (vector(("", "1")), "instance"),
        (as_json({"status": "error", "error": "parse error"}, 400), "HTTP 400"),
        (http(b"", 302, "location: http://127.0.0.1:1/\r\n"), "HTTP 302"),
        (http(b"garbage"), "no instant vector"),
        (as_json({"data": {"resultType": "scalar", "result": [1, "2"]}}), "no instant vector"),
        (as_json({"data": {"resultType": "matrix", "result": []}}), "matrix"),
        (None, "no answer in 300ms"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{", "closed"),
    ],
)
def test_whatever_prometheus_answers_that_is_no_value_is_unknown(
    tmp_path: Path, answer: bytes | None, why: str
) -> None:
    async def test(source: PromSource, port: int) -> None:
        assert await source.read(NAMES) == {}
        assert len(source.problems) == 2
        assert all(why in each for each in source.problems)

    played(tmp_path, lambda at, path: answer, test)


def test_a_prometheus_that_is_down_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "rule.yaml").write_text(RULES)

    async def test() -> None:
        rules = PromRules(HttpUrl("http://127.0.0.1:1"), str(tmp_path / "rule.yaml"))
        source = PromSource(rules)
        assert await source.read(NAMES) == {}
        assert len(source.problems) == 2
        await source.close()

    run(test)


@pytest.mark.parametrize("half", ["", "Rulename:\n  a: {Prom", "Rulename: {}", "[]", "\x00"])
def test_a_rule_file_being_rewritten_changes_nothing_until_it_is_whole(
    tmp_path: Path, half: str
) -> None:
    async def test(source: PromSource, port: int) -> None:
        before = source.file
        path = tmp_path / "rule.yaml"
        path.write_text(half)
        assert not source.look()
        assert source.file == before
        assert "stay as they were" in source.problems[0]
        path.write_text(RULES.replace("70", "75"))
        assert source.look()
        assert source.file.rules[0].threshold == 75.0
        assert source.problems == []

    played(tmp_path, lambda at, path: vector(("node-a", "1")), test)


def test_a_file_without_one_rule_is_no_beginning(tmp_path: Path) -> None:
    (tmp_path / "rule.yaml").write_text("Rulename: {a: {Promsql: x, Threshold: y}}")
    with pytest.raises(ConfigError, match=r"Rulename\.a\.Threshold"):
        PromSource(PromRules(HttpUrl("http://127.0.0.1:1"), str(tmp_path / "rule.yaml")))


def test_what_two_nodes_are_called_names_neither() -> None:
    def known(name: str, *names: str) -> tuple[str, Known]:
        standing = look({"metadata": {"name": name}}, "m", Marks())
        return name, Known(standing, "", names)

    found = by_name([known("a", "10.0.0.1", "b"), known("b", "10.0.0.1", "10.0.0.2")])
    assert found == {"a": "a", "b": "b", "10.0.0.2": "b"}
