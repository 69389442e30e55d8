"""Hosts of a mesh: network namespaces on one bridge, each with a real agent, and a controller.

`python -m tests.pingmesh.hosts [ZONES RACKS NODES [SVG]]` isolates a rack and cuts the cable of a
node, prints what the controller reads, and draws it into the file.
"""

import json
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, NamedTuple

from tests.agent.running import COMMAND
from tests.pingmesh.picture import svg

WATCHDOG_SECONDS = 180.0
NOBODY = "02:00:00:00:00:99"
PORT = 9435


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


class Host(NamedTuple):
    """`link` is its end of the cable at the bridge."""

    name: str
    zone: str
    rack: str
    namespace: str
    address: str
    mac: str
    link: str


class Hosts:
    """Running agents and their controller; the controller sits on the bridge itself."""

    def __init__(self, folder: Path, shape: tuple[int, int, int]) -> None:
        mark = uuid.uuid4().hex[:6]
        self.folder = folder
        self.middle = f"kmesh-{mark}"
        self.hosts = [
            Host(
                f"z{z}r{r}n{n}",
                f"z{z}",
                f"r{r}",
                f"kmesh-{mark}-{z}{r}{n}",
                f"fd00:99::{z + 1:x}{r:x}{n:02x}",
                f"02:00:00:{z:02x}:{r:02x}:{n:02x}",
                f"v{z}{r}{n}",
            )
            for z in range(shape[0])
            for r in range(shape[1])
            for n in range(shape[2])
        ]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        ip("netns", "add", self.middle)
        ip("-n", self.middle, "link", "set", "lo", "up")
        ip("-n", self.middle, "link", "add", "br0", "type", "bridge")
        ip("-n", self.middle, "link", "set", "br0", "up")
        ip("-n", self.middle, "address", "add", "fd00:99::1/64", "dev", "br0", "nodad")
        for host in self.hosts:
            ip("netns", "add", host.namespace)
            ip("-n", host.namespace, "link", "set", "lo", "up")
            ip(
                *("-n", self.middle, "link", "add", host.link, "type", "veth"),
                *("peer", "name", "eth0", "address", host.mac, "netns", host.namespace),
            )
            ip("-n", self.middle, "link", "set", host.link, "master", "br0", "up")
            ip("-n", host.namespace, "link", "set", "eth0", "up")
            ip(
                *("-n", host.namespace, "address", "add", f"{host.address}/64"),
                *("dev", "eth0", "nodad"),
            )
        nodes = "".join(
            f"  {h.name}: {{zone: {h.zone}, rack: {h.rack}, ips: ['{h.address}']}}\n"
            for h in self.hosts
        )
        (self.folder / "inventory.yaml").write_text(f"nodes:\n{nodes}")
        (self.folder / "controller.yaml").write_text(
            f"inventory: {self.folder}/inventory.yaml\n"
            "setting: {interval: 10, timeout: 1}\n"
            # The hosts share two cores: that they answer late is no fault of the network's.
            "mesh: {every: 5s, window: 60s, timeout: 2s, thresholds: {"
            "rack: {yellow: 400, red: 500}, zone: {yellow: 400, red: 500}, "
            "between_zones: {yellow: 400, red: 500}}}\n"
        )
        self._run("controller", self.middle, "controller", f"{self.folder}/controller.yaml")
        for host in self.hosts:
            config = self.folder / f"{host.name}.yaml"
            config.write_text(
                "ebpf: {programs: []}\nusage: {state_dir: null}\n"
                "pingmesh: {controller: 'http://[fd00:99::1]:9115'}\n"
                f"pressure: {{node: {host.name}}}\n"
            )
            self._run(host.name, host.namespace, "agent", str(config))

    def _run(self, name: str, namespace: str, role: str, config: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        command = ["ip", "netns", "exec", namespace, *COMMAND, role, "--config", config]
        self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def get(self, path: str) -> bytes:
        """From the controller."""
        url = f"http://[::1]:9115{path}"
        code = (
            "import sys, urllib.request as r; "
            "sys.stdout.buffer.write(r.urlopen(sys.argv[1], timeout=20).read())"
        )
        done = subprocess.run(
            ["ip", "netns", "exec", self.middle, sys.executable, "-c", code, url],
            capture_output=True,
        )
        return done.stdout if done.returncode == 0 else b""

    def read(self, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first /mesh.json that is as wanted, or the last one when the watchdog barks."""
        ends = monotonic() + WATCHDOG_SECONDS
        pause = threading.Event()
        found: dict[str, Any] = {}
        while monotonic() < ends:
            body = self.get("/mesh.json")
            found = json.loads(body) if body else found
            if found and until(found):
                break
            pause.wait(2.0)
        return found

    def of_rack(self, zone: str, rack: str) -> list[Host]:
        return [each for each in self.hosts if (each.zone, each.rack) == (zone, rack)]

    def drop_between(self, inside: Sequence[Host], outside: Sequence[Host]) -> None:
        """What those send to these is sent to nobody, and the other way round."""
        for sources, targets in ((inside, outside), (outside, inside)):
            for source in sources:
                for target in targets:
                    self.lose(source, target)

    def lose(self, source: Host, target: Host) -> None:
        """What the source sends to the target, answers too, is sent to nobody."""
        ip(
            *("-n", source.namespace, "neigh", "replace", target.address),
            *("lladdr", NOBODY, "dev", "eth0", "nud", "permanent"),
        )

    def unplug(self, host: Host) -> None:
        ip("-n", self.middle, "link", "set", host.link, "down")

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
        for namespace in (self.middle, *(host.namespace for host in self.hosts)):
            subprocess.run(["ip", "netns", "delete", namespace], capture_output=True)


@contextmanager
def mesh_of(shape: tuple[int, int, int]) -> Iterator[Hosts]:
    with TemporaryDirectory() as folder:
        hosts = Hosts(Path(folder), shape)
        try:
            hosts.start()
            yield hosts
        finally:
            hosts.stop()


def well(found: dict[str, Any]) -> bool:
    """Everybody is heard of, everything that is probed was."""
    colours = {cell["colour"] for cell in found["cells"]}
    return not found["silent"] and not found["faults"] and colours <= {"green", "blank"}


def main() -> None:
    numbers = tuple(map(int, sys.argv[1:4])) or (3, 2, 3)
    assert len(numbers) == 3
    with mesh_of(numbers) as hosts:
        began = monotonic()
        found = hosts.read(well)
        print(f"after {monotonic() - began:.0f} s {len(hosts.hosts)} hosts are well: {well(found)}")
        inside = hosts.of_rack(hosts.hosts[-1].zone, hosts.hosts[0].rack)
        hosts.drop_between(inside, [host for host in hosts.hosts if host not in inside])
        hosts.unplug(hosts.of_rack(hosts.hosts[0].zone, hosts.hosts[-1].rack)[0])
        began = monotonic()
        wanted = ["node down", "rack isolated"]
        found = hosts.read(lambda found: sorted(f["kind"] for f in found["faults"]) == wanted)
        print(f"{monotonic() - began:.0f} s after the cuts:")
        for fault in found["faults"]:
            print(f"{fault['kind']} {' '.join(fault['members'])}: {fault['evidence']}")
        print(f"not heard of: {' '.join(found['silent'])}")
        if len(sys.argv) > 4:
            Path(sys.argv[4]).write_text(svg(found))


if __name__ == "__main__":
    main()
