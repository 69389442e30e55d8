"""A rules file, real detectors, real views of a store, the engine: from readings to transitions."""

from pathlib import Path

from exporter.interference.engine import Engine
from exporter.interference.model import NODE, Subject
from exporter.interference.rules import read_rules
from exporter.interference.states import Transition
from exporter.interference.views import Names, at_row, replay
from exporter.usage import store as stores
from exporter.usage.series import Series
from exporter.usage.store import Now
from tests.interference.facts import FACTS

RULES = """\
rule_check:
  node_rules:
    - name: busy
      check_interval: 1s
      recover_interval: 4s
      rules:
        - detects: [{name: expression, args: {expression: cpu_avg > 0.9 && load_1min > 0.5}}]
          for: 5s
          actions: [{name: schedule}]
  container_rules:
    - name: waits
      check_interval: 2s
      subjects: /pod-a$
      rules:
        - all:
            - {name: psi, args: {resource: io, threshold: 0.5, window: 4s}}
            - {name: expression, args: {expression: memory_total_usage > 1Gi}}
"""
POD_A = Subject("container", "/kubepods/pod-a", work="online")
POD_B = Subject("container", "/kubepods/pod-b", work="online")


def told(folder: Path) -> list[Transition]:
    """60 s: the node is busy from 20 to 40; both pods wait for disks from 30 to 50. From 25 to 28
    nobody knows how busy the node is."""
    path = folder / "rules.yaml"
    path.write_text(RULES)
    engine = Engine(read_rules(path, FACTS).set)
    store = stores.in_memory(1.0, 900.0, Now(0.0, 0.0, "boot"))
    busy, waited = 0.0, 0.0
    for second in range(1, 61):
        busy += 3.9 if 20 <= second < 40 else 0.4
        waited += 0.9 if 30 <= second < 50 else 0.01
        row = {
            Series("node.cpu.online", "gauge"): 4.0,
            Series("node.load.1m", "gauge"): 1.0,
        }
        if not 25 <= second < 28:
            row[Series("node.cpu.busy_seconds", "counter")] = busy
        for pod in (POD_A, POD_B):
            thing = f"cgroup{pod.name}"
            row[Series(f"{thing}.io_some_seconds", "counter")] = waited
            row[Series(f"{thing}.memory_bytes", "gauge")] = 2.0 * 2**30
        store.put(float(second), 1e9 + second, row)
    found: list[Transition] = []
    for moment in replay(store):
        for each in engine.tick(moment.now, (NODE, POD_A, POD_B), moment.view):
            found.append(each)
            if each.what == "ease" and each.incident is not None:
                over = engine.settle(each.incident.run, moment.now)
                found += [over] if over else []
    return found


def test_readings_become_incidents_that_end(tmp_path: Path) -> None:
    found = told(tmp_path)
    node = [each for each in found if each.rule.name == "busy"]
    assert [each.what for each in node if each.what != "again"] == [
        "pending", "fire", "ease", "clear",
    ]  # fmt: skip
    fired = next(each for each in node if each.what == "fire")
    # what was not seen from 25 to 28 did not hold: the five seconds begin anew after it
    assert 33 <= fired.at <= 35
    assert fired.finding is not None
    assert "cpu_avg" in fired.finding.text
    assert 43 <= node[-1].at <= 46


def test_only_the_pod_that_the_rule_is_of_is_told_of(tmp_path: Path) -> None:
    pods = [each for each in told(tmp_path) if each.rule.name == "waits"]
    assert {each.subject for each in pods} == {POD_A}
    assert [each.what for each in pods if each.what != "again"] == ["fire", "ease", "clear"]
    assert 32 <= pods[0].at <= 36
    assert all(each.actions == () for each in pods)


LONG = """{"rule_check": {"node_rules": [{"name": "busy", "check_interval": "10s", "rules": [{
  "detects": [{"name": "expression",
               "args": {"expression": "load_1min > 0.5", "warning_duration": "20m"}}],
  "actions": [{"name": "log"}]}]}]}}"""


def test_a_duration_longer_than_any_signal_is_kept_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text(LONG)
    rules = read_rules(path, FACTS).set
    assert rules.warnings == ()
    engine = Engine(rules)
    store = stores.in_memory(1.0, 900.0, Now(0.0, 0.0, "boot"))
    found, names = list[Transition](), Names()
    for second in range(1, 1500):
        load = 1.0 if second >= 100 and second != 200 else 0.0
        store.put(float(second), 0.0, {Series("node.load.1m", "gauge"): load})
        moment = at_row(store, store.end - 1, names)
        found += engine.tick(moment.now, (NODE,), moment.view)
    (fire,) = (each for each in found if each.what == "fire")
    assert 1401 <= fire.at <= 1412
