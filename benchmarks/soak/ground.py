"""What a soak stands on: its cgroups, its folder, its disk; and taking away what another left.

The rule: only what has the soak's own name is ever ended, unmounted or removed.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.interference.cgroups import Cgroups, places
from exporter.hostfs import HostFs

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "soak"
TOP = "kernmesh-soak"
KUBEPODS = f"{TOP}/kubepods"
BURSTABLE = f"{KUBEPODS}/burstable"
LOAD = f"{TOP}/load"
LINKS = "kmsoak"
"""Begins the name of every interface that is made."""
DISK_MB = 256
_END_SECONDS = 15.0


def batch(name: str) -> str:
    """The one cgroup below which that agent may act."""
    return f"{KUBEPODS}/batch-{name}"


def of_agent(name: str) -> str:
    """Where that agent runs, with its limit."""
    return f"{TOP}/agents/{name}"


class Ground:
    """`cgroups` are this machine's hierarchies; `state` is a small disk of its own."""

    def __init__(self, folder: Path, cgroups: Cgroups) -> None:
        self.folder, self.cgroups = folder, cgroups
        self.state = folder / "state"
        self._filler = self.state / "filler"

    def hierarchies(self) -> list[Path]:
        return list(dict.fromkeys(self.cgroups.places.values()))

    def make_cgroup(self, path: str, inner: bool = False) -> None:
        """In every hierarchy. `inner`: cgroups below it have what it has (v2)."""
        for place in self.hierarchies():
            (place / path).mkdir(exist_ok=True)
            if inner and "cpu" not in self.cgroups.places:
                (place / path / "cgroup.subtree_control").write_text("+cpu +memory +io +pids")

    def fill(self) -> None:
        """Not a byte is free on the disk."""
        with (
            contextlib.suppress(OSError),
            self._filler.open("ab", buffering=0) as file,
        ):
            for size in (1 << 20, 4096, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)


@contextlib.contextmanager
def ground(agents: tuple[str, ...]) -> Iterator[Ground]:
    """Made anew, and gone at the end. The disk is mounted for this process and its children only,
    so it is gone with them. Raises SystemExit where this machine has no cgroups, or another soak
    runs on it."""
    made = Ground(CACHE, Cgroups(places(HostFs())))
    lock = socket.socket(socket.AF_UNIX)  # gone with the process, however that ends
    try:
        lock.bind(f"\0{TOP}")
    except OSError:
        raise SystemExit("soak: another one is running on this machine") from None
    take_away(made)
    shutil.rmtree(made.folder / "work", ignore_errors=True)
    (made.folder / "work").mkdir(parents=True)
    try:
        for path in (TOP, f"{TOP}/agents", KUBEPODS, BURSTABLE, *map(batch, agents)):
            made.make_cgroup(path, inner=True)
        for path in (LOAD, *map(of_agent, agents)):
            made.make_cgroup(path)
        _mount(made.folder)
        yield made
    finally:
        take_away(made)
        lock.close()


def take_away(made: Ground) -> None:
    """Ends what runs in the soak's cgroups, and removes them, its links and disks; logs stay."""
    for place in made.hierarchies():
        _remove_tree(place / TOP)
    for link in Path("/sys/class/net").glob(f"{LINKS}*"):
        subprocess.run(["ip", "link", "del", link.name], capture_output=True)
    if os.path.ismount(made.state):
        subprocess.run(["umount", "--lazy", made.state], check=True)
    found = subprocess.run(["losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE"],
                           capture_output=True, text=True)  # fmt: skip
    for line in found.stdout.splitlines():
        device, _, file = line.partition(" ")
        if file.strip().startswith(f"{made.folder}/"):
            subprocess.run(["losetup", "--detach", device], capture_output=True)
    for image in made.folder.rglob("*.img"):
        image.unlink()


def _mount(folder: Path) -> None:
    image, state = folder / "state.img", folder / "state"
    state.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(DISK_MB << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop,noatime", image, state], check=True)


def _remove_tree(top: Path) -> None:
    """Raises TimeoutError where something in it does not end."""
    until = time.monotonic() + _END_SECONDS
    while top.is_dir():
        folders = [Path(each) for each, _, _ in os.walk(top, topdown=False)]
        for folder in folders:
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    if int(pid) not in (0, os.getpid()):
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), signal.SIGKILL)
            with contextlib.suppress(OSError):
                folder.rmdir()
        if top.is_dir():
            if time.monotonic() > until:
                raise TimeoutError(f"{top}: what runs in it does not end")
            time.sleep(0.05)
