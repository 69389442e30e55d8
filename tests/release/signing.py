"""`python -m tests.release.signing`: docs/verify.md's cosign commands, run: a registry on the
loopback, an image of one layer, a key, and no transparency log, as there is no network.

cosign and the registry are Debian's, of a release that has both, unpacked and not installed. Exit
code 1 where something unsigned or signed by another is taken, or something signed is refused.
"""

import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.debian import Apt
from tests.release import sbom
from tests.release.wheel import ROOT

NAME = "kernmesh"
SUITE = "trixie"
OCI = "application/vnd.oci.image"
_CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""


@contextmanager
def registry(program: Path, place: Path) -> Iterator[str]:
    """HOST:PORT of an empty one."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = place / "registry.yaml"
    config.write_text(_CONFIG.format(folder=place / "registry", address=address))
    process = subprocess.Popen(
        [program, "serve", config], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if "listening on" in line:
                break
        yield address
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def _send(method: str, url: str, body: bytes = b"", kind: str = "application/octet-stream") -> str:
    """Where the registry says to go on."""
    request = urllib.request.Request(url, body, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(answer.headers.get("Location", ""))


def _blob(base: str, data: bytes, kind: str) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    place = _send("POST", f"{base}/blobs/uploads/")
    _send("PUT", f"{place}{'&' if urlsplit(place).query else '?'}digest={digest}", data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def push(address: str, layer: bytes) -> str:
    """The image's digest. https://github.com/opencontainers/distribution-spec"""
    base = f"http://{address}/v2/{NAME}"
    config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": _blob(base, config, f"{OCI}.config.v1+json"),
        "layers": [_blob(base, layer, f"{OCI}.layer.v1.tar")],
    }
    body = json.dumps(manifest).encode()
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    _send("PUT", f"{base}/manifests/{digest}", body, f"{OCI}.manifest.v1+json")
    return digest


def peers() -> Path:
    folder = ROOT / ".cache" / "signing"
    programs = folder / "usr/bin"
    if not (programs / "docker-registry").exists():
        Apt.over([SUITE], folder).unpack(["cosign", "docker-registry"], folder)
    return programs


def main() -> int:
    programs = peers()
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sbom.write(place)

        def cosign(*words: str | Path, taken: bool = True) -> None:
            environ = {"PATH": os.environ["PATH"], "HOME": folder, "COSIGN_PASSWORD": ""}
            done = subprocess.run(
                [programs / "cosign", *words],
                cwd=place,
                env=environ,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            as_wanted = (done.returncode == 0) == taken
            said = "taken" if done.returncode == 0 else "refused"
            print(f"{said}{'' if as_wanted else ', WRONGLY'}: cosign {' '.join(map(str, words))}")
            if not as_wanted:
                print(done.stdout)
                wrong.append(words)

        with registry(programs / "docker-registry", place) as address:
            image, other = (f"{address}/{NAME}@{push(address, data)}" for data in (b"1", b"2"))
            http, unlogged = "--allow-http-registry", "--insecure-ignore-tlog"
            key, public = ("--key", "cosign.key"), ("--key", "cosign.pub")
            kind = ("--type", "cyclonedx")
            cosign("generate-key-pair")
            cosign("sign", *key, "--tlog-upload=false", http, "--yes", image)
            predicate = ("--predicate", "kernmesh.cdx.json")
            cosign("attest", *key, *kind, *predicate, "--tlog-upload=false", http, "--yes", image)
            cosign("verify", *public, unlogged, http, image)
            cosign("verify-attestation", *public, *kind, unlogged, http, image)
            cosign("verify", *public, unlogged, http, other, taken=False)
            cosign("generate-key-pair", "--output-key-prefix", "another")
            cosign("verify", "--key", "another.pub", unlogged, http, image, taken=False)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
