"""What comes and goes on the soak's machine: pods and containers as cgroups, interfaces, disks.

The rule: everything made here is below the soak's cgroup, or has its name, and lives some seconds.
Arguments: cgroups per minute, the API's URL, the agents' names.
"""

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from uuid import uuid4

from benchmarks.interference.cgroups import Cgroups, places
from benchmarks.soak.ground import BURSTABLE, CACHE, KUBEPODS, LINKS, Ground, batch
from exporter.hostfs import HostFs

LIVES_SECONDS = (2.0, 8.0)
LINK_SECONDS, DISK_SECONDS = 2.0, 3.0
DISK_BYTES = 8 << 20
_SLEEP = ("/bin/sh", "-c", "read x < /proc/self/stat; exec sleep 60")


class Pods:
    """`made` and `failed` are cgroups, in all hierarchies each."""

    def __init__(self, ground: Ground, api: str, agents: list[str]) -> None:
        self._ground, self._api, self._agents = ground, api, agents
        self._parents = [KUBEPODS, BURSTABLE, *map(batch, agents)]
        self._living: list[tuple[float, str, str, subprocess.Popen[bytes] | None]] = []
        self.made = self.removed = self.left = 0

    def one(self) -> None:
        """A pod with a container: two cgroups. Something runs in one of four, one of eight is a
        Pod of the API, one of four has a limit as kubelet sets it."""
        uid, name = str(uuid4()), ""
        if random.random() < 0.125:
            uid, name = self._tell(uid)
        pod = f"{random.choice(self._parents)}/pod{uid}"
        container = f"{pod}/{uuid4().hex}{uuid4().hex}"
        running = None
        self._ground.make_cgroup(pod, inner=True)
        self._ground.make_cgroup(container)
        self.made += 2
        if random.random() < 0.25:
            with contextlib.suppress(OSError):  # more than what is left of an adjusted parent
                self._ground.cgroups.set_quota(pod, 0.5)
        if random.random() < 0.25:
            running = self._ground.cgroups.start(container, _SLEEP)
        self._living.append((time.monotonic() + random.uniform(*LIVES_SECONDS), pod, name, running))

    def end_of_life(self) -> None:
        now = time.monotonic()
        over = [each for each in self._living if each[0] <= now]
        self._living = [each for each in self._living if each[0] > now]
        for _, pod, name, running in over:
            if running is not None:
                running.kill()
                running.wait()
            if name:
                self._ask("DELETE", f"/api/v1/namespaces/soak/pods/{name}")
            for place in self._ground.hierarchies():
                for folder in (*(place / pod).glob("*/"), place / pod):
                    if not _removed(folder):
                        self.left += 1
            self.removed += 2

    def _tell(self, uid: str) -> tuple[str, str]:
        name = f"pod-{uid[:8]}"
        body = {
            "metadata": {"name": name, "namespace": "soak", "uid": uid},
            "spec": {"nodeName": f"soak-{random.choice(self._agents)}"},
        }
        made = self._ask("POST", "/api/v1/namespaces/soak/pods", body)
        return (made["metadata"]["uid"], name) if made else (uid, "")

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, dict[str, str]]:
        """Nothing where the API is away."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self._api + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=2) as answer:
                return dict(json.load(answer))
        except (OSError, ValueError):
            return {}


def _removed(folder: Path) -> bool:
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:  # who was killed is not gone yet
            time.sleep(0.01)
        else:
            return True
    return False


def links() -> None:
    """A dummy and a pair of veth, another name each time."""
    number = 0
    while True:
        number += 1
        names = [f"{LINKS}{number % 10000}{kind}" for kind in "dab"]
        dummy, one, other = names
        _ip(f"link add {dummy} type dummy")
        _ip(f"link add {one} type veth peer name {other}")
        for each in names:
            _ip(f"link set {each} up")
        time.sleep(LINK_SECONDS)
        _ip(f"link del {dummy}")
        _ip(f"link del {one}")


def _ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], capture_output=True)


def disks(folder: Path) -> None:
    """A loop device that is read and written, and goes."""
    image = folder / "disk.img"
    image.write_bytes(bytes(DISK_BYTES))
    while True:
        attach: list[str | Path] = ["losetup", "--find", "--show", "--direct-io=off", image]
        done = subprocess.run(attach, capture_output=True, text=True)
        device = done.stdout.strip()
        if device:
            for words in (f"if={device} of=/dev/null", f"if=/dev/zero of={device} conv=fsync"):
                command = ["dd", *words.split(), "bs=64k", "count=32"]
                subprocess.run(command, capture_output=True)
            time.sleep(DISK_SECONDS)
            subprocess.run(["losetup", "--detach", device], capture_output=True)
        time.sleep(0.5)


def main(per_minute: float, api: str, agents: list[str]) -> None:
    ground = Ground(CACHE, Cgroups(places(HostFs())))
    for act in (links, lambda: disks(CACHE / "work")):
        threading.Thread(target=act, daemon=True).start()
    pods, began, said = Pods(ground, api, agents), time.monotonic(), 0.0
    while True:
        now = time.monotonic()
        due = (now - began) * per_minute / 60
        if pods.made < due:
            pods.one()
        pods.end_of_life()
        if now - said > 5:
            said = now
            counts = {"at": now, "made": pods.made, "removed": pods.removed, "left": pods.left}
            print(json.dumps(counts), flush=True)
        time.sleep(max(0.0, min(0.05, (pods.made + 2) * 60 / per_minute - (now - began))))


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2], sys.argv[3:])
