"""`python -m tests.deploy.booted`: docs/deploy.md's way to a host, in a real systemd (root).

systemd is process 1 of a root file system by debootstrap, in namespaces of its own; the kernel and
the network are this machine's. Exit code 1 where a step did not go as the document says.
"""

import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.chart import ROOT
from tests.image.chroot import base
from tests.release.python import Python
from tests.release.wheel import of_clone, run

CACHE = ROOT / ".cache" / "image"
PACKAGES = ("systemd", "python3-venv", "libbpf1")
URL = "http://127.0.0.1:9435"
UNIT = "kernmesh-agent.service"
CGROUPS = [Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")]
_BOOT = """
mount --make-rprivate /
cd / && mount --bind $1 $1
mount -t proc proc $1/proc; mount -t sysfs sysfs $1/sys; mount -t cgroup2 none $1/sys/fs/cgroup
for each in run tmp dev; do mount -t tmpfs -o mode=755 none $1/$each; done
for each in null zero full random urandom tty; do
  touch $1/dev/$each; mount --bind /dev/$each $1/dev/$each
done
exec env -i container=chroot PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot $1 \
  /lib/systemd/systemd --system --unit=basic.target --show-status=no --log-target=journal
"""
_INSTALL = """
cd /srv/release
python3 -m venv /opt/kernmesh
/opt/kernmesh/bin/pip install -q --require-hashes -r requirements/run.lock
/opt/kernmesh/bin/pip install -q --no-deps kernmesh-*.whl
install -d /etc/kernmesh && install -m 644 systemd/agent.yaml /etc/kernmesh/
install -m 644 systemd/kernmesh-agent.service systemd/kernmesh-agent.socket /etc/systemd/system/
"""


def installed(place: Path) -> Path:
    """A root file system with the wheel of HEAD and this tree's units."""
    root = place / "root"
    run("cp", "-a", base(CACHE, "bookworm", PACKAGES), root)
    wheel = of_clone(place / "clone")
    release = root / "srv/release"
    release.mkdir()
    run("cp", "-r", wheel, ROOT / "requirements", ROOT / "deploy/systemd", release)
    python = Python(Path("/usr/bin/python3"), root)
    seen = place / "seen"
    seen.mkdir()
    run(*python.command(seen, "/bin/sh", "-ec", _INSTALL), environ=python.environment())
    return root


@contextmanager
def booted(root: Path) -> Iterator[Callable[..., str]]:
    """How to run a command in it; raises RuntimeError where that fails."""
    group = next(each for each in CGROUPS if (each / "cgroup.procs").exists())
    own = group / f"kernmesh-test-{os.getpid()}"
    own.mkdir()
    enter = f'echo $$ > {own}/cgroup.procs; exec unshare "$@"'
    namespaces = ("--cgroup", "--mount", "--pid", "--fork", "--uts", "--ipc", "--kill-child")
    outer = subprocess.Popen(
        ["sh", "-ec", enter, "sh", *namespaces, "sh", "-ec", _BOOT, "sh", str(root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def within(*words: str) -> str:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        enter = ("nsenter", "-t", children[0], "-m", "-p", "-C", "-u", "-i", "-r", "-w")
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        return run(*enter, "env", "-i", path, *words)

    try:
        _until(lambda: "running" in within("systemctl", "is-system-running", "--wait"))
        yield within
    finally:
        outer.kill()
        outer.wait()
        _until(lambda: not _left(own))


def _left(own: Path) -> bool:
    for folder in sorted(own.rglob("*"), reverse=True):
        if folder.is_dir():
            folder.rmdir()
    own.rmdir()
    return False


def _until(true: Callable[[], bool]) -> None:
    """Asked again until it neither fails nor is false: there is nothing to wait on."""
    for _ in range(600):
        try:
            if true():
                return
        except (OSError, RuntimeError, IndexError):
            pass
        subprocess.run(["sleep", "0.1"], check=True)
    raise RuntimeError("it took more than a minute")


def get(path: str) -> str:
    with urllib.request.urlopen(URL + path, timeout=60) as answer:
        return str(answer.read(), "utf-8")


def tried(within: Callable[..., str]) -> Iterator[tuple[str, bool]]:
    """What the document says, and whether it is so."""

    def shown(name: str) -> str:
        return within("systemctl", "show", "-p", name, "--value", UNIT).strip()

    within("systemctl", "daemon-reload")
    within("systemctl", "start", UNIT)
    yield "start returns when programs run (Type=notify)", get("/-/ready") == "kernmesh is ready.\n"
    ups = re.findall(r"^kernmesh_ebpf_program_up\S+ (\S+)", get("/metrics"), re.MULTILINE)
    yield "all three programs are up in the unit's sandbox", ups == ["1.0"] * 3
    within("systemctl", "reload", UNIT)
    yield "reload reads the files anew", "msg=reloaded" in within("journalctl", "-u", UNIT)
    first = shown("MainPID")
    within("sh", "-c", f"kill -9 {first}")
    _until(lambda: shown("MainPID") not in ("0", first) and shown("ActiveState") == "active")
    yield "it is started again after kill -9", shown("NRestarts") == "1"
    said = within("journalctl", "-u", UNIT)
    yield "and cgroups were put back before that (ExecStopPost)", "nothing is in force" in said
    second = shown("MainPID")
    within("sh", "-c", f"kill -STOP {second}")
    _until(lambda: shown("MainPID") not in ("0", second) and shown("ActiveState") == "active")
    said = within("journalctl", "-u", UNIT)
    yield "one that hangs for 30 s is started again (WatchdogSec)", "Watchdog timeout" in said
    within("systemctl", "stop", UNIT)
    yield "stop ends it well", shown("Result") == "success"
    try:
        get("/-/healthy")
        yield "nobody listens then", False
    except urllib.error.URLError:
        yield "nobody listens then", True
    within("systemctl", "enable", "--now", "kernmesh-agent.socket")
    yield "with the socket the first request starts it", get("/-/healthy") != ""
    _until(lambda: shown("ActiveState") == "active")
    within("systemctl", "restart", "--no-block", UNIT)
    answers = [get("/-/healthy") for _ in range(20)]
    yield "and no request is refused during a restart", all(answers)


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory(dir=CACHE.parent) as folder:
        root = installed(Path(folder))
        with booted(root) as within:
            print(within("systemctl", "--version").splitlines()[0])
            for what, well in tried(within):
                print(f"{'ok' if well else 'NOT SO'}: {what}", flush=True)
                wrong += not well
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
