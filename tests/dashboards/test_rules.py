"""Recording rules and alerts: right by promtool, each alert with a case and a runbook."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.peers import PROGRAMS

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy/prometheus"
RULES = sorted(FOLDER.glob("*.yaml"))
CASES = sorted((FOLDER / "tests").glob("*.yaml"))
HEADING = re.compile(r"^## (\w+)$", re.MULTILINE)


def promtool(*words: str | Path) -> None:
    done = subprocess.run([PROGRAMS / "promtool", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rules(kind: str) -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = [
        rule
        for file in RULES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
        if kind in rule
    ]
    names = {rule[kind]: rule for rule in found}
    assert len(names) == len(found), "a name is there twice"
    return names


def cases() -> list[dict[str, Any]]:
    return [
        case
        for file in CASES
        for test in yaml.safe_load(file.read_text())["tests"]
        for case in test["alert_rule_test"]
    ]


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_promtool_takes_the_rules(file: Path) -> None:
    promtool("check", "rules", file)


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.name)
def test_alerts_fire_for_the_node_that_has_it_and_for_no_other(file: Path) -> None:
    promtool("test", "rules", file)


def test_every_alert_has_a_case_in_which_it_fires_once() -> None:
    fired = {case["alertname"]: len(case["exp_alerts"]) for case in cases()}
    assert fired == dict.fromkeys(rules("alert"), 1)


def test_every_alert_says_how_grave_it_is_and_what_is_the_matter() -> None:
    for name, rule in rules("alert").items():
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}, name
        assert rule["annotations"]["summary"], name


def test_every_alert_leads_to_its_own_place_in_the_runbook() -> None:
    text = (ROOT / "docs/runbooks.md").read_text()
    places = HEADING.findall(text)
    assert sorted(places) == sorted(rules("alert"))
    for name, rule in rules("alert").items():
        # a heading's anchor is its text in lower case
        assert rule["annotations"]["runbook_url"] == f"docs/runbooks.md#{name.lower()}"
        part = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for word in ("**Means**", "**Look at**", "**Do**"):
            assert word in part, f"{name}: {word}"


def test_every_recording_rule_is_used_or_says_its_level() -> None:
    for name in rules("record"):
        assert re.fullmatch(r"[a-z_]+:[a-z_0-9]+:[a-z_0-9]+", name), name
