"""agent.yaml's JSON Schema says what the reader says."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from exporter.config import agent_schema

HERE = Path(__file__).parent
# What a schema cannot see: rules across keys, ranges in text, the environment, RE2's own rules,
# and what YAML 1.1 readers take for a number.
BEYOND_A_SCHEMA = {
    "command-no-path",
    "crane-timezone",
    "dirs-twice",
    "duration-too-long",
    "enter",
    "enter-default",
    "fast-interval-longer",
    "fast-interval-short",
    "interval-short",
    "job-command",
    "job-lookahead",
    "jobs-twice",
    "key-twice",
    "level",
    "listen-port",
    "listen-twice",
    "node-not-in-environment",
    "node-null",
    "number-long",
    "number-octal",
    "pinglist-and-controller",
    "programs-twice",
    "reach-twice",
    "retention-short",
    "tls-half-a-pair",
    "tls-in-the-clear",
    "usage-metric-period",
    "usage-metric-window",
    "usage-metrics-twice",
}


def as_an_editor_reads(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def readable() -> list[Path]:
    """Those of the invalid files that are YAML at all."""
    found = []
    for path in sorted((HERE / "agent").glob("*.yaml")):
        try:
            as_an_editor_reads(path)
        except (yaml.YAMLError, UnicodeDecodeError, TypeError):
            continue
        found.append(path)
    return [path for path in found if path.stem != "billion-laughs"]


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = agent_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_contract_s_file_is_valid(validator: jsonschema.Draft202012Validator) -> None:
    assert [
        e.message for e in validator.iter_errors(as_an_editor_reads(HERE / "valid/contract.yaml"))
    ] == []


def test_every_default_is_valid_by_its_own_schema(
    validator: jsonschema.Draft202012Validator,
) -> None:
    defaults = {key: each["default"] for key, each in agent_schema()["properties"].items()}
    assert set(defaults) == set(agent_schema()["properties"])
    assert [error.message for error in validator.iter_errors(defaults)] == []


@pytest.mark.parametrize("path", readable(), ids=lambda path: path.stem)
def test_an_invalid_file_is_invalid_for_an_editor_too(
    path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    assert validator.is_valid(as_an_editor_reads(path)) == (path.stem in BEYOND_A_SCHEMA)


def test_the_schema_is_json_and_describes_every_section() -> None:
    schema = json.loads(json.dumps(agent_schema()))
    assert {
        key for key, each in schema["properties"].items() if not each.get("description")
    } == set()
    assert schema["properties"]["usage"]["properties"]["interval"]["default"] == "10s"
