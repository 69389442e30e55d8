"""From a rule that fires to an evicted pod: a real agent, a real labeller, real cgroups, real work.

What the API has and what both say, no times: whatever must come is waited for. Some 50 s.
"""

import asyncio
import json
import signal
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exporter.clock import SystemClock
from exporter.kube.access import find_access
from exporter.kube.api import NODES, PODS, Object
from exporter.kube.client import KubeClient
from tests.agent.running import Agent, running
from tests.cluster.conftest import Cluster
from tests.cluster.test_scenarios import BUDGETS, PLACE, PREFIX, clean, node, pod
from tests.interference.rig import Rig, rig
from tests.interference.test_whole import TICKS, until
from tests.labeller.test_command import get, labeller

pytestmark = pytest.mark.bpf

RELEASES = ["current"]
NODE = PREFIX + "node"
RULES = """
rule_check:
  container_rules:
    - name: cpu
      check_interval: 1s
      subjects: {top}/
      rules:
        - detects: [{{name: expression, args: {{expression: waited_for_offline > 0.2}}}}]
          for: 1s
          clear: 3s
          actions: [{{name: evict}}]
"""
AGENT = """
ebpf: {{programs: []}}
usage: {{state_dir: {folder}/state, pods: {{names: api}}, offline: {{cgroups: [{offline}]}}}}
interference: {{rules: {folder}/rules.yaml, dry_run: {dry_run}}}
pressure: {{node: {node}}}
"""
LABELLER = """
kubeconfig: {kubeconfig}
server: {{listen: ["127.0.0.1:0"]}}
interval: 1s
agents: {{addresses: {{{node}: "{address}"}}}}
levels: {{cpu: null, mem: null, schedule: false}}
condition: false
lease: {{enabled: false}}
janitor: false
evictions: {{enabled: true, cooldown: 1s}}
"""
BUDGET = {
    "kind": "PodDisruptionBudget",
    "metadata": {"name": PREFIX + "budget"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": {"example.org/app": "batch"}}},
}


class Pod(NamedTuple):
    """`name` is namespace/name, "" of one that the API does not have; `path` that of its cgroup."""

    name: str
    uid: str
    path: str


class Node:
    """The node in the API and on this machine."""

    def __init__(self, cluster: Cluster, machine: Rig) -> None:
        self._cluster, self.machine = cluster, machine

    def ask(self, what: Callable[[KubeClient], Awaitable[Any]]) -> Any:
        async def asked() -> Any:
            client = KubeClient(find_access(self._cluster.kubeconfig), SystemClock(), role="tests")
            try:
                return await what(client)
            finally:
                await client.close()

        return asyncio.run(asked())

    def pod(self, name: str, offline: bool = True) -> Pod:
        """One that runs, as its kubelet tells."""
        body = pod(name, NODE, labels={"example.org/app": "batch"})
        made = self.ask(lambda api: api.create(PODS, body, namespace=PLACE))
        told = {"status": {"phase": "Running"}}
        name, uid = made["metadata"]["name"], made["metadata"]["uid"]
        self.ask(lambda api: api.patch(PODS, name, told, namespace=PLACE, subresource="status"))
        return Pod(f"{PLACE}/{name}", uid, self.machine.pod(offline, uid))

    def meta(self, of: Pod) -> Object:
        name = of.name.partition("/")[2]
        return self.ask(lambda api: api.get(PODS, name, PLACE))["metadata"]  # type: ignore[no-any-return]


@pytest.fixture
def here(cluster: Cluster) -> Iterator[Node]:
    with rig() as machine:
        found = Node(cluster, machine)
        found.ask(lambda api: api.create(NODES, node("node")))
        try:
            yield found
        finally:
            found.ask(clean)


class Seen(NamedTuple):
    """What the agent says of its incident now."""

    suspect: str
    result: str
    text: str
    asked: tuple[tuple[str, str], ...]


def seen(agent: Agent) -> Seen | None:
    answer = json.loads(agent.get("/interference"))
    asked = tuple((each["pod"], each["uid"]) for each in answer["evictions"])
    for each in answer["incidents"]:
        done = [each for each in each.get("actions", ()) if each["action"] == "evict"]
        if each["state"] == "firing" and each.get("suspects") and done:
            first = each["suspects"][0]["subject"]
            return Seen(first["name"].strip("/"), done[0]["result"], done[0]["text"], asked)
    return None


def counts(url: str) -> dict[str, float]:
    """The labeller's evictions by result, those that there were."""
    rows = (line for line in get(f"{url}/metrics").splitlines() if "evictions_total{" in line)
    found = {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in rows}
    return {result: count for result, count in found.items() if count}


def test_the_antagonist_s_pod_is_evicted_once_its_budget_allows_and_nobody_else(
    cluster: Cluster, here: Node, tmp_path: Path
) -> None:
    machine, file = here.machine, tmp_path / "agent.yaml"
    (tmp_path / "rules.yaml").write_text(RULES.format(top=machine.top))

    def configure(dry_run: str) -> None:
        names = {"folder": tmp_path, "offline": machine.offline, "node": NODE}
        file.write_text(AGENT.format(dry_run=dry_run, **names))

    def hurts(of: Pod, *arguments: str) -> "subprocess.Popen[bytes]":
        return machine.stress(of.path, "--cpu", "3", *arguments)

    here.ask(lambda api: api.create(BUDGETS, BUDGET, namespace=PLACE))
    unknown = Pod("", "", machine.pod(offline=True))
    first, second = here.pod("first"), here.pod("second")
    online = here.pod("online", offline=False)
    machine.victim()
    machine.stress(online.path, "--cpu", "1")
    configure("true")
    with ExitStack() as stack:
        prefix = ("env", f"KUBECONFIG={cluster.kubeconfig}")
        agent = stack.enter_context(running("--config", file, prefix=prefix))
        config = tmp_path / "labeller.yaml"
        address = agent.url.removeprefix("http://")
        names = {"kubeconfig": cluster.kubeconfig, "node": NODE, "address": address}
        config.write_text(LABELLER.format(**names))
        _, url = stack.enter_context(labeller("--config", str(config)))
        until(lambda: agent.samples([TICKS]).get(TICKS, 0.0) >= 8)

        process = hurts(unknown)
        until(lambda: (now := seen(agent)) is not None and now.suspect == unknown.path)
        now = seen(agent)
        assert now is not None
        assert now.result == "refused"
        assert now.text.endswith("which pod it is of is not known")
        machine.end(process)
        until(lambda: seen(agent) is None)

        process = hurts(first)
        until(lambda: (now := seen(agent)) is not None and now.suspect == first.path)
        now = seen(agent)
        assert now is not None
        assert (now.result, now.asked) == ("dry_run", ())
        assert f"would ask for eviction of {first.name} ({first.uid})" in now.text
        until(lambda: get(f"{url}/-/ready"))
        assert counts(url) == {}

        configure("false")
        agent.signal(signal.SIGHUP)
        wanted = ((first.name.partition("/")[2], first.uid),)
        until(lambda: (now := seen(agent)) is not None and now.asked == wanted)
        until(lambda: counts(url) == {"budget": 1.0})
        assert "deletionTimestamp" not in here.meta(first)
        here.ask(lambda api: api.delete(BUDGETS, PREFIX + "budget", PLACE))
        until(lambda: counts(url).get("evicted"))
        assert here.meta(first)["deletionTimestamp"]
        assert here.meta(first)["deletionGracePeriodSeconds"] == 30

        machine.end(process)
        hurts(second)
        until(lambda: (now := seen(agent)) is not None and now.suspect == second.path)
        now = seen(agent)
        assert now is not None
        assert now.result == "nothing"
        assert now.text.startswith("one was asked for, the next may be in ")
        assert second.uid not in str(now.asked)
        assert agent.stop() == 0
        for each in (second, online):
            assert "deletionTimestamp" not in here.meta(each)
        found = counts(url)
        assert found.pop("evicted") == 1.0
        assert found.keys() <= {"budget"}
