"""The Kubernetes API's answers: lists and watches as objects in all who keep them, a watch's lines,
Status errors, and single objects that decide who leads and who is evicted."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from exporter.clock import SystemClock
from exporter.kube.access import Access
from exporter.kube.api import NODES, ApiError, Event, Object, Resource
from exporter.kube.cache import Cache
from exporter.kube.client import KubeClient
from exporter.labeller.agent_source import Request
from exporter.labeller.crane_notes import bound
from exporter.labeller.evictor import Evictor
from exporter.labeller.lease import Lease
from exporter.labeller.nodes import Known, by_name, reduced
from exporter.labeller.places import of_slice
from exporter.pressure.marks import Marks
from exporter.pressure.standing import look
from exporter.testing import FakeClock
from exporter.usage.pods import Offline
from exporter.usage.podwatch import PodWatch
from pingmesh.kubernetes_objects import (
    NodeSeen,
    PodSeen,
    node_members,
    node_reducer,
    pod_members,
    pod_of,
)
from tests.fuzz.loopback import loopback
from tests.fuzz.mutate import spoil_json
from tests.fuzz.target import Case, Target
from tests.fuzz.targets.replies import answer

_NODE: Object = {
    "metadata": {
        "name": "node-a", "uid": "u1", "resourceVersion": "7",
        "creationTimestamp": "2026-11-22T05:38:00Z",
        "labels": {"topology.kubernetes.io/zone": "z", "kernmesh.io/rack": "r",
                   "kernmesh.io/pressure-cpu": "true"},
        "annotations": {"kernmesh.io/heartbeat": "2026-11-22T05:38:00Z"},
        "managedFields": [{"manager": "kernmesh-labeller", "operation": "Apply", "fieldsV1": {
            "f:metadata": {"f:labels": {"f:kernmesh.io/pressure-cpu": {}}}}}],
    },
    "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
    "status": {
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"},
                      {"type": "ExternalIP", "address": "fd00::1"}],
        "conditions": [{"type": "KernmeshPressure", "status": "True", "reason": "a",
                        "message": "b", "lastTransitionTime": "2026-11-22T05:38:00Z"}],
    },
}  # fmt: skip
_POD: Object = {
    "metadata": {
        "namespace": "default", "name": "pod-a", "uid": "u2", "resourceVersion": "8",
        "annotations": {"kubernetes.io/config.mirror": "m", "offline": "true"},
    },
    "spec": {"nodeName": "node-a", "hostNetwork": False},
    "status": {
        "phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::9"}],
        "conditions": [{"type": "PodScheduled", "status": "True",
                        "lastTransitionTime": "2026-11-22T05:38:00Z"}],
        "containerStatuses": [{"name": "c", "containerID": "containerd://" + "a" * 64}],
    },
}  # fmt: skip
_SLICE: Object = {
    "metadata": {"namespace": "default", "name": "s", "uid": "u3"},
    "ports": [{"name": "http", "port": 9435}],
    "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "node-a"},
                  {"addresses": ["10.0.0.2"], "topology": {"kubernetes.io/hostname": "b"}}],
}  # fmt: skip
_LEASE: Object = {
    "metadata": {"name": "l", "namespace": "n", "resourceVersion": "1"},
    "spec": {"holderIdentity": "other", "leaseDurationSeconds": 15, "leaseTransitions": 2,
             "acquireTime": "2026-11-22T05:38:00.000000Z"},
}  # fmt: skip
_STATUS: Object = {
    "kind": "Status", "code": 429, "reason": "TooManyRequests", "message": "wait",
    "details": {"retryAfterSeconds": 3},
}  # fmt: skip


def _seeds(*objects: Any) -> Callable[[], list[bytes]]:
    return lambda: [json.dumps(each).encode() for each in objects]


def _dicts(data: bytes) -> Iterator[Object]:
    """What a client would hand on: only objects."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return
    for each in found if isinstance(found, list) else [found]:
        if isinstance(each, dict):
            yield each


def _cached(reduce: Callable[[Object], Any], data: bytes) -> list[Any]:
    """Listed, watched and listed again; what is kept then."""
    cache: Cache[Any] = Cache(reduce)
    objects = list(_dicts(data))
    cache.begin_list()
    list(cache.listed(objects))
    list(cache.end_list("1"))
    for number, each in enumerate(objects):
        list(cache.watched(Event("MODIFIED" if number % 2 else "ADDED", each)))
    kept = list(cache.values())
    for each in objects:
        list(cache.watched(Event("BOOKMARK", each)))
        list(cache.watched(Event("DELETED", each)))
    return kept


def _nodes(data: bytes) -> None:
    marks = Marks()
    nodes: list[NodeSeen] = _cached(node_reducer(("topology.kubernetes.io/zone",), "r"), data)
    node_members(nodes)
    known: list[Known] = _cached(lambda found: reduced(found, marks), data)
    by_name((each.standing.name, each) for each in known)
    for each in known:
        each.standing.pressed(marks)
    for found in _dicts(data):
        look(found, "kernmesh", marks)


def _pods(data: bytes) -> None:
    pods: list[PodSeen] = _cached(pod_of, data)
    node = NodeSeen("node-a", "z", "r", ("10.0.0.1",), "")
    pod_members([node], pods[:2], pods)
    _cached(bound, data)
    watch = PodWatch("node-a", FakeClock(), Offline([]), {"offline": "true"})
    _cached(watch._reduce, data)


def _slices(data: bytes) -> None:
    _cached(of_slice, data)


class _Api:
    """A KubeApi that answers all with one object, and takes all."""

    def __init__(self, found: Object) -> None:
        self._found = found

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Object:
        return self._found

    async def update(self, *_: Any, **__: Any) -> Object:
        return self._found

    async def evict(self, *_: Any, **__: Any) -> None:
        raise ApiError("evict", "no", 429, "TooManyRequests", 3.0)


async def _yes() -> bool:
    return True


def _deciding(data: bytes) -> None:
    """Neither raises anything that the API does."""

    async def decide(found: Object) -> None:
        api: Any = _Api(found)
        lease = Lease(api, FakeClock(), "n", "l", "me")
        await lease.look()
        await lease.confirm()
        await lease.release()
        evictor = Evictor(api, FakeClock(), _yes)
        await evictor.serve({"node-a": [Request("default", "pod-a", "u2")]})

    for found in _dicts(data):
        loopback().loop.run_until_complete(decide(found))


# Over HTTP: what a body means to the client itself.


@cache
def _client() -> KubeClient:
    url = f"http://127.0.0.1:{loopback().tcp_port}"
    return KubeClient(Access("test", url, token="t"), SystemClock(), timeout=3.0)


def _body(data: bytes) -> None:
    """The first byte says with which status it comes."""
    status = (b"200 OK", b"410 Gone", b"409 Conflict", b"500 X", b"429 X")[
        (data[0] if data else 0) % 5
    ]
    said = answer(data[1:], status=status)
    loopback().play(lambda: _client().list_page(NODES), said)


def _watched(data: bytes) -> None:
    async def watch() -> None:
        async with _client().watch(NODES, version="1", seconds=2) as events:
            async for event in events:
                assert isinstance(event.object, dict)

    loopback().play(watch, answer(data))


def _lines(*events: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def _events() -> Sequence[bytes]:
    added = {"type": "ADDED", "object": _NODE}
    gone = {"type": "ERROR", "object": _STATUS | {"code": 410}}
    return [_lines(added, added | {"type": "DELETED"}), _lines(gone), _lines(added)[:-1]]


def _spoil_first(data: bytes, chance: Any) -> bytes:
    """The first byte is none of the JSON."""
    return bytes([chance.randrange(5)]) + spoil_json(data[1:], chance)


def _spoil_line(data: bytes, chance: Any) -> bytes:
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    lines[at] = spoil_json(lines[at], chance)
    return b"\n".join(lines)


_LIST = {"metadata": {"resourceVersion": "7", "continue": "c"}, "items": [{"metadata": {}}, _NODE]}

TARGET = Target(
    "kube",
    "Kubernetes: lists, watches, Status errors, Nodes, Pods, EndpointSlices, Leases",
    (
        Case("nodes", _nodes, _seeds(_NODE, [_NODE, _NODE]), spoil_json),
        Case("pods", _pods, _seeds(_POD, [_POD, _POD]), spoil_json),
        Case("slices", _slices, _seeds(_SLICE), spoil_json),
        Case("deciding", _deciding, _seeds(_LEASE, _POD), spoil_json),
        Case(
            "body", _body, lambda: [b"\0" + each for each in _seeds(_LIST, _STATUS)()], _spoil_first
        ),
        Case("watch", _watched, _events, _spoil_line),
    ),
    8192,
)
