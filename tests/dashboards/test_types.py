"""Grafana's own types hold the dashboards: npm @grafana/schema's Dashboard, by tsc. About 5 s.

Before that, what only older Grafanas write is put as current ones have it in memory: a datasource
becomes a reference, as their migration to schema 33 does it, and keys that 7.5 alone reads go.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.dashboards.queries import dashboards

CACHE = Path(__file__).resolve().parents[2] / ".cache/grafana"
OF_IMPORT = {"__inputs", "__requires"}
OF_7_5 = {
    # a heatmap's, now in options
    *("dataFormat", "color", "cards", "heatmap", "hideZeroBuckets", "highlightCards", "legend"),
    *("reverseYBuckets", "yBucketBound", "tooltip", "xAxis", "yAxis", "xBucketNumber"),
    *("xBucketSize", "yBucketNumber", "yBucketSize"),
    # an annotation's, now in target
    *("expr", "step", "titleFormat", "textFormat", "tagKeys"),
}
# What has no enum, as JSON has none, is held to an enum's texts.
CHECK = """
import type {{ Dashboard }} from '@grafana/schema';
type Json<T> = unknown extends T ? T
  : T extends string ? `${{T}}`
  : T extends number | boolean | null | undefined ? T
  : T extends Array<infer Each> ? Json<Each>[]
  : {{ [Key in keyof T]: Json<T[Key]> }};
export const dashboard: Partial<Json<Dashboard>> = {text};
"""
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "text": ({"schemaVersion": "32"}, "not assignable to type 'number'"),
    "typo": ({"panles": []}, '"panles"\' does not exist'),
    "enum": ({"panels": [{"type": "stat", "fieldConfig": {"defaults": {
        "color": {"mode": "pallette"}}, "overrides": []}}]}, '"pallette"'),
}  # fmt: skip


def migrated(value: Any, top: bool = True) -> Any:
    """Of a panel or an annotation, and of the dashboard, the keys that current Grafanas know."""
    if isinstance(value, list):
        return [migrated(each, False) for each in value]
    if not isinstance(value, dict):
        return value
    place = "gridPos" in value or "iconColor" in value
    dropped = OF_IMPORT if top else OF_7_5 if place else set[str]()
    kept = {key: migrated(each, False) for key, each in value.items() if key not in dropped}
    if isinstance(value.get("datasource"), str):
        kept["datasource"] = {"uid": value["datasource"]}
    return kept


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What tsc says, a line each; of all at once, since that takes it hardly longer than one."""
    folder = tmp_path_factory.mktemp("types")
    sources = {name: migrated(found) for name, found in dashboards().items()}
    sources |= {name: {**sources["pressure"], **change} for name, (change, _) in WRONG.items()}
    for name, value in sources.items():
        (folder / f"{name}.ts").write_text(CHECK.format(text=json.dumps(value)))
    (folder / "node_modules").symlink_to(CACHE / "node_modules")
    tsc = CACHE / "node_modules/.bin/tsc"
    assert tsc.exists(), f"{tsc} is missing: make .cache/grafana/.installed"
    options = ["--noEmit", "--strict", "--skipLibCheck", "--moduleResolution", "bundler"]
    options += ["--module", "esnext", "--target", "es2022"]
    done = subprocess.run(
        [tsc, *options, *(f"{name}.ts" for name in sources)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    return (done.stdout + done.stderr).splitlines()


def test_grafana_s_types_take_every_dashboard(complaints: list[str]) -> None:
    assert [line for line in complaints if not line.startswith((*WRONG, " "))] == []


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_dashboard_is_seen(name: str, complaints: list[str]) -> None:
    _, said = WRONG[name]
    (line,) = [line for line in complaints if line.startswith(f"{name}.ts")]
    assert said in "".join(complaints[complaints.index(line) :][:9])
