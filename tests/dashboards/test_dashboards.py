"""The dashboards that are checked in: current, and as Grafana and its linter want them.

Rules are dashboard-linter's (https://github.com/grafana/dashboard-linter/blob/main/docs/index.md)
and issue 8's.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from exporter.cli import main
from exporter.dashboards.layout import WIDTH, assemble
from exporter.dashboards.render import names
from exporter.ebpf.objectfile import shipped_folder
from tests.dashboards.queries import FOLDER, MATCHERS, SELECTOR, dashboards, panels, queries

SIX = ["ebpf-hooks", "interference", "kernmesh", "node-usage", "pingmesh", "pressure"]
TYPES = {"timeseries", "stat", "table", "heatmap", "bargauge"}
LAST_SCHEMA_WITH_STRINGS = 32
ANNOTATIONS = {"Incident", "Action", "Level changed", "Fault named"}
DASHBOARDS = dashboards()
each_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def built(folder: Path, *words: str) -> dict[str, str]:
    assert main(["dashboards", "build", "--out", str(folder), *words]) == 0
    return {path.name: path.read_text() for path in folder.iterdir()}


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for each in value.values() for text in strings(each)]
    if isinstance(value, list):
        return [text for each in value for text in strings(each)]
    return [value] if isinstance(value, str) else []


def test_what_is_checked_in_is_what_the_templates_say(tmp_path: Path) -> None:
    kept = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert sorted(kept) == [f"{name}.json" for name in SIX]
    assert built(tmp_path) == kept, "kernmesh dashboards build --out dashboards"


def test_every_shipped_program_has_a_row() -> None:
    rows = [panel["title"] for panel in DASHBOARDS["ebpf-hooks"]["panels"] if "panels" in panel]
    assert rows == ["Programs", *sorted(path.stem for path in shipped_folder().glob("*.yaml"))]


@each_dashboard
def test_a_dashboard_is_ready_to_import(name: str) -> None:
    dashboard = DASHBOARDS[name]
    (datasource,) = dashboard["__inputs"]
    assert (datasource["name"], datasource["pluginId"]) == ("DS_PROMETHEUS", "prometheus")
    types = {panel["type"] for panel in panels(dashboard)}
    assert types <= TYPES
    assert {each["id"] for each in dashboard["__requires"]} == {"grafana", "prometheus", *types}
    assert dashboard["id"] is None
    assert re.fullmatch("[a-z0-9-]{8,40}", dashboard["uid"])
    assert dashboard["version"] >= 1
    assert dashboard["schemaVersion"] == LAST_SCHEMA_WITH_STRINGS
    assert dashboard["title"].startswith("kernmesh: ")
    assert dashboard["description"].endswith(".")


def test_uids_and_titles_are_each_one_dashboard_s() -> None:
    for key in ("uid", "title"):
        assert len({dashboard[key] for dashboard in DASHBOARDS.values()}) == len(SIX)


@each_dashboard
def test_variables_choose_datasource_job_and_instance(name: str) -> None:
    datasource, job, instance = DASHBOARDS[name]["templating"]["list"]
    assert (datasource["type"], datasource["query"]) == ("datasource", "prometheus")
    for variable, label in ((job, "Job"), (instance, "Instance")):
        assert (variable["name"], variable["label"]) == (label.lower(), label)
        assert (variable["type"], variable["multi"], variable["allValue"]) == ("query", True, ".+")
        assert variable["query"].startswith("label_values(kernmesh_build_info")


@each_dashboard
def test_a_datasource_is_the_input_s_name_and_never_an_object(name: str) -> None:
    dashboard = DASHBOARDS[name]
    _, *annotations = dashboard["annotations"]["list"]  # the first is Grafana's own
    variables = [each for each in dashboard["templating"]["list"] if each["type"] == "query"]
    for each in (*panels(dashboard), *annotations, *variables):
        assert each["datasource"] == "${DS_PROMETHEUS}"
    inputs = {text for text in strings(dashboard) if text.startswith("${")}
    assert inputs == {"${DS_PROMETHEUS}"}


@each_dashboard
def test_panels_have_numbers_of_their_own_and_places_that_do_not_meet(name: str) -> None:
    found = DASHBOARDS[name]["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    taken: set[tuple[int, int]] = set()
    for panel in found:
        x, y, w, h = (panel["gridPos"][key] for key in ("x", "y", "w", "h"))
        assert 0 <= x < x + w <= WIDTH, panel["title"]
        cells = {(column, line) for column in range(x, x + w) for line in range(y, y + h)}
        assert not cells & taken, panel["title"]
        taken |= cells


@each_dashboard
def test_a_panel_says_what_it_is_and_in_what_unit(name: str) -> None:
    found = panels(DASHBOARDS[name])
    assert len({panel["title"] for panel in found}) == len(found)
    for panel in found:
        assert panel["title"] and panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        letters = [target["refId"] for target in panel["targets"]]
        assert letters and len(set(letters)) == len(letters), panel["title"]


def test_queries_choose_job_and_instance_and_let_grafana_choose_the_range() -> None:
    for query in queries():
        selectors = SELECTOR.findall(query.expr)
        assert selectors and all(text.startswith(MATCHERS) for _, text in selectors), str(query)
        outside = SELECTOR.sub("", query.expr)
        assert not re.search(r"\b(ebpf_exporter|kernmesh|pingmesh|node)_\w+", outside), str(query)
        ranges = set(re.findall(r"\b(?:i?rate|increase|changes)\(.*?\[([^\]]*)\]", query.expr))
        annotation = query.panel in ANNOTATIONS  # where there is no such variable
        assert ranges <= ({"2m"} if annotation else {"$__rate_interval", "$__range"}), str(query)


def test_any_program_s_yaml_makes_a_dashboard(tmp_path: Path) -> None:
    yaml = tmp_path / "forks.yaml"
    yaml.write_text(
        "metrics:\n"
        "  counters:\n"
        "    - {name: forks_total, help: Forks, labels: [{name: cpu, size: 4},"
        " {name: job, size: 4}]}\n"
        "    - {name: read_bytes_total}\n"
        "  gauges: [{name: forks_now, help: Forks now}]\n"
        "  histograms:\n"
        "    - {name: fork_seconds, bucket_max: 3, labels: [{name: bucket, size: 4}]}\n"
    )
    made = built(tmp_path / "out", "--program", str(yaml), "--prefix", "mine")
    (text,) = made.values()
    dashboard = json.loads(text)
    assert list(made) == ["program-forks.json"]
    assert dashboard["uid"] == "kernmesh-forks"
    asked = [target["expr"] for panel in panels(dashboard) for target in panel["targets"]]
    assert [expr.replace(MATCHERS, "") for expr in asked][:8] == [
        "sum by (le) (rate(mine_fork_seconds_bucket{}[$__rate_interval]))",
        *(
            f"histogram_quantile({quantile}, "
            "sum by (le) (rate(mine_fork_seconds_bucket{}[$__rate_interval])))"
            for quantile in ("0.50", "0.90", "0.99")
        ),
        "topk(10, sum by (instance) (mine_forks_now{}))",
        "topk(10, sum by (cpu, exported_job) (rate(mine_forks_total{}[$__rate_interval])))",
        "sum by (instance) (rate(mine_read_bytes_total{}[$__rate_interval]))",
        'count(kernmesh_ebpf_program_up{,program="forks"} == 1)',
    ]
    units = [panel["fieldConfig"]["defaults"]["unit"] for panel in panels(dashboard)]
    assert units[:5] == ["s", "s", "short", "ops", "Bps"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--prefix", "a-b"], "--prefix: not a metric's name"),
        (["--program", "nowhere.yaml"], "nowhere.yaml: "),
        (["--out", "/dev/null/out"], "/dev/null/out/ebpf-hooks.json: cannot be written: "),
    ],
)
def test_what_cannot_be_drawn_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboards", "build", "--out", str(tmp_path / "out"), *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "out").exists()


def test_a_template_without_a_dashboard_is_refused() -> None:
    with pytest.raises(ValueError, match="says nothing"):
        assemble([])


def test_templates_are_the_dashboards_and_the_program_s() -> None:
    assert names() == SIX
