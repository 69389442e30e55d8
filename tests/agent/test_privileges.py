"""A whole agent once it has let go of its privileges: what it cannot do, and what goes on."""

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit
from uuid import uuid4

import pytest

from exporter.config import AgentConfig, ListenAddress
from exporter.config.agent import Server
from exporter.doctor.asking import running_agent
from exporter.privileges.capabilities import name_of
from exporter.privileges.inforce import MECHANISMS
from tests.actuator.trees import workers_of
from tests.agent.running import WATCHDOG_SECONDS, Agent, running
from tests.agent.tried import TRIES
from tests.kernel.test_pods import Pod
from tests.kernel.workloads import eventually, start_keepalive_timers

pytestmark = pytest.mark.bpf

TIMERS = 'ebpf_exporter_timer_starts_total{function="tcp_keepalive_timer"}'
TRIED = (sys.executable, "-m", "tests.agent.tried")
KEPT = {"CAP_DAC_READ_SEARCH", "CAP_NET_RAW", "CAP_SYSLOG"}
REFUSALS = {f"OSError {each}" for each in (errno.EPERM, errno.EACCES)} | {
    f"LibbpfError {errno.EPERM}"
}


def answered(agent: Agent, rack: str) -> bool:
    """Whether a target in this rack has."""
    found = agent.samples(["pingmesh_rtt_seconds_count"])
    return any("_count{" in series and f'target_rack="{rack}"' in series for series in found)


def cgroups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


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


def test_new_targets_are_probed_and_a_pinglist_that_was_exchanged_is_read(tmp_path: Path) -> None:
    pinglist, config = tmp_path / "pinglist.yaml", tmp_path / "agent.yaml"
    config.write_text(f"ebpf: {{programs: []}}\npingmesh: {{pinglist: {pinglist}}}\n")

    def write(**racks: str) -> None:
        groups = (
            f"{name}: {{ips: [{ip}], labels: {{rack: {name}}}}}" for name, ip in racks.items()
        )
        new = tmp_path / "pinglist.new"
        new.write_text(f"setting: {{interval: 10}}\nmesh: {{{', '.join(groups)}}}\n")
        new.replace(pinglist)

    write(first="127.0.0.1")
    with running("--config", config, "--web.enable-lifecycle") as agent:
        assert eventually(lambda: answered(agent, "first"), WATCHDOG_SECONDS)
        write(first="127.0.0.1", second="127.0.0.2")
        assert agent.get("/-/reload", method="POST") == "reloaded\n"
        assert eventually(lambda: answered(agent, "second"), WATCHDOG_SECONDS)
        assert in_force(agent) == dict.fromkeys(MECHANISMS, 1.0)


def test_the_actuator_comes_back_after_it_was_killed_and_undoes_at_the_end(tmp_path: Path) -> None:
    mark = f"test-{uuid4().hex[:12]}"
    config = tmp_path / "agent.yaml"
    config.write_text(
        f"ebpf: {{programs: []}}\nusage:\n  state_dir: {tmp_path}/state\n  interval: 1s\n"
        f"  jobs_in_cgroups: true\n  jobs: [{{name: {mark}, command: {mark}}}]\n"
    )
    code = "print('up', flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, mark], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as service:
        assert service.stdout is not None and service.stdout.readline() == b"up\n"
        before = cgroups(service.pid)
        with running("--config", config) as agent:
            agent.wait_for(lambda one: one.log.count(f"moved into /kernmesh/{mark}") == 1)
            assert agent.url  # and so it has let go
            assert in_force(agent) == dict.fromkeys(MECHANISMS, 1.0)
            [keeper] = workers_of(agent.process.pid)
            [worker] = workers_of(keeper)
            for times, victim in enumerate((keeper, worker), 2):
                os.kill(victim, signal.SIGKILL)
                agent.wait_for(
                    lambda one, times=times: (  # type: ignore[misc]
                        one.log.count(f"moved into /kernmesh/{mark}") == times
                    )
                )
            assert agent.log.count("was started anew; what was in force is put back") == 2
            assert f":cpu:/kernmesh/{mark}\n" in cgroups(service.pid)
            assert agent.stop() == 0
        assert cgroups(service.pid) == before
        service.communicate()


def test_pods_that_come_later_are_named_and_doctor_hears_what_is_in_force(tmp_path: Path) -> None:
    logs = tmp_path / "var/log/pods"
    logs.mkdir(parents=True)
    with running("--path.rootfs", tmp_path) as agent:
        port = urlsplit(agent.url).port
        asked = AgentConfig(server=Server(listen=(ListenAddress(f"127.0.0.1:{port}"),)))
        assert running_agent(asked) == dict.fromkeys(MECHANISMS, True)
        pod = Pod("burstable")
        try:
            (logs / f"shop_web-0_{pod.uid}").mkdir()
            named = 'namespace="shop",pod="web-0"'
            assert eventually(
                lambda: any(named in series for series in agent.samples()), WATCHDOG_SECONDS
            )
        finally:
            pod.remove()
