"""A real kube-apiserver with etcd for the tests: built once from Debian's source package, cached.

The rule: nothing is installed and the machine's apt sources stay as they are. No controller and
no kubelet runs beside it, so nodes are what the tests make of them.

Kubernetes 1.20.2 is the newest that Debian 12 has as source; its admission of policies ends with
that version's.
"""

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from ssl import create_default_context
from typing import NamedTuple

from exporter.errors import KernmeshError
from tests.debian import Apt
from tests.peers import free_port

CACHE = Path(__file__).parents[2] / ".cache" / "kube"
TOKEN = "of-the-tests"
READY_SECONDS = 120.0
_TOOLS = ("golang-1.19-go", "golang-1.19-src", "etcd-server", "rsync", "libpopt0", "libxxhash0")


class Server(NamedTuple):
    """A running kube-apiserver: `kubeconfig` has an administrator's token in it."""

    url: str
    kubeconfig: Path


def built(cache: Path = CACHE) -> Path:
    """The binary, after building it if it is not there yet (a quarter of an hour on two cores).

    Raises KernmeshError where apt or the build fails; what was fetched stays."""
    binary = cache / "kube-apiserver"
    if binary.exists():
        return binary
    root, source = cache / "root", cache / "source"
    apt = Apt.over({_release()}, cache / "apt", sources=True)
    if not (root / ".unpacked").exists():
        root.mkdir(parents=True, exist_ok=True)
        print("fetching go, etcd and rsync", flush=True)
        apt.unpack(_TOOLS, root)
        (root / ".unpacked").touch()
    if not (source / ".unpacked").exists():
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir(parents=True)
        print("fetching the source of kubernetes", flush=True)
        apt.run("apt-get", "-q", "source", "--download-only", "kubernetes", cwd=source)
        archive = next(source.glob("kubernetes_*.orig.tar.*"))
        subprocess.run(["tar", "-xf", archive, "--strip-components=1"], cwd=source, check=True)
        (source / ".unpacked").touch()
    print("building kube-apiserver, which takes a quarter of an hour", flush=True)
    _build(root, source, binary)
    return binary


def _build(root: Path, source: Path, binary: Path) -> None:
    go = root / "usr/lib/go-1.19"
    home = source / ".go/src/k8s.io/kubernetes"  # a GOPATH of its own, as its makefile wants
    home.parent.mkdir(parents=True, exist_ok=True)
    if not home.is_symlink():
        home.symlink_to("../../..")
    environment = {
        "PATH": f"{go / 'bin'}:{root / 'usr/bin'}:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": str(next((root / "usr/lib").glob("*-linux-gnu"))),
        "GOROOT": str(go),
        "GOPATH": str(source / ".go"),
        "GOCACHE": str(binary.parent / "gocache"),
        "HOME": str(binary.parent),
        "CGO_ENABLED": "0",
        "GO111MODULE": "off",
    }
    made = binary.with_suffix(".made")
    for command in (
        ["make", "generated_files"],
        ["go", "build", "-o", str(made), "k8s.io/kubernetes/cmd/kube-apiserver"],
    ):
        with (binary.parent / "build.log").open("ab") as log:
            done = subprocess.run(
                command, cwd=home, env=environment, stdout=log, stderr=log, check=False
            )
        if done.returncode:
            shutil.rmtree(source / "_output", ignore_errors=True)  # half a tool looks like a whole
            raise KernmeshError(f"{command[0]}: failed; {binary.parent / 'build.log'} says why")
    made.rename(binary)
    shutil.rmtree(binary.parent / "gocache", ignore_errors=True)


def _release() -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value
    raise KernmeshError("/etc/os-release: has no VERSION_CODENAME, which names Debian's release")


@contextmanager
def running(folder: Path, cache: Path = CACHE) -> Iterator[Server]:
    """An empty cluster on loopback, its state in `folder`; ended with the block.

    Raises KernmeshError where it is not ready in time."""
    binary = built(cache)
    client, peer, api = (free_port() for _ in range(3))
    url, etcd_url = f"https://127.0.0.1:{api}", f"http://127.0.0.1:{client}"
    peer_url = f"http://127.0.0.1:{peer}"
    key = folder / "service-accounts.key"
    _run("openssl", "genrsa", "-out", str(key), "2048")
    certificate, certificate_key = folder / "server.crt", folder / "server.key"
    _run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=kernmesh-test", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(certificate_key), "-out", str(certificate)),
    )
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{TOKEN},administrator,1,system:masters\n")
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(_kubeconfig(url, certificate)))
    etcd = [
        *(str(cache / "root/usr/bin/etcd"), "--data-dir", str(folder / "etcd")),
        *("--listen-client-urls", etcd_url, "--advertise-client-urls", etcd_url),
        *("--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url),
        *("--initial-cluster", f"default={peer_url}"),
    ]
    apiserver = [
        *(str(binary), "--etcd-servers", etcd_url, "--secure-port", str(api)),
        *("--bind-address", "127.0.0.1", "--tls-cert-file", str(certificate)),
        *("--tls-private-key-file", str(certificate_key)),
        *("--token-auth-file", str(tokens), "--authorization-mode", "RBAC"),
        *("--service-account-issuer", "https://kernmesh.test"),
        *("--service-account-key-file", str(key)),
        *("--service-account-signing-key-file", str(key)),
        *("--service-cluster-ip-range", "10.96.0.0/24"),
        *("--disable-admission-plugins", "ServiceAccount"),
    ]
    with (folder / "log").open("wb") as log:
        processes: list[subprocess.Popen[bytes]] = []
        try:
            for command in (etcd, apiserver):
                processes.append(subprocess.Popen(command, stdout=log, stderr=log))
            _wait_until_ready(url, certificate, processes, folder / "log")
            yield Server(url, kubeconfig)
        finally:
            for process in reversed(processes):
                process.terminate()
            for process in processes:
                process.wait()


def _kubeconfig(url: str, authority: Path) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [
            {"name": "test", "cluster": {"server": url, "certificate-authority": str(authority)}}
        ],
        "users": [{"name": "test", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }


def _wait_until_ready(
    url: str, authority: Path, processes: list[subprocess.Popen[bytes]], log: Path
) -> None:
    context = create_default_context(cafile=str(authority))
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        for process in processes:
            if process.poll() is not None:
                raise KernmeshError(f"{process.args!r}: ended; {log} says why")
        with suppress(OSError), urllib.request.urlopen(request, timeout=5, context=context) as got:
            if got.status == 200:
                return
        time.sleep(0.2)
    raise KernmeshError(f"{url}: not ready after {READY_SECONDS:g} s; {log} says why")


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernmeshError(f"{command[0]}: {done.stderr.strip().splitlines()[-1]}")
