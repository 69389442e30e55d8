"""The controller of a Kubernetes cluster of 10,000 nodes in 200 racks and 3 zones, each with a
prober's pod, and 1,000 pods that opted in: how long lists take, what a rolling restart costs, and
what the controller holds.

Everything comes over HTTP from the test API server (tests/cluster) in a process of its own. Seconds
are CPU seconds.
"""

import asyncio
import multiprocessing
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.controller import TICKS, ask, request
from benchmarks.tables import Table, markdown
from exporter.clock import SystemClock
from exporter.kube.access import find_access
from pingmesh import controller_config
from pingmesh.controller_config import ControllerConfig
from pingmesh.inventory import Roll
from pingmesh.kubernetes import Kubernetes
from pingmesh.networks import Networks, make_networks
from pingmesh.pinglist import Pinglist

NODES, RACK, ZONES, SHOPS = 10_000, 50, 3, 1_000
RESTARTED = 2_000
TURNS = 5


def node(i: int) -> dict[str, Any]:
    """As large as a kubelet's: 40 images, conditions, capacities."""
    labels = {
        "topology.kubernetes.io/zone": f"zone-{i // RACK % ZONES}",
        "kernmesh.io/rack": f"rack-{i // RACK:03d}",
        "kubernetes.io/hostname": f"node-{i:05d}",
        "kubernetes.io/os": "linux",
    }
    images = [
        {"names": [f"registry.example/team-{k}/image@sha256:{k:064x}"], "sizeBytes": k}
        for k in range(40)
    ]
    addresses = [
        {"type": "Hostname", "address": f"node-{i:05d}"},
        {"type": "InternalIP", "address": f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}"},
        {"type": "InternalIP", "address": f"fd00::{i:x}"},
    ]
    meta = {"name": f"node-{i:05d}", "labels": labels}
    return {"metadata": meta, "status": {"addresses": addresses, "images": images}}


def pod(name: str, label: str, i: int, net: int) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {label: "true"}},
        "spec": {"nodeName": f"node-{i:05d}", "containers": [{"name": "a", "image": "a"}]},
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
        pipe.send(f"node-{first + turn * 1777:05d}")
        started = time.process_time()
        await told.wait()
        networks = lists(networks)
        changes.append(time.process_time() - started)
        pipe.recv()
    task.cancel()
    await asyncio.wait([task])
    who, goals = "nodes", ("≤ 2 s", "≤ 50 ms")
    if probers is not None:
        who, goals = "nodes and probers", ("", "")
    return (
        (f"{who}: listed and reduced", f"{listed:.2f} s", ""),
        (f"{who}: all pinglists, bytes and digests", f"{everything:.2f} s", goals[0]),
        (
            f"{who}: one node less, from the watch to lists that can be asked for",
            f"{median(changes) * 1000:.0f} ms",
            goals[1],
        ),
    )


class Controller:
    """A real one, which asks the API server."""

    def __init__(self, folder: str, kubeconfig: str) -> None:
        config = Path(folder, "controller.yaml")
        keys = f"{{kubeconfig: {kubeconfig}, keep: {folder}/members.json}}"
        config.write_text(f"source: {{kubernetes: {keys}}}\nmesh: {{enabled: false}}\n")
        command = ("-m", "exporter.cli", "controller", "--config", str(config))
        self.process = subprocess.Popen(
            [sys.executable, *command, "--web.listen-address", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        screen = "".join(self.process.stdout.readline() for _ in range(3))
        found = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", screen)
        assert found, screen
        self.port = int(found[1])

    def sample(self, name: str) -> float:
        url = f"http://127.0.0.1:{self.port}/metrics"
        with urllib.request.urlopen(url, timeout=60) as answer:
            found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
        return float(found[1]) if found else 0.0

    def until_members(self, count: int) -> None:
        while self.sample("kernmesh_controller_members") != count:
            time.sleep(0.2)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_mb(self, key: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{key}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def running(folder: str, kubeconfig: str, pipe: Connection) -> tuple[tuple[str, ...], ...]:
    # Without the nodes that went, and so without their probers.
    there = NODES - 2 * TURNS
    controller = Controller(folder, kubeconfig)
    try:
        controller.until_members(2 * there)
        started = controller.cpu_seconds()
        names = [f"node-{i:05d}" for i in range(NODES)]
        ask(controller.port, [request(name) for name in names])
        before = controller.sample("kernmesh_controller_builds_total")
        cpu, wall = controller.cpu_seconds(), time.monotonic()
        pipe.send("restart")
        pipe.recv()
        controller.until_members(2 * there)
        took = time.monotonic() - wall
        builds = controller.sample("kernmesh_controller_builds_total") - before
        cost = controller.cpu_seconds() - cpu
        resident, highest = controller.memory_mb("VmRSS"), controller.memory_mb("VmHWM")
    finally:
        controller.stop()
    return (
        ("start of the process to lists that can be asked for", f"{started:.1f} s", ""),
        (
            f"{RESTARTED:,} probers replaced in {took:.1f} s: rebuilds",
            f"{builds:.0f} ({builds / took:.2f}/s)",
            "≤ 1/s",
        ),
        ("the same: CPU of the controller", f"{cost:.1f} s", ""),
        ("RSS after that; at its highest", f"{resident:.0f}; {highest:.0f} MB", "≤ 250 MB"),
    )


def measure() -> Table:
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        server = multiprocessing.get_context("spawn").Process(target=serve, args=(folder, there))
        server.start()
        try:
            kubeconfig = here.recv()
            rows = asyncio.run(building(kubeconfig, here, 0, None))
            rows += asyncio.run(building(kubeconfig, here, 1, "kernmesh.io/prober=true"))
            rows += running(folder, kubeconfig, here)
        finally:
            here.send("stop")
            server.join(60)
    return Table(
        "The controller of a Kubernetes cluster",
        ("", "measured", "goal"),
        rows,
        (
            f"{NODES:,} nodes, {NODES // RACK} racks, {ZONES} zones, a prober's pod on each node, "
            f"{SHOPS:,} pods that opted in. Nodes carry 40 images each, as kubelets report them.",
        ),
    )


def main(show: Callable[[str], None] = print) -> None:
    show(markdown(measure()))


if __name__ == "__main__":
    main()
