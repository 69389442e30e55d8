"""The agent as users meet it: started as a process, asked over HTTP, told by signals."""

import json
import os
import signal
import socket
import subprocess
import urllib.error
from pathlib import Path

import jsonschema
import pytest

from tests.agent.running import COMMAND, WATCHDOG_SECONDS, running
from tests.kernel.workloads import eventually, start_keepalive_timers
from tests.peers import free_port

pytestmark = pytest.mark.bpf

TIMERS = "ebpf_exporter_timer_starts_total"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "agent.yaml"
    file.write_text("ebpf: {programs: [timers]}\n")
    return file


def test_an_empty_configuration_shows_what_is_on_in_one_screen() -> None:
    with running() as agent:
        assert agent.url
        assert "programs: 3 of 3 on" in agent.screen
        for name in ("timers", "biolatency", "oomkill", "usage", "process"):
            assert f" on   {name} " in agent.screen.replace("\n", " ")
        assert "tp_btf/" in agent.screen
        assert len(agent.screen.splitlines()) < 40
        assert "note:" not in agent.screen


def test_metrics_count_and_say_how_the_collectors_are() -> None:
    with running() as agent:
        before = agent.samples()
        start_keepalive_timers(50)
        after = agent.samples()
    series = f'{TIMERS}{{function="tcp_keepalive_timer"}}'
    assert after[series] - before.get(series, 0) >= 50
    assert {after[f'kernmesh_ebpf_program_up{{program="{name}"}}'] for name in ("timers",)} == {1}
    assert all(
        value == 1 for name, value in after.items() if name.startswith("kernmesh_collector_success")
    )
    assert 0 < after["process_resident_memory_bytes"] < 200e6


def test_every_page_answers_and_readiness_comes_with_the_programs() -> None:
    with running("--web.enable-lifecycle") as agent:
        assert agent.get("/-/healthy") and agent.get("/-/ready")
        assert "timers" in agent.get("/")
        assert json.loads(agent.get("/statistics")).keys() >= {"mem_usage_active"}
        assert agent.get("/metrics", accept="application/openmetrics-text").endswith("# EOF\n")
        assert agent.get("/-/reload", method="POST") == "reloaded\n"
        assert agent.samples(["node_mem_usage_active"]).keys() == {"node_mem_usage_active"}


def in_kernel(kind: str, key: str = "id") -> set[int]:
    """Ids of all programs, maps or links, as bpftool sees them."""
    shown = subprocess.run(
        ["bpftool", "--json", kind, "show"], check=True, capture_output=True, text=True
    )
    return {row[key] for row in json.loads(shown.stdout or "[]") if key in row}


def test_sigterm_detaches_everything_and_exits_with_0() -> None:
    with running() as agent:
        info = [name for name in agent.samples() if "_ebpf_program_info{" in name]
        programs = {int(name.split('id="')[1].split('"')[0]) for name in info}
        shown = subprocess.run(
            ["bpftool", "--json", "prog", "show"], check=True, capture_output=True, text=True
        )
        rows = [row for row in json.loads(shown.stdout) if row["id"] in programs]
        maps = {number for row in rows for number in row["map_ids"]}
        assert len(rows) == len(programs) >= 7
        assert programs <= in_kernel("link", "prog_id")
        assert maps <= in_kernel("map")
        assert agent.stop() == 0
        assert "Traceback" not in agent.log
    # the kernel frees them after a grace period (kernel/bpf/syscall.c: __bpf_prog_put_noref)
    assert eventually(lambda: programs.isdisjoint(in_kernel("prog")))
    assert eventually(lambda: programs.isdisjoint(in_kernel("link", "prog_id")))
    assert eventually(lambda: maps.isdisjoint(in_kernel("map")))


def test_a_reload_adds_and_removes_programs_and_keeps_the_counts_of_the_rest(
    config: Path,
) -> None:
    drop = "privileges: {drop: false}\n"  # what loads programs is kept
    config.write_text(f"ebpf: {{programs: [timers]}}\n{drop}")
    with running("--config", config) as agent:
        assert agent.url
        start_keepalive_timers(50)
        series = f'{TIMERS}{{function="tcp_keepalive_timer"}}'
        before = agent.samples()
        ids = {name for name in before if name.startswith("ebpf_exporter_ebpf_program_info")}
        config.write_text(f"ebpf: {{programs: [timers, oomkill]}}\n{drop}")
        agent.signal(signal.SIGHUP)
        agent.wait_for(lambda agent: "msg=reloaded" in agent.log)
        after = agent.samples()
        assert ids <= after.keys()  # the same functions in the kernel
        assert after[series] >= before[series] >= 50
        assert after['kernmesh_ebpf_program_up{program="oomkill"}'] == 1
        assert after['kernmesh_config_reloads_total{result="success"}'] == 1
        config.write_text(f"ebpf: {{programs: [oomkill]}}\n{drop}")
        agent.signal(signal.SIGHUP)
        agent.wait_for(lambda agent: agent.log.count("msg=reloaded") == 2)
        assert not ids & agent.samples().keys()


def test_a_bad_new_file_changes_nothing_and_says_so(config: Path) -> None:
    with running("--config", config, "--web.enable-lifecycle") as agent:
        assert agent.url
        config.write_text("ebpf: {programm: [timers]}\nusage: {interval: soon}\n")
        with pytest.raises(urllib.error.HTTPError) as refused:
            agent.get("/-/reload", method="POST")
        assert refused.value.code == 500
        body = refused.value.read().decode()
        assert "programm" in body and "interval" in body
        now = agent.samples()
        assert now["kernmesh_config_last_reload_successful"] == 0
        assert now['kernmesh_config_reloads_total{result="failure"}'] == 1
        assert now['kernmesh_ebpf_program_up{program="timers"}'] == 1
        assert "programm" in agent.get("/")
        config.write_text("")
        agent.get("/-/reload", method="POST")
        assert agent.samples()["kernmesh_config_last_reload_successful"] == 1


def test_a_broken_program_costs_only_itself(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "broken.yaml").write_text("metrics: {counters: [{name: a b}]}\n")
    (mine / "absent.yaml").write_text("metrics: {counters: [{name: ab}]}\n")
    config = tmp_path / "agent.yaml"
    config.write_text(f"ebpf: {{programs: [broken, timers, absent, nosuch], dirs: [{mine}]}}\n")
    with running("--config", config) as agent:
        up = {
            name: value
            for name, value in agent.samples().items()
            if name.startswith("kernmesh_ebpf_program_up")
        }
        assert up == {
            f'kernmesh_ebpf_program_up{{program="{name}"}}': float(name == "timers")
            for name in ("timers", "broken", "absent", "nosuch")
        }
        words = " ".join(agent.screen.split())
        assert "absent.bpf.o: is missing" in words
        assert "no nosuch.yaml among the shipped programs" in words


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with running(listen=f"127.0.0.1:{port}") as agent:
            assert agent.ended() == 1
        [line] = agent.log.splitlines()
        assert f"listen 127.0.0.1:{port}: address already in use" in line


def test_a_hangup_while_it_starts_ends_nothing(config: Path) -> None:
    port = free_port()
    with running("--config", config, listen=f"127.0.0.1:{port}") as agent:
        assert eventually(lambda: can_connect(port), WATCHDOG_SECONDS)
        agent.signal(signal.SIGHUP)  # it listens, and is not yet there to reload
        assert agent.get("/-/healthy")
        assert agent.stop() == 0


def can_connect(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def command(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=WATCHDOG_SECONDS
    )


def test_programs_lists_every_program_with_its_hooks() -> None:
    rows = json.loads(command("programs", "--json").stdout)
    assert {row["name"] for row in rows} >= {"timers", "biolatency", "oomkill"}
    for row in rows:
        assert row.keys() == {"name", "hooks", "hook", "reason"}
        assert row["hooks"]
        assert row["hook"] or row["reason"]
    [timers] = [row for row in rows if row["name"] == "timers"]
    assert timers["hook"] == "tp_btf/timer_start"


def test_check_reports_everything_at_once_and_exits_with_1(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "broken.yaml").write_text("metrics: {counters: [{name: a b}, {nam: c}]}\n")
    config.write_text(f"ebpf: {{programs: all, dirs: [{mine}]}}\n")
    done = command("check", "--config", config)
    assert done.returncode == 1
    assert sum("broken.yaml:1" in line for line in done.stderr.splitlines()) >= 2
    assert command("check").returncode == 0


def test_check_reads_the_jobs_file(tmp_path: Path) -> None:
    config, jobs = tmp_path / "agent.yaml", tmp_path / "caelus.json"
    config.write_text(f"usage: {{jobs_file: {jobs}}}\n")
    done = command("check", "--config", config)
    assert (done.returncode, done.stderr) == (
        1,
        f"{jobs}: cannot be read: No such file or directory\n",
    )
    jobs.write_text('{"online": {"jobs": [{"name": "osd", "command": "ceph-osd"}]}}')
    assert command("check", "--config", config).stdout == "ok\n"


def test_the_schema_is_one_that_validators_take() -> None:
    schema = json.loads(command("schema", "agent").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate({"ebpf": {"programs": "all"}}, schema)


def test_without_privilege_the_agent_runs_with_what_needs_none(tmp_path: Path) -> None:
    nobody = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")
    assert os.geteuid() == 0
    with running(prefix=nobody) as agent:
        assert "programs: 0 of 3 on" in agent.screen or agent.url
        assert "programs: 0 of 3 on" in agent.screen
        assert "not permitted" in agent.screen
        assert "node_mem_usage_active" in agent.samples()
        assert agent.stop() == 0


def test_an_agent_that_was_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(
        "ebpf: {programs: []}\n"
        f"usage: {{interval: 200ms, fast_interval: 200ms, state_dir: {tmp_path}/state}}\n"
    )
    day = ["node_cpu_usage_max_avg_1d", "node_mem_usage_max_avg_1d"]
    with running("--config", config) as agent:
        assert eventually(lambda: len(agent.samples(day)) == 2, WATCHDOG_SECONDS)
        before = agent.samples(day)
        agent.process.kill()
        agent.ended()
    with running("--config", config) as agent:
        assert eventually(lambda: len(agent.samples(day)) == 2, WATCHDOG_SECONDS)
        after = agent.samples(day)
        assert agent.get("/statistics?window=1h").count("usage_p95_1h") >= 2
        assert "not trusted" not in agent.log
    assert after.keys() == before.keys()
    assert all(after[name] >= before[name] for name in day)


def test_a_state_directory_that_cannot_be_used_is_said_and_costs_nothing_else(
    tmp_path: Path,
) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("ebpf: {programs: []}\nusage: {state_dir: /proc/kernmesh}\n")
    with running("--config", config) as agent:
        assert agent.url
        assert eventually(lambda: bool(agent.samples(["node_mem_usage_avg_5m"])))
        page = agent.get("/")
    assert "usage is kept in memory only" in page
    assert agent.log.count("usage: state_dir cannot be used") == 1


@pytest.mark.parametrize("content", [None, b"no types here"], ids=["missing", "something else"])
def test_a_btf_file_that_is_none_is_named_by_all_commands(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "vmlinux.btf"
    if content is not None:
        file.write_bytes(content)
    config = tmp_path / "agent.yaml"
    config.write_text(f"ebpf: {{programs: [timers], btf: {file}}}\n")
    words = "cannot be read: No such file" if content is None else "is no BTF file"
    for arguments in (("check",), ("programs",)):
        assert f"{file}: {words}" in command(*arguments, "--config", config).stderr
    with running("--config", config) as agent:
        assert agent.url
        assert f"ebpf.btf: {file}: {words}" in " ".join(agent.screen.split())
