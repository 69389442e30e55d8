"""The controller of a Kubernetes cluster of 10,000 nodes in 200 racks and 3 zones, each with a
prober's pod, and 1,000 pods that opted in: how long lists take, what a rolling restart costs, and
what the controller holds.

Everything comes over HTTP from the test API server (tests/cluster) in a process of its own. Seconds
are CPU seconds.
"""

import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import role
from benchmarks.big_mesh import NODES, SIZE, addresses_of, name_of, rack_of, zone_of
from benchmarks.controller import ask, request
from benchmarks.process import cpu_seconds, peak_mb, resident_mb
from benchmarks.tables import NO_GOAL, Table, at_most, show
from exporter.clock import SystemClock
from exporter.kube.access import find_access
from pingmesh import controller_config
from pingmesh.controller_config import ControllerConfig
from pingmesh.inventory import Roll
from pingmesh.kubernetes import Kubernetes
from pingmesh.networks import Networks, make_networks
from pingmesh.pinglist import Pinglist

SHOPS = 1_000
RESTARTED = 2_000
TURNS = 5


def node(i: int) -> dict[str, Any]:
    """As large as a kubelet's: 40 images, conditions, capacities."""
    labels = {
        "topology.kubernetes.io/zone": zone_of(i),
        "kernmesh.io/rack": rack_of(i),
        "kubernetes.io/hostname": name_of(i),
        "kubernetes.io/os": "linux",
    }
    images = [
        {"names": [f"registry.example/team-{k}/image@sha256:{k:064x}"], "sizeBytes": k}
        for k in range(40)
    ]
    addresses = [
        {"type": "Hostname", "address": name_of(i)},
        *({"type": "InternalIP", "address": each} for each in addresses_of(i)),
    ]
    meta = {"name": name_of(i), "labels": labels}
    return {"metadata": meta, "status": {"addresses": addresses, "images": images}}


def pod(name: str, label: str, i: int, net: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {label: "true"}},
        "spec": {"nodeName": name_of(i), "containers": [{"name": "a", "image": "a"}]},
        "status": {"phase": "Running", "podIP": f"10.{net}.{i >> 8 & 255}.{i & 255}"},
    }


def serve(folder: str, pipe: Connection) -> None:
    """The API server's process: fills itself, then does what it is told."""
    from tests.cluster.apiserver import api_server

    with api_server() as server:
        store = server._store

        def write(plural: str, body: dict[str, Any], namespace: str = "") -> None:
            name = body["metadata"]["name"]
            meta = body["metadata"] | {"uid": f"{store.version}-{name}"}
            if namespace:
                meta["namespace"] = namespace
            store.write((plural, namespace, name), body | {"metadata": meta})

        def fill() -> None:
            for i in range(NODES):
                write("nodes", node(i))
                write("pods", pod(f"prober-{i:05d}", "kernmesh.io/prober", i, 1), "kernmesh")
            for i in range(SHOPS):
                write("pods", pod(f"shop-{i}", "kernmesh.io/probe", i * 10, 2), "shop")

        def restart(i: int) -> None:
            store.write(("pods", "kernmesh", f"prober-{i:05d}"), None)
            body = pod(f"again-{i:05d}", "kernmesh.io/prober", i, 3)
            write("pods", body, "kernmesh")

        server.call(fill)
        pipe.send(str(server.kubeconfig(Path(folder))))
        while (told := pipe.recv()) != "stop":
            if told == "restart":
                for i in range(RESTARTED):
                    server.call(restart, i)
                    time.sleep(0.002)  # some 400 pods a second, which no cluster does
            else:
                server.call(store.write, ("nodes", "", told), None)
            pipe.send("done")


async def building(
    kubeconfig: str, pipe: Connection, first: int, probers: str | None
) -> tuple[tuple[str, ...], ...]:
    """As the controller does it, in this process; node `first` and others after it are removed."""
    asked = controller_config.Kubernetes(kubeconfig=kubeconfig, probers=probers)
    config = ControllerConfig(source=controller_config.Sources(asked))
    clock = SystemClock()
    kubernetes = Kubernetes(asked, find_access(Path(kubeconfig)), clock)
    told = asyncio.Event()
    started = time.process_time()
    task = asyncio.create_task(kubernetes.run(told.set))
    roll = Roll(kubernetes.sources, clock)
    roll.look()
    while any(roll.waiting(source.network) for source in roll.sources):
        await told.wait()
        told.clear()
        roll.look()
    listed = time.process_time() - started

    def lists(before: Networks) -> Networks:
        roll.look()
        found = {source.network: roll.members(source.network) for source in roll.sources}
        return make_networks(config, Pinglist(), found, before)

    started = time.process_time()
    networks = lists(Networks())
    for each in networks.known:
        for name in each.topology.names:
            each.digest(name)
    everything = time.process_time() - started
    changes = []
    for turn in range(TURNS):
        told.clear()
        pipe.send(name_of(first + turn * 1777))
        started = time.process_time()
        await told.wait()
        networks = lists(networks)
        changes.append(time.process_time() - started)
        pipe.recv()
    task.cancel()
    await asyncio.wait([task])
    change = median(changes)
    who = "nodes" if probers is None else "nodes and probers"
    goals = [NO_GOAL, NO_GOAL]
    if probers is None:
        goals = [at_most(everything, 2, "s"), at_most(change * 1000, 50, "ms")]
    one_less = f"{who}: one node less, from the watch to lists that can be asked for"
    return (
        (f"{who}: listed and reduced", f"{listed:.2f} s", *NO_GOAL),
        (f"{who}: all pinglists, bytes and digests", f"{everything:.2f} s", *goals[0]),
        (one_less, f"{change * 1000:.0f} ms", *goals[1]),
    )


def rolling_restart(folder: str, kubeconfig: str, pipe: Connection) -> tuple[tuple[str, ...], ...]:
    """Of a real controller, which asks the API server."""
    # Without the nodes that went, and so without their probers.
    there = NODES - 2 * TURNS
    config = Path(folder, "controller.yaml")
    keys = f"{{kubeconfig: {kubeconfig}, keep: {folder}/members.json}}"
    config.write_text(f"source: {{kubernetes: {keys}}}\nmesh: {{enabled: false}}\n")
    with role.running("controller", config) as controller:
        until_members(controller, 2 * there)
        started = cpu_seconds(controller.pid)
        ask(controller.port, [request(name_of(i)) for i in range(NODES)])
        before = controller.sample("kernmesh_controller_builds_total")
        cpu, wall = cpu_seconds(controller.pid), time.monotonic()
        pipe.send("restart")
        pipe.recv()
        until_members(controller, 2 * there)
        took = time.monotonic() - wall
        builds = controller.sample("kernmesh_controller_builds_total") - before
        cost = cpu_seconds(controller.pid) - cpu
        resident, highest = resident_mb(controller.pid), peak_mb(controller.pid)
    rate = builds / took
    most = f"{resident:.0f}; {highest:.0f} MB"
    return (
        ("start of the process to lists that can be asked for", f"{started:.1f} s", *NO_GOAL),
        (
            f"{RESTARTED:,} probers replaced in {took:.1f} s: rebuilds",
            f"{builds:.0f} ({rate:.2f}/s)",
            *at_most(rate, 1, "a second"),
        ),
        ("the same: CPU of the controller", f"{cost:.1f} s", *NO_GOAL),
        ("RSS after that; at its highest", most, *at_most(highest, 250, "MB")),
    )


def until_members(controller: role.Role, count: int) -> None:
    while controller.sample("kernmesh_controller_members") != count:
        time.sleep(0.2)


def tables() -> Iterator[Table]:
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, there))
        server.start()
        try:
            kubeconfig = here.recv()
            rows = asyncio.run(building(kubeconfig, here, 0, None))
            rows += asyncio.run(building(kubeconfig, here, 1, "kernmesh.io/prober=true"))
            rows += rolling_restart(folder, kubeconfig, here)
        finally:
            here.send("stop")
            server.join(60)
    yield Table(
        "The controller of a Kubernetes cluster",
        ("", "measured", "goal", "met"),
        rows,
        (
            f"{SIZE}, a prober's pod on each node, {SHOPS:,} pods that opted in. Nodes carry 40 "
            "images each, as kubelets report them. Issue 5's goals are for nodes.",
        ),
    )


if __name__ == "__main__":
    show(tables())
