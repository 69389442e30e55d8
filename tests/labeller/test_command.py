"""`kernmesh labeller` as a process: by dynamicScheduler's flags, over real HTTP, to its end."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import bcrypt
import pytest

from exporter.privileges.inforce import IN_FORCE, MECHANISMS
from tests.cluster.apiserver import ApiServer
from tests.labeller.playing import LEASE, marks, put

WATCHDOG_SECONDS = 60.0


class _Prometheus(BaseHTTPRequestHandler):
    value = "90"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        series = {"metric": {"instance": "10.0.0.1:9100"}, "value": [1.0, self.value]}
        body = json.dumps({"data": {"resultType": "vector", "result": [series]}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def prometheus() -> Iterator[str]:
    _Prometheus.value = "90"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prometheus)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def labeller(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """The process and its URL."""
    process = subprocess.Popen(
        [sys.executable, "-m", "exporter.cli", "labeller", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield process, found[0]
    finally:
        process.kill()
        process.wait()


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WATCHDOG_SECONDS) as answer:
        return str(answer.read(), "utf-8")


def eventually(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + WATCHDOG_SECONDS
    while not is_so():
        assert time.monotonic() < until


def with_address(server: ApiServer, name: str, address: str) -> None:
    put(server, name)
    rows = [{"type": "InternalIP", "address": address}]
    server.put_status("nodes", {"metadata": {"name": name}, "status": {"addresses": rows}})


def test_dynamicscheduler_s_flags_do_what_they_did(
    server: ApiServer, prometheus: str, tmp_path: Path
) -> None:
    with_address(server, "node-a", "10.0.0.1")
    rules = tmp_path / "rule.yaml"
    rules.write_text("Rulename:\n  Node_cpu1: {Promsql: x, Threshold: '70'}\n")
    flags = ("-kubeconfig", str(server.kubeconfig(tmp_path)), "-prom", prometheus)
    with labeller(*flags, "-r", str(rules), "-s", "1", "-webaddr", "127.0.0.1:0") as (process, url):
        assert get(f"{url}/status") == "ok"
        wanted = '{"type":"Label type=presure Nodes","num":1,"node_names":["node-a"]}'
        eventually(lambda: get(f"{url}/nodes") == wanted)
        labels = {"kernmesh.io/pressure-Node_cpu1": "true", "status": "presure"}
        assert marks(server) == labels
        page = get(url + "/")
        assert "node-a" in page
        assert "the only replica" in page
        metrics = get(f"{url}/metrics")
        assert 'kernmesh_pressure_nodes{level="pressed",resource="Node_cpu1"} 1.0' in metrics
        assert 'kernmesh_pressure_writes_total{result="written"} 1.0' in metrics
        assert 'kernmesh_pressure_stale{source="prometheus"} 0.0' in metrics
        # it asks and serves from here on, and can do nothing else
        for mechanism in MECHANISMS:
            assert f'{IN_FORCE}{{mechanism="{mechanism}"}} 1.0' in metrics
        assert "kernmesh_capability_effective{" not in metrics
        assert "kernmesh_pressure_leader 1.0" in metrics
        eventually(lambda: get(f"{url}/-/ready") == "kernmesh is ready.\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WATCHDOG_SECONDS) == 0
        assert marks(server) == labels  # for who follows


def test_on_sigterm_marks_go_if_that_is_wanted_and_the_lease_is_given_back(
    server: ApiServer, prometheus: str, tmp_path: Path
) -> None:
    with_address(server, "node-a", "10.0.0.1")
    (tmp_path / "rule.yaml").write_text("Rulename: {cpu: {Promsql: x, Threshold: 70}}")
    config = tmp_path / "labeller.yaml"
    config.write_text(
        f"kubeconfig: {server.kubeconfig(tmp_path)}\ninterval: 1s\n"
        f"prometheus: {{url: '{prometheus}', rules: {tmp_path}/rule.yaml}}\n"
        "enter: {of: 1, at_least: 1}\nclear_on_stop: true\n"
        f"lease: {{namespace: default, name: {LEASE}}}\n"
        "server: {listen: ['127.0.0.1:0']}\n"
    )
    with labeller("--config", str(config)) as (process, url):
        eventually(lambda: '"num":1' in get(f"{url}/nodes"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(WATCHDOG_SECONDS) == 0
    assert marks(server) == {}
    lease = server.object("leases", LEASE, "default")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""


def test_its_own_pages_are_for_whom_the_web_configuration_lets_in(
    server: ApiServer, prometheus: str, tmp_path: Path
) -> None:
    web, config = tmp_path / "web.yml", tmp_path / "labeller.yaml"
    hashed = bcrypt.hashpw(b"sesame", bcrypt.gensalt(4)).decode()
    web.write_text(f"basic_auth_users: {{ops: '{hashed}'}}\n")
    (tmp_path / "rule.yaml").write_text("Rulename: {cpu: {Promsql: x, Threshold: 70}}")
    config.write_text(
        f"kubeconfig: {server.kubeconfig(tmp_path)}\n"
        f"prometheus: {{url: '{prometheus}', rules: {tmp_path}/rule.yaml}}\n"
        "lease: {enabled: false}\n"
        f"server: {{listen: ['127.0.0.1:0'], web_config: {web}}}\n"
    )
    with labeller("--config", str(config)) as (_, url):
        for path in ("/status", "/nodes", "/metrics", "/"):
            with pytest.raises(urllib.error.HTTPError, match="401"):
                get(url + path)
        basic = b64encode(b"ops:sesame").decode()
        asked = urllib.request.Request(f"{url}/status", headers={"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(asked, timeout=WATCHDOG_SECONDS) as answer:
            assert answer.read() == b"ok"


def test_an_expired_token_is_said_and_a_rotated_one_is_used(
    server: ApiServer, prometheus: str, tmp_path: Path
) -> None:
    with_address(server, "node-a", "10.0.0.1")
    server.tokens = {"new"}
    token = tmp_path / "token"
    token.write_text("old")
    kubeconfig = server.kubeconfig(tmp_path)
    found = json.loads(kubeconfig.read_text())
    found["users"][0]["user"] = {"tokenFile": str(token)}
    kubeconfig.write_text(json.dumps(found))
    (tmp_path / "rule.yaml").write_text("Rulename: {cpu: {Promsql: x, Threshold: 70}}")
    flags = ("-kubeconfig", str(kubeconfig), "-prom", prometheus, "-s", "1")
    with labeller(*flags, "-r", f"{tmp_path}/rule.yaml", "-webaddr", "127.0.0.1:0") as (_, url):
        eventually(lambda: "HTTP 401" in get(f"{url}/"))
        token.write_text("newer than the old one")
        server.tokens.add("newer than the old one")
        eventually(lambda: '"num":1' in get(f"{url}/nodes"))
