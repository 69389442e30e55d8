"""A real Prometheus scrapes a running agent and sees what happened."""

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.agent.running import WATCHDOG_SECONDS, Agent, running
from tests.kernel.workloads import loop_disk, memory_cgroup, start_keepalive_timers

pytestmark = pytest.mark.bpf

PEERS = Path(__file__).resolve().parents[2] / ".cache/peers/usr/bin"

# All that promtool may say: names that are not ours to choose.
INHERITED = {
    # upstream's name and type (FORMATS section 1); its dashboards ask for it
    'ebpf_exporter_ebpf_program_run_time_seconds counter metrics should have "_total" suffix',
}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Prometheus:
    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def query(self, expression: str) -> dict[str, float]:
        """An instant query: labels as JSON, to value. Empty while it is not up."""
        query = urllib.parse.urlencode({"query": expression})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{query}", timeout=10) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return {}
        return {json.dumps(row["metric"]): float(row["value"][1]) for row in result}

    def eventually(self, expression: str) -> dict[str, float]:
        """The first answer that has any series."""
        until = time.monotonic() + WATCHDOG_SECONDS
        while not (found := self.query(expression)):
            assert time.monotonic() < until, f"no series for {expression}"
            time.sleep(0.2)  # between polls of another process, not a synchronisation
        return found


@contextmanager
def prometheus(agent: Agent, folder: Path) -> Iterator[Prometheus]:
    target = agent.url.removeprefix("http://")
    config = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "kernmesh", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))
    port = free_port()
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                PEERS / "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stderr=log,
        )
        try:
            yield Prometheus(port)
        finally:
            process.terminate()
            process.wait(WATCHDOG_SECONDS)


def test_prometheus_scrapes_the_agent_and_all_three_programs_have_counted(tmp_path: Path) -> None:
    with running() as agent, prometheus(agent, tmp_path) as server:
        assert server.eventually("up == 1")
        with loop_disk(tmp_path) as disk:
            disk.write_and_read(writes=50, reads=50)
            count = "ebpf_exporter_bio_latency_seconds_count"
            of_disk = f'device="{disk.name}",operation'
            # at least: others look at a new disk too, and an earlier one may have had its name
            for operation in ("write", "read"):
                assert server.eventually(f'{count}{{{of_disk}="{operation}"}} >= 50')
        with memory_cgroup() as cgroup:
            cgroup.run_out()
            path = f'ebpf_exporter_oom_kills_total{{cgroup_path="{cgroup.path}"}}'
            assert list(server.eventually(path).values()) == [1]
        start_keepalive_timers(50)
        timer = 'ebpf_exporter_timer_starts_total{function="tcp_keepalive_timer"} > 0'
        assert server.eventually(timer)
        assert server.eventually("node_cpu_usage_active")
        assert 0 < next(iter(server.eventually("node_mem_usage_active").values())) < 100
        quantile = (
            "histogram_quantile(0.99, sum by (le) (ebpf_exporter_bio_latency_seconds_bucket))"
        )
        assert 0 < next(iter(server.eventually(quantile).values())) < 60
        assert not server.query("kernmesh_collector_success == 0")


def test_promtool_complains_of_inherited_names_only() -> None:
    with running() as agent:
        start_keepalive_timers(5)
        text = agent.get("/metrics", accept="text/plain;version=0.0.4")
    checked = subprocess.run(
        [PEERS / "promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    complaints = {line for line in (checked.stdout + checked.stderr).splitlines() if line}
    assert complaints <= INHERITED
