"""A real Prometheus scrapes a running agent and sees what happened."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.agent.running import Agent, running
from tests.kernel.workloads import loop_disk, memory_cgroup, start_keepalive_timers
from tests.peers import PROGRAMS, prometheus

pytestmark = pytest.mark.bpf

# All that promtool may say: names that are not ours to choose.
INHERITED = {
    # upstream's name and type (FORMATS section 1); its dashboards ask for it
    'ebpf_exporter_ebpf_program_run_time_seconds counter metrics should have "_total" suffix',
}


def scraping(agent: Agent) -> dict[str, Any]:
    targets = [agent.url.removeprefix("http://")]
    job = {"job_name": "kernmesh", "static_configs": [{"targets": targets}]}
    return {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}


def test_prometheus_scrapes_the_agent_and_all_three_programs_have_counted(tmp_path: Path) -> None:
    with running() as agent, prometheus(tmp_path, scraping(agent)) as server:
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
            assert [series.value for series in server.eventually(path)] == [1]
        start_keepalive_timers(50)
        timer = 'ebpf_exporter_timer_starts_total{function="tcp_keepalive_timer"} > 0'
        assert server.eventually(timer)
        assert server.eventually("node_cpu_usage_active")
        assert 0 < server.eventually("node_mem_usage_active")[0].value < 100
        quantile = (
            "histogram_quantile(0.99, sum by (le) (ebpf_exporter_bio_latency_seconds_bucket))"
        )
        assert 0 < server.eventually(quantile)[0].value < 60
        assert not server.query("kernmesh_collector_success == 0")


def test_promtool_complains_of_inherited_names_only() -> None:
    with running() as agent:
        start_keepalive_timers(5)
        text = agent.get("/metrics", accept="text/plain;version=0.0.4")
    checked = subprocess.run(
        [PROGRAMS / "promtool", "check", "metrics"], input=text, capture_output=True, text=True
    )
    complaints = {line for line in (checked.stdout + checked.stderr).splitlines() if line}
    assert complaints <= INHERITED
