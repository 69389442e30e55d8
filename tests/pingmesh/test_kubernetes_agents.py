"""A real controller that asks a Kubernetes API, and real agents that ask it by their names."""

import json
import urllib.error
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import pytest

from tests.agent.running import Agent
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.faults import Fault
from tests.pingmesh.test_controller import WATCHDOG_SECONDS, Running
from tests.pingmesh.test_kubernetes import put_node, put_pod, zoned

# Whoever asks first, of those that listen on it, has it.
PORT = 29435


def until(what: Any) -> None:
    ends, pause = monotonic() + WATCHDOG_SECONDS, Event()
    while not what():
        assert monotonic() < ends
        pause.wait(0.1)


def start(folder: Path, server: ApiServer, more: str = "") -> Running:
    config = folder / "controller.yaml"
    config.write_text(
        f"source: {{kubernetes: {{kubeconfig: {server.kubeconfig(folder)}}}}}\n"
        "refresh: 1s\nsetting: {interval: 10, ip_protocol: ip4, timeout: 1}\n"
        f"mesh: {{agent_port: {PORT}, every: 1s, window: 30s}}\n{more}"
    )
    return Running(config)


def status(controller: Running, path: str) -> int:
    try:
        controller.get(path)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def test_agents_pull_by_node_name_and_are_read_back_also_while_the_api_is_away(
    tmp_path: Path,
) -> None:
    with api_server() as server:
        zoned(server, "node-a", "127.0.9.1", zone="east", rack="r1")
        zoned(server, "node-b", "127.0.9.2", zone="west", rack="r2")
        put_pod(server, "prober-a", "node-a", "127.0.9.3")
        put_pod(server, "prober-b", "node-b", "127.0.9.4")
        put_pod(server, "web", "node-a", "127.0.9.5", "probe")
        controller = start(tmp_path, server)
        agents = []
        try:
            url = controller.wait_for(r"metrics: (\S+)/metrics")[1]
            for name, address in (("node-a", "127.0.9.1"), ("node-b", "127.0.9.2")):
                config = tmp_path / f"{name}.yaml"
                config.write_text(
                    f"ebpf: {{programs: []}}\npingmesh: {{controller: '{url}'}}\n"
                    f"pressure: {{node: {name}}}\nserver: {{listen: ['{address}:{PORT}']}}\n"
                )
                agents.append(Agent(["--config", config]))

            def heard() -> bool:
                if status(controller, "/mesh.json") != 200:
                    return False
                mesh = json.loads(controller.get("/mesh.json"))
                return not mesh["silent"] and {each["colour"] for each in mesh["cells"]} <= {
                    "green",
                    "blank",
                }

            until(heard)
            assert controller.sample('kernmesh_mesh_agents{network="nodes",state="heard"}') == 2
            assert "127.0.9.5" in controller.get("/pinglist/prober-b")
            assert "127.0.9.5" not in controller.get("/pinglist/prober-a")
            assert status(controller, "/pinglist/web") == 404

            server.fail(Fault("status", 500))
            server.cut_watches()
            until(lambda: controller.sample("kernmesh_controller_members_stale") == 1)
            assert "may be out of date: kubernetes nodes: " in controller.get("/mesh")
            assert "watch nodes: " in json.loads(controller.get("/mesh.json"))["stale"]
            assert "127.0.9.2" in controller.get("/pinglist/node-a")
            server.well()
            until(lambda: controller.sample("kernmesh_controller_members_stale") == 0)
            server.delete("nodes", "node-b")
            until(lambda: status(controller, "/pinglist/node-b") == 404)
        finally:
            for process in (controller.process, *(agent.process for agent in agents)):
                process.kill()
                process.wait()


def test_a_controller_without_the_api_is_not_ready_and_answers_503(tmp_path: Path) -> None:
    with api_server() as server:
        held = server.fail(Fault("status", 503))
        put_node(server, "a", "10.0.0.1")
        put_node(server, "b", "10.0.0.2")
        controller = start(tmp_path, server)
        try:
            until(lambda: held.met > 0)
            assert status(controller, "/pinglist/a") == 503
            assert status(controller, "/-/ready") == 503
            server.well()
            until(lambda: status(controller, "/-/ready") == 200)
            assert "10.0.0.2" in controller.get("/pinglist/a")
        finally:
            controller.process.kill()
            controller.process.wait()


def test_a_reload_asks_for_other_nodes_and_combines_with_an_inventory(tmp_path: Path) -> None:
    (tmp_path / "inventory.yaml").write_text("nodes: {host: {ips: [10.9.9.9]}}\n")
    with api_server() as server:
        put_node(server, "a", "10.0.0.1", side="left")
        put_node(server, "b", "10.0.0.2", side="right")
        controller = start(tmp_path, server)
        try:
            until(lambda: status(controller, "/pinglist/b") == 200)
            config = tmp_path / "controller.yaml"
            text = config.read_text().replace("kubeconfig:", "nodes: side=left, kubeconfig:")
            config.write_text(f"{text}inventory: {tmp_path}/inventory.yaml\n")
            controller.process.send_signal(1)
            until(lambda: status(controller, "/pinglist/b") == 404)
            assert "10.9.9.9" in controller.get("/pinglist/a")
            assert "10.0.0.1" in controller.get("/pinglist/host")
        finally:
            controller.process.kill()
            controller.process.wait()


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("kubeconfig: {folder}/none", "{folder}/none"),
        ("kubeconfi: x", "did you mean kubeconfig?"),
        ("zone_labels: [7, {}]", "source.kubernetes.zone_labels[1]: "),
    ],
)
def test_a_controller_whose_source_is_wrong_says_so_and_does_not_start(
    tmp_path: Path, source: str, line: str
) -> None:
    config = tmp_path / "controller.yaml"
    filled = source.replace("{folder}", str(tmp_path))
    config.write_text(f"source: {{kubernetes: {{{filled}}}}}\n")
    running = Running(config)
    assert running.process.wait(WATCHDOG_SECONDS) == 1
    running.wait_for(
        line.replace("{folder}", str(tmp_path)).replace("[", r"\[").replace("?", r"\?")
    )
