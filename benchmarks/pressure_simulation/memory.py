"""What `kernmesh labeller` has in memory with 5,000 nodes: the process itself, over real HTTP, with
the tests' API server and as many agents.
"""

import json
import tempfile
import time
from pathlib import Path

from benchmarks import role
from benchmarks.process import peak_mb, resident_mb
from tests.cluster.apiserver import ApiServer, api_server

IMAGES, ROUNDS, WAIT_SECONDS = 30, 3, 180.0


def _node(index: int) -> dict[str, object]:
    images = [
        {"names": [f"registry.example/team/image-{i}@sha256:{i:064x}"], "sizeBytes": 100_000_000}
        for i in range(IMAGES)
    ]
    address = f"127.1.{index // 250}.{index % 250 + 1}"
    addresses = [{"type": "InternalIP", "address": address}]
    name = f"node-{index:05d}"
    return {"metadata": {"name": name}, "status": {"addresses": addresses, "images": images}}


def _put(server: ApiServer, nodes: int) -> None:
    for index in range(nodes):
        body = _node(index)
        server.put("nodes", {"metadata": dict(body["metadata"])})  # type: ignore[call-overload]
        server.put_status("nodes", body)


def labeller_megabytes(nodes: int, port: int) -> tuple[float, float]:
    """Resident after some rounds, and at most until then. Agents answer at `port`."""
    with tempfile.TemporaryDirectory() as name, api_server("current") as server:
        folder = Path(name)
        _put(server, nodes)
        config = {
            "kubeconfig": str(server.kubeconfig(folder)),
            "agents": {"port": port},
            "lease": {"namespace": "default"},
        }
        file = folder / "labeller.yaml"
        file.write_text(json.dumps(config))
        with role.running("labeller", file) as labeller:
            until = time.monotonic() + WAIT_SECONDS
            while labeller.sample("kernmesh_pressure_rounds_total") < ROUNDS:
                if time.monotonic() > until:
                    raise TimeoutError(f"no {ROUNDS} rounds in {WAIT_SECONDS:g} s")
                time.sleep(1)
            return resident_mb(labeller.pid), peak_mb(labeller.pid)
