"""One online and five offline pods as cgroups of this machine, in every hierarchy that accounts.

The rule: only cgroups made here are touched, and they are gone at the end with all that runs in
them. Hybrid (v1 controllers beside v2 for PSI) and pure v2.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from exporter.host.mounts import cgroup_mounts
from exporter.hostfs import HostFs

_UID = "00000000-0000-4000-8000-0000000000{:02x}"
OFFLINE_ROOT = "kubepods/offline"
VICTIM = f"kubepods/burstable/pod{_UID.format(0)}"
OFFLINE = tuple(f"{OFFLINE_ROOT}/pod{_UID.format(n)}" for n in range(1, 6))
PODS = (VICTIM, *OFFLINE)
_ABOVE = ("kubepods", "kubepods/burstable", OFFLINE_ROOT)
_WANTED = ("cpu", "cpuacct", "memory", "blkio", "pids")
ONLINE_SHARES = 1024
OFFLINE_SHARES = {0: 1024, 1: 1024, 2: 1536, 3: 2048}
"""By intensity: as kubelet writes them of pods that asked for one core, one and a half, two."""
PODS_SHARES = 8192
"""What is no pod stands beside them task by task here, not in a slice of its own."""
_END_SECONDS = 15.0


class Cgroups:
    """`places` are folders of the hierarchies by controller; "" is v2's."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self.places = places

    def folder(self, controller: str, path: str) -> Path:
        place = self.places.get(controller) or self.places[""]
        return place / path

    def write(self, controller: str, path: str, file: str, text: str) -> None:
        """Raises OSError."""
        (self.folder(controller, path) / file).write_text(text)

    def read(self, controller: str, path: str, file: str) -> str:
        return (self.folder(controller, path) / file).read_text().strip()

    def set_shares(self, path: str, shares: int) -> None:
        if "cpu" in self.places:
            self.write("cpu", path, "cpu.shares", str(shares))
        else:  # kubelet's conversion (KEP-2254)
            weight = 1 + max(shares - 2, 0) * 9999 // 262142
            self.write("cpu", path, "cpu.weight", str(weight))

    def set_quota(self, path: str, cores: float | None, period_us: int = 100_000) -> None:
        quota = None if cores is None else int(cores * period_us)
        if "cpu" in self.places:
            self.write("cpu", path, "cpu.cfs_period_us", str(period_us))
            self.write("cpu", path, "cpu.cfs_quota_us", str(-1 if quota is None else quota))
        else:
            self.write("cpu", path, "cpu.max", f"{'max' if quota is None else quota} {period_us}")

    def set_memory_limit(self, path: str, most: int | None) -> None:
        if "memory" in self.places:
            self.write("memory", path, "memory.limit_in_bytes", str(-1 if most is None else most))
        else:
            self.write("memory", path, "memory.max", "max" if most is None else str(most))

    def start(
        self, path: str, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Runs there from its first instruction on, and says nothing to anybody."""
        joins = " && ".join(f'echo $$ > "{place / path}/cgroup.procs"' for place in self._all())
        return subprocess.Popen(
            ["/bin/sh", "-c", f'{joins} && exec "$@"', "sh", *argv],
            env={**os.environ, **(env or {})},
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def empty(self, path: str) -> None:
        """Ends whatever runs there, however fast it forks. Raises TimeoutError."""
        until = time.monotonic() + _END_SECONDS
        while pids := self._processes(path):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > until:
                raise TimeoutError(f"{path}: {len(pids)} processes do not end")
            time.sleep(0.002)

    def make(self) -> None:
        for place in self._all():
            for path in (*_ABOVE, *PODS):
                (place / path).mkdir(exist_ok=True)
                if "cpu" not in self.places and path in _ABOVE:
                    (place / path / "cgroup.subtree_control").write_text("+cpu +memory +io +pids")
        self.set_shares("kubepods", PODS_SHARES)
        self.set_shares("kubepods/burstable", ONLINE_SHARES)
        self.set_shares(OFFLINE_ROOT, OFFLINE_SHARES[0])

    def remove(self) -> None:
        for path in PODS:
            self.empty(path)
        until = time.monotonic() + _END_SECONDS
        for place in self._all():
            for path in (*PODS, *reversed(_ABOVE)):
                while (place / path).is_dir():
                    try:
                        (place / path).rmdir()
                    except OSError:
                        if path in _ABOVE or time.monotonic() > until:
                            break  # somebody else has something below it, or it will not go
                        time.sleep(0.02)

    def _all(self) -> list[Path]:
        return list(dict.fromkeys(self.places.values()))

    def _processes(self, path: str) -> list[int]:
        text = (self.folder("pids", path) / "cgroup.procs").read_text()
        return [int(word) for word in text.split() if word != "0"]


def places(fs: HostFs) -> dict[str, Path]:
    """Raises SystemExit where cgroups are not to be had."""
    found: dict[str, Path] = {}
    for mount in cgroup_mounts(fs):
        if mount.version == 2:
            found[""] = Path(mount.folder)
        for controller in mount.controllers:
            if mount.version == 1 and controller in _WANTED:
                found[controller] = Path(mount.folder)
    if "" not in found:
        raise SystemExit("interference: no cgroup v2 is mounted, so there is no PSI by cgroup")
    return found


@contextmanager
def pods(fs: HostFs) -> Iterator[Cgroups]:
    """The tree while it is needed. What an earlier run left is removed first."""
    found = Cgroups(places(fs))
    if all((place / VICTIM).is_dir() for place in found.places.values()):
        found.remove()
    try:
        found.make()
        yield found
    finally:
        found.remove()
