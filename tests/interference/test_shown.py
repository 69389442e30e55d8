"""What detection shows: metrics, /interference as JSON and as a page, a rehearsal's lines."""

import re
from pathlib import Path

import jsonschema
import msgspec
import pytest

from exporter.commands.schema import SCHEMAS
from exporter.config import schema_of
from exporter.interference.answer import Asked, InterferenceJson, answer, to_json
from exporter.interference.board import Board, Costs, Shown, board
from exporter.interference.driver import Driver
from exporter.interference.metrics import MOST_SHOWN, SHAPES, Doing, InterferenceCollector
from exporter.interference.model import Finding, Incident, Subject, Suspect
from exporter.interference.page import interference_page
from exporter.interference.rehearsal import line, rehearse
from exporter.metrics.exposition import render
from exporter.metrics.registry import Registry
from exporter.usage.pods import Offline
from tests.interference.stories import VICTIM, Story, rules

DOCS = Path(__file__).parents[2] / "docs"
DOING = Doing(False, True, 2, 1, (5, 1, 3))


def firing() -> Board:
    story = Story(Driver(rules()))
    story.second(0.9, b=1.5)
    return board(story.driver, 1e9 + story.now, Costs(7, 0.5), {"online": 1, "offline": 2})


def scrape(shown: Board) -> str:
    registry = Registry()
    registry.register(InterferenceCollector(lambda: shown, lambda: DOING), "interference")
    return render(registry, "text/plain", "", ())[0].decode()


def test_the_number_on_metrics_is_the_number_that_decided() -> None:
    shown = firing()
    (incident,) = (each.incident for each in shown.incidents)
    text = scrape(shown)
    run = f'rule="cpu",run="{incident.run}"'
    own, whom = f'{run},signal="waited_for_offline"', 'subject="shop/web"'
    value = re.search(rf"finding_value{{{own},{whom}}} (.*)", text)
    assert value is not None
    assert float(value[1]) == pytest.approx(incident.finding.value, rel=1e-5)
    assert f"finding_threshold{{{own},{whom}}} 0.5" in text
    score = re.search(rf'suspect_score{{{run},{whom},suspect="batch/train"}} (.*)', text)
    assert score is not None
    assert float(score[1]) == pytest.approx(incident.suspects[0].score, rel=1e-5)
    assert 'kernmesh_interference_rule_subjects{rule="cpu",state="firing"} 1.0' in text
    assert 'kernmesh_interference_incidents_total{rule="cpu"} 1.0' in text
    assert 'kernmesh_interference_webhook_notices_total{result="dropped"} 1.0' in text


def test_a_node_full_of_incidents_does_not_fill_metrics() -> None:
    finding = Finding("x", 1.0, 0.5, "", 0.0, "x")
    suspects = tuple(Suspect(Subject("container", f"/{i}"), 0.1, "x", None, "") for i in range(9))
    incidents = tuple(
        Shown(Incident(f"{i}", "r", "info", VICTIM, 0, finding, suspects, 0.0), "firing", 0.0, ())
        for i in range(MOST_SHOWN + 50)
    )
    text = scrape(Board(incidents=incidents))
    assert len(re.findall("^kernmesh_interference_finding_value", text, re.M)) == MOST_SHOWN
    assert len(re.findall("^kernmesh_interference_suspect_score", text, re.M)) == MOST_SHOWN * 3
    assert "kernmesh_interference_incidents_not_shown 50.0" in text


def test_every_metric_is_in_the_docs() -> None:
    text = (DOCS / "interference.md").read_text()
    missing = [shape.exposed for shape in SHAPES if f"`{shape.exposed}" not in text]
    assert not missing


def test_the_json_is_as_its_published_schema_says_and_the_labeller_can_read_it() -> None:
    module, name = SCHEMAS["interference"]
    assert (module, name) == ("exporter.interference.answer", "InterferenceJson")
    asked = Asked({"r1": "cpu"}, (("r1", "batch", "train", "b", 30, "cpu", 1e9),))
    shown = answer(firing(), "node-a", False, asked)
    data = msgspec.json.decode(to_json(shown))
    jsonschema.validate(data, schema_of(InterferenceJson))
    assert data["schedule"] is True
    assert data["evictions"][0]["pod"] == "train"
    (incident,) = data["incidents"]
    assert incident["subject"]["class"] == "online"
    assert incident["suspects"][0]["subject"]["pod"] == "batch/train"


@pytest.mark.parametrize("shown", [None, Board()])
def test_nothing_found_and_nothing_looked_for_are_two_answers(shown: Board | None) -> None:
    data = msgspec.json.decode(to_json(answer(shown, "node-a", True)))
    assert data["enabled"] is (shown is not None)
    assert (data["incidents"], data["schedule"]) == ([], False)


def test_the_page_says_who_is_hurt_by_whom_and_what_is_done_and_escapes_what_it_shows() -> None:
    shown = firing()
    evil = shown.incidents[0]._replace(
        incident=shown.incidents[0].incident._replace(rule="<script>alert(1)</script>")
    )
    page = interference_page(answer(shown._replace(incidents=(evil,)), "node-a", True))
    assert "shop/web" in page
    assert "batch/train" in page
    assert "Dry run" in page
    assert "<script>" not in page


def test_a_recording_is_rehearsed_by_the_same_code_as_live() -> None:
    story = Story(Driver(rules()))
    live = [*story.seconds(4, 0.9, b=1.5), *story.seconds(6, 0.0)]
    offline = Offline(("kubepods/besteffort",))
    again = list(rehearse(story.store, rules(), offline))
    assert [(step.what, step.wall) for step in again] == [(s.what, s.wall) for s in live]
    text = line(again[0])
    assert text.startswith("2001-09-09T01:46:53Z fire    cpu on /kubepods/burstable/podv run ")
    assert "    +" in text  # the first suspect, with its score
    assert "/kubepods/besteffort/podb" in text
