"""A whole agent once it has let go of its privileges: what it cannot do, and what goes on."""

import errno
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import pytest

from exporter.privileges.capabilities import name_of
from exporter.privileges.inforce import MECHANISMS
from tests.agent.running import Agent, running
from tests.agent.tried import TRIES
from tests.kernel.workloads import start_keepalive_timers

pytestmark = pytest.mark.bpf

TIMERS = 'ebpf_exporter_timer_starts_total{function="tcp_keepalive_timer"}'
TRIED = (sys.executable, "-m", "tests.agent.tried")
KEPT = {"CAP_DAC_READ_SEARCH", "CAP_NET_RAW", "CAP_SYSLOG"}
REFUSALS = {f"OSError {each}" for each in (errno.EPERM, errno.EACCES)} | {
    f"LibbpfError {errno.EPERM}"
}


def in_force(agent: Agent) -> dict[str, float]:
    found = agent.samples(["kernmesh_privileges_in_force"])
    return {
        name: found[f'kernmesh_privileges_in_force{{mechanism="{name}"}}'] for name in MECHANISMS
    }


def capabilities(agent: Agent) -> set[str]:
    found = agent.samples(["kernmesh_capability_effective"])
    return {series.split('"')[1] for series, value in found.items() if value == 1}


def threads(pid: int) -> list[dict[str, str]]:
    """The status of each."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found.append({key: value.strip() for key, _, value in (x.partition(":") for x in lines)})
    return found


def names(mask: str) -> set[str]:
    number = int(mask, 16)
    return {name_of(bit) for bit in range(number.bit_length()) if number >> bit & 1}


def test_whoever_takes_it_over_can_do_nothing_of_this_and_it_goes_on_counting() -> None:
    with running(command=TRIED) as agent:
        before = agent.samples()
        done = {
            what: answer
            for what in TRIES
            if (answer := json.loads(agent.get(f"/try?what={quote(what)}"))) not in REFUSALS
        }
        assert done == {}
        start_keepalive_timers(50)
        after = agent.samples()
        assert after[TIMERS] - before.get(TIMERS, 0) >= 50
        assert all(
            value == 1
            for name, value in after.items()
            if name.startswith("kernmesh_collector_success")
        )
        assert agent.stop() == 0
        assert "Traceback" not in agent.log


def test_the_same_agent_can_do_it_all_where_nothing_is_dropped(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("privileges: {drop: false}\n")
    allowed = ("read /etc/shadow", "load a BPF program", "run a program", "hear all packets")
    with running("--config", config, command=TRIED) as agent:
        for what in allowed:
            assert json.loads(agent.get(f"/try?what={quote(what)}")) is None
        assert set(in_force(agent).values()) == {0}
        assert "CAP_SYS_ADMIN" in capabilities(agent)
        assert "note:" not in agent.screen


def test_every_thread_shows_it_and_metrics_say_what_the_kernel_says() -> None:
    with running() as agent:
        assert agent.url
        for _ in range(3):  # threads of scrapes, too
            agent.samples()
        for status in threads(agent.process.pid):
            assert status["NoNewPrivs"] == "1"
            assert status["Seccomp"] == "2"
            for kind in ("CapEff", "CapPrm", "CapBnd"):
                assert names(status[kind]) == KEPT
            assert names(status["CapInh"]) == names(status["CapAmb"]) == set()
        assert in_force(agent) == dict.fromkeys(MECHANISMS, 1.0)
        assert capabilities(agent) == KEPT
        assert "note:" not in agent.screen


def test_a_reload_takes_programs_away_and_says_that_new_ones_need_a_restart(
    tmp_path: Path,
) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("ebpf: {programs: [timers, biolatency]}\n")
    with running("--config", config, "--web.enable-lifecycle") as agent:
        assert agent.url
        start_keepalive_timers(50)
        before = agent.samples()
        config.write_text("ebpf: {programs: [timers, oomkill]}\npingmesh: {allow: [loopback]}\n")
        assert agent.get("/-/reload", method="POST") == "reloaded\n"
        after = agent.samples()
        up = {
            series.split('"')[1]: value
            for series, value in after.items()
            if series.startswith("kernmesh_ebpf_program_up")
        }
        assert up == {"timers": 1, "oomkill": 0}
        assert after[TIMERS] >= before[TIMERS] >= 50
        assert after['kernmesh_config_reloads_total{result="success"}'] == 1
        assert "oomkill" in agent.log and "restart it" in agent.log
        config.write_text("ebpf: {programs: [timers]}\nusage: {interval: 20s}\n")
        agent.signal(signal.SIGHUP)
        agent.wait_for(lambda one: one.log.count("msg=reloaded") == 2)
        assert "restart" in agent.get("/")


def as_user(*granted: str) -> Sequence[str]:
    """Somebody with these capabilities. The tests' own Python may be root's alone."""
    sets = ",".join(f"+{name}" for name in granted) or "-all"
    inherited = f"-all,{sets}" if granted else "-all"
    packages = ":".join(each for each in sys.path if each.endswith("site-packages"))
    return (
        *("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
        *(f"--inh-caps={inherited}", f"--ambient-caps={inherited}"),
        *("env", f"PYTHONPATH={Path.cwd()}:{packages}", "/usr/bin/python3"),
    )


def test_a_user_with_four_capabilities_has_its_programs_and_keeps_two(tmp_path: Path) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text("ebpf: {btf: /sys/kernel/btf/vmlinux}\nusage: {state_dir: null}\n")
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    command = (*as_user("bpf", "perfmon", "syslog", "net_raw"), "-m", "exporter.cli", "agent")
    with running("--config", config, command=command) as agent:
        assert agent.url
        assert "programs: 3 of 3 on" in agent.screen, agent.log
        assert capabilities(agent) == {"CAP_NET_RAW", "CAP_SYSLOG"}
        assert in_force(agent) == dict.fromkeys(MECHANISMS, 1.0)
        start_keepalive_timers(50)
        assert agent.samples()[TIMERS] >= 50


def test_a_kernel_without_landlock_costs_landlock_and_a_line() -> None:
    without = (sys.executable, "-m", "tests.agent.refusing", "landlock_create_ruleset")
    with running(prefix=without) as agent:
        assert agent.url
        assert in_force(agent) == {**dict.fromkeys(MECHANISMS, 1.0), "landlock": 0.0}
        # reading every file there is goes with it
        assert capabilities(agent) == KEPT - {"CAP_DAC_READ_SEARCH"}
        assert "privileges: landlock is not in force" in agent.get("/")
        assert "this kernel has no Landlock" in " ".join(agent.screen.split())
