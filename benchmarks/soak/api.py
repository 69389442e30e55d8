"""The Kubernetes API of the soak: the test API server in a process that may be killed.

What was written is in a file before anybody is answered, as etcd has it; history is not, so who
watched before is told 410 and lists anew. Arguments: PORT FILE NODE….
"""

import asyncio
import json
import socket
import sys
import threading
from pathlib import Path

from tests.cluster.apiserver import ApiServer
from tests.cluster.store import Written


class Kept(ApiServer):
    """`file` has all objects and the newest version."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file
        if file.exists():
            kept = json.loads(file.read_text())
            self._store.version = self._store.compacted = kept["version"]
            self._store.objects = {tuple(key): found for key, found in kept["objects"]}
        self._store.hearers.add(self._keep)

    def _keep(self, _: Written) -> None:
        store = self._store
        kept = {"version": store.version, "objects": list(store.objects.items())}
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps(kept))
        new.replace(self._file)
        del self.requests[:]  # which nobody here asks for

    def add(self, nodes: list[str]) -> None:
        for name in nodes:
            address = {"type": "InternalIP", "address": "127.0.0.1"}
            body = {"metadata": {"name": name}, "status": {"addresses": [address]}}
            self._put("nodes", body, "")


async def main(port: int, file: Path, nodes: list[str]) -> None:
    first = not file.exists()
    server = Kept(file)
    if first:
        server.add(nodes)
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    server.address = f"http://127.0.0.1:{port}"
    if first:
        server.kubeconfig(file.parent)
    await server.serve(sock, None, threading.Event(), asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
