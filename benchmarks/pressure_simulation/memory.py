"""What `kernmesh labeller` has in memory with 5,000 nodes: the process itself, over real HTTP, with
the tests' API server and as many agents.
"""

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

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


def _rounds(url: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=30) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("kernmesh_pressure_rounds_total "):
                return float(line.split()[1])
    return 0.0


def _status(pid: int, key: str) -> float:
    """Megabytes (proc_pid_status(5))."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def labeller_megabytes(nodes: int, port: int) -> tuple[float, float]:
    """Resident after some rounds, and at most until then. Agents answer at `port`."""
    with tempfile.TemporaryDirectory() as name, api_server("current") as server:
        folder = Path(name)
        _put(server, nodes)
        config = {
            "kubeconfig": str(server.kubeconfig(folder)),
            "agents": {"port": port},
            "lease": {"namespace": "default"},
            "server": {"listen": ["127.0.0.1:0"]},
        }
        file = folder / "labeller.yaml"
        file.write_text(json.dumps(config))
        process = subprocess.Popen(
            [sys.executable, "-m", "exporter.cli", "labeller", "--config", str(file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert process.stdout is not None
            words = process.stdout.readline().split()
            url = next(word for word in words if word.startswith("http://"))
            until = time.monotonic() + WAIT_SECONDS
            while _rounds(url) < ROUNDS:
                if time.monotonic() > until:
                    raise TimeoutError(f"no {ROUNDS} rounds in {WAIT_SECONDS:g} s")
                time.sleep(1)
            return _status(process.pid, "VmRSS"), _status(process.pid, "VmHWM")
        finally:
            process.terminate()
            process.wait()
