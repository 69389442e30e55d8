"""What no file tells: libbpf, bpf(2), adjtimex(2), the state folder, the Kubernetes API.

The rule: nothing is changed. The API is asked with dryRun=All, the folder is only looked at.
"""

import asyncio
import ctypes
import os
import platform
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from exporter.clock import SystemClock
from exporter.config import AgentConfig
from exporter.doctor.machine import Answers, ApiAnswer, Clock, StateFolder
from exporter.doctor.wants import state_place
from exporter.ebpf import features, libbpf
from exporter.errors import BpfError, KernmeshError
from exporter.host.filesystems import space
from exporter.hostfs import HostFs
from exporter.kube.api import NODES, PODS, KubeApi
from exporter.privileges.calls import landlock_abi
from exporter.privileges.inforce import IN_FORCE

_STA_UNSYNC = 0x40  # include/uapi/linux/timex.h
_API_SECONDS = 5.0
_AGENT_SECONDS = 2.0


class _Timex(ctypes.Structure):
    """struct timex (include/uapi/linux/timex.h) as far as status, and room for the rest."""

    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 256),
    ]


def ask(config: AgentConfig, host: HostFs, environ: Mapping[str, str] = os.environ) -> Answers:
    """Raises nothing. Takes as long as the API does, 5 s for each request at most."""
    version, problem, no_bpf = _bpf(host)
    state, needs = config.usage.state_dir, list(_needs(config))
    return Answers(
        os.geteuid(),
        version,
        problem,
        no_bpf,
        clock(),
        None if state is None else folder(state),
        asyncio.run(_api(needs, environ)) if needs else (),
        landlock_abi(),
        running_agent(config),
    )


def _bpf(host: HostFs) -> tuple[str | None, str, str | None]:
    try:
        lib = libbpf.library()
    except BpfError as error:
        return None, str(error), None
    version = ".".join(str(lib.raw(f"libbpf_{part}_version")) for part in ("major", "minor"))
    return version, "", features.no_bpf(lib, host)


def clock() -> Clock | None:
    """None where the system call is refused. With modes 0 it only reads: adjtimex(2)."""
    state = _Timex()
    if ctypes.CDLL(None).adjtimex(ctypes.byref(state)) < 0:
        return None
    return Clock(not state.status & _STA_UNSYNC, state.maxerror / 1e6)


def folder(path: str) -> StateFolder | None:
    """Without making it. None where it, or what is above it, may not be looked at."""
    try:
        place = state_place(path)
        writable = place.is_dir() and os.access(place, os.W_OK | os.X_OK)
    except OSError:
        return None
    try:
        free = space(place).available
    except OSError:
        free = None
    return StateFolder(place == Path(path).absolute(), writable, free)


def running_agent(config: AgentConfig) -> Mapping[str, bool] | None:
    """What an agent at this configuration's first address has in force. None where none answers
    there, or not to anybody (TLS, users)."""
    from http.client import HTTPConnection, HTTPException

    host, _, port = config.server.listen[0].rpartition(":")
    if host.strip("[]") in ("", "::", "0.0.0.0"):  # noqa: S104 # asked, not bound
        host = "localhost"
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=_AGENT_SECONDS)
    try:
        connection.request("GET", f"/metrics?name[]={IN_FORCE}")
        lines = connection.getresponse().read(65_536).decode(errors="replace").splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line.startswith(f"{IN_FORCE}{{"))
        found = {series.split('"')[1]: float(value) == 1 for series, value in pairs}
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return found or None


class _Need(NamedTuple):
    """What a key of agent.yaml will ask of the API: as RBAC has it, and a request that is granted
    to whoever may do that."""

    key: str
    kubeconfig: str | None
    requests: Mapping[str, Callable[[KubeApi], Awaitable[object]]]


def _needs(config: AgentConfig) -> Iterator[_Need]:
    pressure = config.pressure
    node = pressure.node or platform.node()
    if pressure.enabled:
        requests: dict[str, Callable[[KubeApi], Awaitable[object]]] = {
            "get nodes": lambda api: api.get(NODES, node)
        }
        if not pressure.dry_run:
            requests["patch nodes/status"] = lambda api: api.patch(
                NODES, node, {}, subresource="status", dry_run=True
            )
            if pressure.taint:
                requests["patch nodes"] = lambda api: api.patch(NODES, node, {}, dry_run=True)
        yield _Need("pressure", pressure.kubeconfig, requests)
    if config.usage.pods.names == "api":
        fields = f"spec.nodeName={node}"
        yield _Need(
            "usage.pods.names",
            None,
            {"list pods": lambda api: api.list_page(PODS, fields=fields, limit=1, cached=True)},
        )


async def _api(needs: Sequence[_Need], environ: Mapping[str, str]) -> list[ApiAnswer]:
    from exporter.kube.access import find_access
    from exporter.kube.client import KubeClient

    found: list[ApiAnswer] = []
    for key, file, requests in needs:
        try:
            access = find_access(Path(file) if file else None, environ)
        except KernmeshError as error:
            found.append(ApiAnswer(key, str(error)))
            continue
        api = KubeClient(access, SystemClock(), timeout=_API_SECONDS)
        try:
            for what, request in requests.items():
                found.append(ApiAnswer(f"{key}: {what}", await _granted(request(api))))
        finally:
            await api.close()
    return found


async def _granted(request: Awaitable[object]) -> str:
    try:
        await request
    except KernmeshError as error:
        return str(error)
    return ""
