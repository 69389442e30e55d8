"""Detection as a whole: a real agent, real cgroups, a real antagonist, real CPU.

Counts and states, no times: whatever must come is waited for. Some 60 s.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.agent.running import Agent, running
from tests.interference.rig import Rig, rig

pytestmark = pytest.mark.bpf

RULES = """
rule_check:
  container_rules:
    - name: cpu
      check_interval: 1s
      subjects: {top}/
      rules:
        - detects: [{{name: expression, args: {{expression: waited_for_offline > 0.2}}}}]
          for: 1s
          clear: 6s
          actions: [{{name: log}}, {{name: preempt}}, {{name: schedule}}]
"""
TICKS = "kernmesh_interference_ticks_total"
RULES_OF_NODE = "rule_check:\n  node_rules:\n"


@pytest.fixture
def machine() -> Iterator[Rig]:
    with rig() as made:
        yield made


def agent_yaml(folder: Path, machine: Rig, settings: str) -> Path:
    (folder / "rules.yaml").write_text(RULES.format(top=machine.top))
    file = folder / "agent.yaml"
    file.write_text(
        "ebpf: {programs: []}\n"
        f"usage: {{state_dir: {folder}/state, offline: {{cgroups: [{machine.offline}]}}}}\n"
        f"interference: {{rules: {folder}/rules.yaml, {settings}}}\n"
    )
    return file


def until(what: Callable[[], object]) -> None:
    """Looked at a few times a second, given up after a minute."""
    last = time.monotonic() + 60.0
    while not what():
        assert time.monotonic() < last
        time.sleep(0.2)


def incidents(agent: Agent, path: str) -> list[dict[str, Any]]:
    answer = json.loads(agent.get("/interference"))
    return [each for each in answer["incidents"] if each["subject"]["name"] == f"/{path}"]


def test_it_is_noticed_and_eased_off_and_all_is_as_before_after_a_kill_and_at_the_end(
    machine: Rig, tmp_path: Path
) -> None:
    file = agent_yaml(tmp_path, machine, "dry_run: false")

    def idle() -> str:
        return machine.read("cpu.idle", machine.offline)

    victim, harmless, bad = machine.victim(), machine.pod(offline=True), machine.pod(offline=True)
    machine.stress(harmless, "--cpu", "1", "--cpu-load", "2")
    with running("--config", file) as agent:
        # who came with the pain is told by what was before
        until(lambda: agent.samples([TICKS]).get(TICKS, 0.0) >= 8)
        antagonist = machine.stress(bad, "--cpu", "3")
        until(lambda: idle() == "1" and incidents(agent, victim))
        (found,) = incidents(agent, victim)
        assert found["suspects"][0]["subject"]["name"] == f"/{bad}"
        assert found["suspects"][0]["subject"]["class"] == "offline"
        assert found["finding"]["value"] > found["finding"]["threshold"] == 0.2
        done = {each["action"]: each["result"] for each in found["actions"]}
        assert done == {"log": "done", "preempt": "done", "schedule": "done"}
        answer = json.loads(agent.get("/interference"))
        assert answer["schedule"]
        assert list(answer["reasons"]) == [found["run"]]
        page = agent.get("/interference", accept="text/html")
        assert found["run"] in page
        assert "<script" not in page
        value = f'kernmesh_interference_finding_value{{rule="cpu",run="{found["run"]}"'
        assert any(each.startswith(value) for each in agent.samples())
        agent.signal(signal.SIGKILL)
        agent.ended()
    until(lambda: idle() == "0")  # its actuator has seen it go
    with running("--config", file) as agent:
        until(lambda: idle() == "1")
        (again,) = incidents(agent, victim)
        assert again["run"] == found["run"]  # taken up again, not begun anew
        machine.end(antagonist)
        until(lambda: idle() == "0" and not incidents(agent, victim))
        over = json.loads(agent.get("/interference"))
        assert over["recent"][0]["run"] == found["run"]
        assert not over["schedule"]
        assert agent.stop() == 0


def test_a_reload_takes_other_rules_and_a_bad_file_keeps_those_that_there_were(
    tmp_path: Path,
) -> None:
    rule = "- {{name: {}, rules: [{{detects: [{{name: expression, args: {{expression: {}}}}}]}}]}}"
    one, two = rule.format("one", "cpu_avg > 0.9"), rule.format("two", "load_1min > 99")
    rules, file = tmp_path / "rules.yaml", tmp_path / "agent.yaml"
    rules.write_text(f"{RULES_OF_NODE}    {one}\n")
    file.write_text(f"ebpf: {{programs: []}}\ninterference: {{rules: {rules}}}\n")

    def count(agent: Agent) -> int:
        return int(json.loads(agent.get("/interference"))["rules"])

    with running("--config", file) as agent:
        assert count(agent) == 1
        rules.write_text(f"{RULES_OF_NODE}    {one}\n    {two}\n")
        agent.signal(signal.SIGHUP)
        agent.wait_for(lambda agent: "msg=reloaded" in agent.log)
        assert count(agent) == 2
        rules.write_text(f"{RULES_OF_NODE}    {rule.format('bad', 'cpu_avgg > 0.9')}\n")
        agent.signal(signal.SIGHUP)
        agent.wait_for(lambda agent: "reload refused" in agent.log)
        assert count(agent) == 2
        assert "cpu_avgg" in agent.log
        assert agent.samples(["kernmesh_config_last_reload_successful"]).popitem()[1] == 0


def test_with_confirm_the_suspect_is_throttled_first_and_offline_work_eased_off_after(
    machine: Rig, tmp_path: Path
) -> None:
    file = agent_yaml(tmp_path, machine, "dry_run: false, confirm: true")
    machine.victim()
    innocent, bad = machine.pod(offline=True), machine.pod(offline=True)
    machine.stress(innocent, "--cpu", "1", "--cpu-load", "2")
    confirmed = 'kernmesh_interference_verdicts_total{verdict="confirmed"}'
    with running("--config", file) as agent:
        until(lambda: agent.samples([TICKS]).get(TICKS, 0.0) >= 8)
        machine.stress(bad, "--cpu", "3")
        until(lambda: agent.samples().get(confirmed))
        until(lambda: "interference: confirmed" in agent.log)
        tried, judged = (
            next(line for line in agent.log.splitlines() if f'"interference: {what}"' in line)
            for what in ("fire", "confirmed")
        )
        assert f"confirm: done: cpu:/{bad}/cpu.cfs_quota_us -1 → 10000" in tried
        assert "preempt" not in tried
        assert f"preempt: done: cpu:/{machine.offline}/cpu.idle 0 → 1" in judged
        assert f"/{innocent}/cpu.cfs_quota_us" not in agent.log
        assert agent.stop() == 0
    until(lambda: machine.read("cpu.cfs_quota_us", bad) == "-1")
    until(lambda: machine.read("cpu.idle", machine.offline) == "0")


class _Latency(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(saying("web", 30.0))

    def log_message(self, format: str, *args: object) -> None:
        pass


def saying(job: str, value: float) -> bytes:
    row = {"job_name": job, "metric_name": "p99", "value": value, "slo": 20.0}
    return json.dumps({"code": 0, "msg": "", "data": [row]}).encode()


def test_applications_are_asked_over_http_and_by_command_and_are_late_by_their_own_word(
    tmp_path: Path,
) -> None:
    rules, file, command = tmp_path / "rules.yaml", tmp_path / "agent.yaml", tmp_path / "say"
    command.write_text(f"#!/bin/sh\necho '{saying('queue', 50.0).decode()}'\n")
    command.chmod(0o755)
    one = (
        "    - {{name: {job}, check_interval: 1s, rules: [{{detects: [{{name: slo, args: "
        "{{job: {job}, metric: p99, threshold: 0}}}}]}}]}}\n"
    )
    jobs = ("web", "queue", "silent")
    rules.write_text("rule_check:\n  app_rules:\n" + "".join(one.format(job=job) for job in jobs))
    with ThreadingHTTPServer(("127.0.0.1", 0), _Latency) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/slo"
        file.write_text(
            f"ebpf: {{programs: []}}\nusage: {{state_dir: {tmp_path}/state}}\ninterference:"
            f" {{rules: {rules}, urls: ['{url}'], commands: {{queue: [{command}]}}}}\n"
        )

        def found(agent: Agent) -> dict[str, tuple[float, float]]:
            return {
                each["rule"]: (each["finding"]["value"], each["finding"]["threshold"])
                for each in json.loads(agent.get("/interference"))["incidents"]
            }

        with running("--config", file) as agent:
            until(lambda: len(found(agent)) == 2)
            assert found(agent) == {"web": (-0.5, 0.0), "queue": (-1.5, 0.0)}
            assert json.loads(agent.get("/interference"))["problems"] == []
            assert agent.stop() == 0
        server.shutdown()


def test_what_is_set_without_rules_is_said_to_do_nothing(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("ebpf: {programs: []}\ninterference: {dry_run: false, confirm: true}\n")
    check = [sys.executable, "-m", "exporter.cli", "check", "--config", str(file)]
    done = subprocess.run(check, capture_output=True, text=True, check=True)
    assert done.stderr.count("has no effect without interference.rules") == 2
    with running("--config", file) as agent:
        (problem,) = json.loads(agent.get("/interference"))["problems"]
        assert problem.endswith("nothing is done by: dry_run, confirm")
        assert problem in agent.get("/interference", accept="text/html")
        assert problem in agent.log


def test_without_rules_nothing_of_it_is_imported_and_the_page_says_so(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from exporter.app import Agent;"
        "from exporter.config import load_agent; from exporter.role import Options;"
        "agent = Agent(load_agent(None), Options()); list(agent.registry.collect());"
        "print([each for each in sys.modules"
        " if each.startswith(('exporter.interference', 'exporter.actuator'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    with running() as agent:
        assert not json.loads(agent.get("/interference"))["enabled"]
        assert "interference.rules" in agent.get("/interference", accept="text/html")
        assert not agent.samples(["kernmesh_interference_ticks_total"])
