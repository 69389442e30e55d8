"""Everything that dashboards show, running: two agents, a controller, a labeller, an API
server, a Prometheus.

Agent `a` has all programs, usage, rules and labels; `b` only probes. Both are on loopback, as is a
node `c` that has no agent, so that something is lost. Load is tests.programs'.
"""

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.agent.running import COMMAND, Agent, running
from tests.cluster.apiserver import ApiServer, api_server
from tests.kernel.tasks import Task, ending, python_task
from tests.kernel.test_pods import Pod
from tests.peers import WATCHDOG_SECONDS, Prometheus, free_port, prometheus
from tests.pingmesh.servers import nginx
from tests.pki import authority, signed
from tests.programs.ground import Ground, of_this_machine
from tests.programs.loads import LOADS
from tests.switched import switched_on

RULES_FOLDER = Path(__file__).resolve().parents[2] / "deploy/prometheus"
LABEL = "kernmesh.io/pressure-cpu"
SPIN = "end = time.monotonic() + 600\nwhile time.monotonic() < end: pass"


def write_agent(folder: Path, name: str, controller: int, more: str) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(
        f"pingmesh: {{controller: 'http://127.0.0.1:{controller}'}}\n"
        f"usage:\n  interval: 1s\n  fast_interval: 1s\n  state_dir: null\n{more}"
    )
    return path


def write_controller(folder: Path, agents: int, https: int, closed: int) -> Path:
    (folder / "inventory.yaml").write_text(
        "nodes:\n"
        "  a: {zone: east, rack: r1, ips: [127.0.0.1]}\n"
        "  b: {zone: east, rack: r2, ips: [127.0.0.2]}\n"
        "  c: {zone: west, rack: r3, ips: [127.0.0.3]}\n"
    )
    (folder / "pinglist.yaml").write_text(
        "mesh:\n"
        f"  shop: {{type: OtherIP, ips: ['https://127.0.0.1:{https}/ok'], verify: false}}\n"
        f"  gone: {{type: OtherIP, ips: ['127.0.0.1:{closed}']}}\n"
        "  forbidden: {type: OtherIP, ips: [169.254.169.254]}\n"  # denied: nothing is sent
    )
    path = folder / "controller.yaml"
    path.write_text(
        f"inventory: {folder}/inventory.yaml\npinglist: {folder}/pinglist.yaml\n"
        "setting: {interval: 10, timeout: 1, delay: 0}\n"
        f"probing: {{probe: tcp, port: {agents}}}\n"
        f"mesh: {{agent_port: {agents}, every: 2s, window: 60s, timeout: 2s}}\n"
    )
    return path


def write_labeller(folder: Path, kubeconfig: Path, agents: int) -> Path:
    """Labels the Node of agent `b`, which does not do so itself."""
    path = folder / "labeller.yaml"
    path.write_text(
        f"kubeconfig: {kubeconfig}\ninterval: 2s\nhold: 2s\nlease: {{enabled: false}}\n"
        f"agents: {{addresses: {{b: '127.0.0.2:{agents}'}}}}\n"
        "levels: {cpu: null, mem: {high: 0.01, low: 0}}\nenter: {of: 2, at_least: 2}\n"
    )
    return path


# What holds as soon as anything runs: findings, suspects, actions (said only), incidents.
_RULES = """
rule_check:
  node_rules:
    - name: busy
      check_interval: 1s
      handle_interval: 2s
      rules:
        - detects: [{name: expression, args: {expression: cpu_avg CPU}}]
          actions: [{name: log}, {name: schedule}]
  container_rules:
    - name: waits
      check_interval: 1s
      handle_interval: 2s
      rules:
        - detects: [{name: runq, args: {quantile: 0.99, delay: DELAY, window: 5s}}]
          actions: [{name: log}, {name: preempt}]
"""


class Stack(NamedTuple):
    agent: Agent
    prometheus: Prometheus
    ground: Ground
    rules: Path

    def hurt(self) -> None:
        """From now on the rules hold; for a Prometheus that has seen them not hold, this is a
        change, which one that it met already there would not be."""
        self.prometheus.eventually("count(kernmesh_interference_incidents_total == 0) == 2")
        self.rules.write_text(rules(cpu="> 0.001", delay="1us"))
        self.agent.signal(signal.SIGHUP)


def rules(cpu: str, delay: str) -> str:
    return _RULES.replace("CPU", cpu).replace("DELAY", delay)


@contextmanager
def stack(folder: Path) -> Iterator[Stack]:
    with ExitStack() as exits:
        enter = exits.enter_context
        server = enter(api_server("1.20"))
        prepare(server)
        https = enter(nginx(folder, signed(folder, "shop", authority(folder, "ca"))))
        agents, controller, closed = free_port(), free_port(), free_port()
        rules_file = folder / "rules.yaml"
        rules_file.write_text(rules(cpu="< 0.0001", delay="1h"))
        first = write_agent(
            folder,
            "a",
            controller,
            "  jobs: [{name: spinner, command: 'time.monotonic'}]\n"
            "ebpf: {programs: all}\n"
            f"interference: {{rules: {rules_file}}}\n"
            "pressure:\n  enabled: true\n  node: a\n"
            f"  kubeconfig: {server.kubeconfig(folder)}\n"
            "  levels: {cpu: {high: 0.01, low: 0}, mem: {high: 0.01, low: 0}}\n"
            "  enter: {of: 2, at_least: 2}\n",
        )
        second = write_agent(folder, "b", controller, "ebpf: {programs: []}\npressure: {node: b}\n")
        labeller = free_port()
        targets = {
            "kernmesh": [f"127.0.0.1:{agents}", f"127.0.0.2:{agents}"],
            "kernmesh-controller": [f"127.0.0.1:{controller}"],
            "kernmesh-labeller": [f"127.0.0.1:{labeller}"],
        }
        reader = enter(prometheus(folder, scraping(targets)))
        reader.eventually("up")  # before the agents: what changes at their start is seen
        enter(switched_on("kernel/bpf_stats_enabled"))
        named = named_pods(folder, enter(pods()))
        agent = enter(running("--config", first, listen=f"127.0.0.1:{agents}", prefix=named))
        enter(running("--config", second, listen=f"127.0.0.2:{agents}"))
        assert agent.url  # it has asked for its list, and there was no controller
        file = write_controller(folder, agents, https, closed)
        enter(process(folder, "controller", "--config", file, controller))
        file = write_labeller(folder, server.kubeconfig(folder), agents)
        enter(process(folder, "labeller", "--config", file, labeller))
        ground = enter(of_this_machine())
        yield Stack(agent, reader, ground, rules_file)


def prepare(server: ApiServer) -> None:
    """Two Nodes, and on one a label of somebody else's."""
    server.put("nodes", {"metadata": {"name": "b"}})
    server.put("nodes", {"metadata": {"name": "a", "labels": {LABEL: "x"}}})


def named_pods(folder: Path, made: Sequence[Pod]) -> tuple[str, ...]:
    """How to run an agent that finds the pods' names where kubelet writes their logs."""
    for number, pod in enumerate(made):
        (folder / f"logs/shop_web-{number}_{pod.uid}/server").mkdir(parents=True)
    mount = 'mkdir -p /var/log/pods && mount --bind "$0" /var/log/pods && exec "$@"'
    return ("sh", "-c", mount, str(folder / "logs"))


@contextmanager
def pods() -> Iterator[Sequence[Pod]]:
    """One online pod and one offline, both busy and throttled."""
    made, tasks = [Pod("burstable"), Pod("besteffort")], list[Task]()
    try:
        for pod in made:
            tasks.append(python_task("import time", SPIN))
            pod.add(tasks[-1])
            for mount in pod.mounts:
                quota = mount.folder / pod.path / "cpu.cfs_quota_us"
                if quota.exists():
                    quota.write_text("5000")
        with ending(*tasks):
            for task in tasks:
                task.start()
            yield made
    finally:
        for pod in made:
            pod.remove()


@contextmanager
def process(folder: Path, role: str, *words: str | Path | int) -> Iterator[None]:
    *arguments, port = words
    command = [*COMMAND, role, *map(str, arguments), f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / f"{role}.log").open("wb") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            running.terminate()
            running.wait(WATCHDOG_SECONDS)


def scraping(targets: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """By job; with our rules."""
    return {
        "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "5s"},
        "rule_files": [f"{RULES_FOLDER}/*.yaml"],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": addresses}]}
            for job, addresses in targets.items()
        ],
    }


_FIRST = ("biolatency", "accept-latency", "tcp-syn-backlog", "direct-reclaim")
_MORE = (
    *("timers", "oomkill", "uprobe", "usdt", "cachestat", "cgroup", "tcp-window-clamps"),
    *("tcp-retransmit", "softirq-latency", "syscalls"),
)


def begin(ground: Ground) -> None:
    """What makes the histograms that nothing else here makes."""
    for name in _FIRST:
        LOADS[name](ground)


def load(ground: Ground) -> None:
    """What the programs see; the rest they see of the busy pods."""
    for name in (*_FIRST, *_MORE):
        LOADS[name](ground)
