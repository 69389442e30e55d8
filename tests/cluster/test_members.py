"""The pingmesh controller's members on whichever cluster the fixture gives."""

import asyncio

from exporter.clock import SystemClock
from exporter.kube.access import find_access
from exporter.kube.api import NODES, PODS, Object
from exporter.kube.client import KubeClient
from pingmesh.controller_config import Kubernetes as Config
from pingmesh.inventory import Network, Roll
from pingmesh.kubernetes import Kubernetes
from pingmesh.topology import Member
from tests.cluster.conftest import Cluster
from tests.cluster.test_scenarios import PLACE, PREFIX, node, play, pod
from tests.web.serving import until

OURS = {"kernmesh.io/test": "members"}


async def put_node(client: KubeClient, name: str, address: str) -> None:
    body = node(name, labels=OURS | {"topology.kubernetes.io/zone": "east"})
    made = await client.create(NODES, body)
    made["status"] = {"addresses": [{"type": "InternalIP", "address": address}]}
    await client.update(NODES, PREFIX + name, made, subresource="status")


async def put_pod(client: KubeClient, name: str, on: str, label: str, address: str) -> None:
    body: Object = pod(name, PREFIX + on, labels={label: "true"})
    made = await client.create(PODS, body, namespace=PLACE)
    made["status"] = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
    }
    await client.update(PODS, PREFIX + name, made, namespace=PLACE, subresource="status")


def test_members_are_followed_as_nodes_and_pods_come_and_go(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        await put_node(client, "a", "10.0.0.1")
        await put_pod(client, "p", "a", "kernmesh.io/test-prober", "10.1.0.1")
        config = Config(
            kubeconfig=str(cluster.kubeconfig),
            nodes="kernmesh.io/test=members",
            probers="kernmesh.io/test-prober=true",
            opt_in="kernmesh.io/test-probe=true",
        )
        source = Kubernetes(config, find_access(cluster.kubeconfig), SystemClock())
        roll = Roll(source.sources, SystemClock())
        task = asyncio.create_task(source.run(lambda: None))

        def names(network: Network) -> list[str]:
            roll.look()
            return sorted(each.name.replace(PREFIX, "") for each in roll.members(network))

        try:
            await until(lambda: (names("nodes"), names("pods")) == (["a"], ["p"]))
            assert roll.members("pods") == [
                Member(f"{PREFIX}p", "east", "", ("10.1.0.1",), f"{PREFIX}a")
            ]
            await put_node(client, "b", "10.0.0.2")
            await put_pod(client, "web", "b", "kernmesh.io/test-probe", "10.1.0.2")
            await until(lambda: names("pods") == [f"{PLACE}/web", "p"])
            assert names("nodes") == ["a", "b"]
            await client.delete(PODS, f"{PREFIX}p", PLACE, grace_seconds=0)
            await client.delete(NODES, f"{PREFIX}a")
            await put_node(client, "a", "10.0.0.9")
            await until(lambda: names("pods") == [f"{PLACE}/web"])
            await until(
                lambda: {e.addresses for e in _nodes(roll)} == {("10.0.0.9",), ("10.0.0.2",)}
            )
            assert roll.problems == {}
        finally:
            task.cancel()
            await asyncio.wait([task])

    play(cluster, test)


def _nodes(roll: Roll) -> list[Member]:
    roll.look()
    return roll.members("nodes")
