"""What interference and jobs are told: rules.json and rules.yaml built to the end, caelus.json, an
application's own values, and the expressions in them all."""

import json

from exporter.interference.expression import parse
from exporter.interference.json_nodes import parse_json
from exporter.interference.node_facts import NodeFacts
from exporter.interference.rules import read_rules
from exporter.interference.sources.slo import parse_answer
from exporter.interference.syntax import ExpressionError
from exporter.usage.jobs_file import job_patterns
from tests.fuzz.ground import of_checkout, of_docs, put
from tests.fuzz.mutate import spoil_json, spoil_text, spoil_yaml
from tests.fuzz.target import Case, Target

_FACTS = NodeFacts.of(8.0, 32 * 2.0**30)
_CAELUS = {
    "task_type": {"online_type": "local"},
    "online": {
        "jobs": [{"name": "web", "command": "nginx.*worker"}, {"name": "db", "command": "^redis"}],
        "pid_to_cgroup": {"enable": True},
    },
}
_SLO = {
    "code": 0,
    "msg": "success",
    "data": [{"job_name": "web", "metric_name": "p99", "value": 1.5, "slo": 2}],
}
_EXPRESSIONS = (
    "cpu_avg > 0.9 && memory_available < 1Gi",
    "avg(cpu, 5m) >= 80% || !(load5 / cpus > 1.5)",
    "a*b - (c % 3) != -1.5e3",
)


def _rules(suffix: str, data: bytes) -> None:
    read_rules(put(f"rules{suffix}", data), _FACTS)


def _expression(data: bytes) -> None:
    str(parse(data.decode("utf-8", "replace")))


TARGET = Target(
    "rules",
    "rules.json and rules.yaml with their expressions, caelus.json, an application's SLO answer",
    (
        Case(
            "rules.json",
            lambda data: _rules(".json", data),
            lambda: of_checkout("tests/interference/valid/*.json", "tests/interference/**/*.json"),
            spoil_json,
        ),
        Case(
            "rules.yaml",
            lambda data: _rules(".yaml", data),
            lambda: [
                *of_checkout(
                    "exporter/interference/*.yaml",
                    "deploy/rules/*.yaml",
                    "tests/interference/**/*.yaml",
                ),
                *of_docs("yaml", "interference-rules", "interference"),
            ],
            spoil_yaml,
        ),
        Case(
            "caelus.json",
            lambda data: job_patterns((), str(put("caelus.json", data))),
            lambda: [json.dumps(_CAELUS).encode()],
            spoil_json,
        ),
        Case(
            "slo",
            lambda data: parse_answer(data, "slo"),
            lambda: [json.dumps(_SLO).encode()],
            spoil_json,
            tested="tests/interference/sources/test_slo.py",
        ),
        Case(
            "json",
            lambda data: parse_json(data, "f"),
            lambda: [b'{"a": [1, -2.5e3, "x\\u00e9", null, true]}'],
            spoil_json,
            tested="tests/interference/test_json_nodes.py",
        ),
        Case(
            "expression",
            _expression,
            lambda: [text.encode() for text in _EXPRESSIONS],
            spoil_text,
            refusals=(ExpressionError,),
            tested="tests/interference/test_expression.py",
        ),
    ),
)
