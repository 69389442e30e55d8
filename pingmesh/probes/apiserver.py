"""kube-apiserver's /readyz, verified by the cluster's CA.

The pod's token goes to the address of the cluster's own API and to no other, whatever a pinglist
calls that kind; anybody else is asked without it.
"""

import os
import ssl
from functools import lru_cache
from pathlib import Path

from pingmesh.address import family_of
from pingmesh.pinglist import Expect
from pingmesh.probe import Outcome, Probe
from pingmesh.probes import Way
from pingmesh.probes.http import fetch, tls_context

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


async def run(probe: Probe, way: Way) -> Outcome:
    """May raise OSError and TimeoutError."""
    return await ask(probe, way, ACCOUNT, os.environ.get("KUBERNETES_SERVICE_HOST", ""))


async def ask(probe: Probe, way: Way, account: Path, api_address: str) -> Outcome:
    """`account` is the pod's folder of token and CA; `api_address` the in-cluster API's."""
    authority = account / "ca.crt"
    ours = bool(api_address) and way.address == api_address and authority.exists()
    context = tls_context(probe.group.verify)
    if ours:
        context = _cluster_context(str(authority), authority.stat().st_mtime_ns)
    host = f"[{probe.host}]" if family_of(probe.host) and ":" in probe.host else probe.host
    url = probe.url or f"https://{host}:{probe.port}/readyz"
    headers = ""
    if ours and url.startswith("https:"):
        try:
            token = (account / "token").read_text().strip()
        except OSError:
            token = ""
        if token and token.isprintable() and token.isascii():
            headers = f"Authorization: Bearer {token}\r\n"
    expect: Expect = probe.group.expect
    return await fetch(url, probe.port, way, expect, context=context, headers=headers)


@lru_cache(maxsize=1)
def _cluster_context(path: str, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=path)
