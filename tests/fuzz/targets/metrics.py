"""What others measured: Prometheus' answers and agents' /metrics as a mesh (matrices, faults, JSON
and page), Prometheus' answers and agents' JSON as the labeller's values, an agent's own status."""

import json
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

import msgspec

from exporter.config import Duration, HttpUrl
from exporter.labeller.agent_source import AgentSource, Place
from exporter.labeller.config import Agents, PromRules
from exporter.labeller.prom_source import PromSource
from pingmesh.controller_config import MeshConfig, Thresholds
from pingmesh.mesh import Report
from pingmesh.mesh_prometheus import Prometheus
from pingmesh.mesh_reading import Reading, as_json, make_reading
from pingmesh.mesh_results import FAIL, LOST, PROBES, RTT, STAMP, Asked
from pingmesh.mesh_scrapes import report, snapshot
from pingmesh.pages.mesh import Asking, choose, mesh_page
from pingmesh.topology import Member, RackId, Topology
from tests.fuzz.ground import put
from tests.fuzz.loopback import loopback
from tests.fuzz.mutate import spoil_json, spoil_text
from tests.fuzz.target import Case, Target
from tests.fuzz.targets.replies import answer

_MEMBERS = [
    Member(f"n{rack}{at}", "z", f"r{rack}", (f"10.0.{rack}.{at}",))
    for rack in range(2)
    for at in range(2)
]
TOPOLOGY = Topology(_MEMBERS)
"""Two racks of two nodes."""
ADDRESSES = {each.name: each.addresses[0] for each in _MEMBERS}
_ASKED = Asked(ADDRESSES, {("z", "r0"): RackId("z", "r0"), ("z", "r1"): RackId("z", "r1")}, "icmp")
_SECONDS = Duration("3s")


def reading_of(reports: Mapping[str, Report]) -> Reading:
    """As a controller makes one."""
    return make_reading(
        at=1.0,
        window=600.0,
        origin="x",
        problem=None,
        topology=TOPOLOGY,
        addresses=ADDRESSES,
        thresholds=Thresholds(),
        reports=reports,
    )


def _shown(reports: Mapping[str, Report]) -> None:
    """All that a controller does with reports: whoever asks for page or JSON gets an answer."""
    reading = reading_of(reports)
    for asking in (Asking(), Asking(rack="z/r0", to="z/r1"), Asking(zone="z", to_zone="z")):
        try:
            matrix, sheet = choose(reading, asking)
        except LookupError:
            continue
        msgspec.json.encode(as_json(reading, matrix, None))
        mesh_page(reading, sheet, None, "1")


def _scraped(data: bytes) -> None:
    """An agent's /metrics twice: as it is, and as it was a while later."""
    text = data.decode(errors="replace")
    first, _, then = text.partition("\n\n")
    taken = [snapshot(each, float(at), _ASKED) for at, each in enumerate((first, then or text))]
    found = report("n00", taken, 1.0)
    _shown({} if found is None else {"n00": found})


def _scrape(sent: int, lost: int) -> str:
    to = 'probe="icmp",target_rack="r1",target_zone="z"'
    lines = [
        f"{PROBES}{{{to}}} {sent}",
        f'{LOST}{{{to},reason="timeout"}} {lost}',
        f'{RTT}{{le="0.001",{to}}} {sent - lost - 1}',
        f'{RTT}{{le="+Inf",{to}}} {sent - lost}',
        f'{STAMP}{{lane="packets"}} {sent}',
        f'{FAIL}{{target="10.0.1.0",tor="z/r1"}} 1',
    ]
    return "\n".join(lines) + "\n"


# Prometheus, as the mesh asks it: seven questions, of which each has its part of the answer.


@cache
def _prometheus() -> Prometheus:
    url = HttpUrl(f"http://127.0.0.1:{loopback().tcp_port}")
    return Prometheus(url, MeshConfig(prometheus=url, timeout=_SECONDS))


def _mesh(data: bytes) -> None:
    found = loopback().play(lambda: _prometheus().read(_ASKED), answer(data))
    _shown(found)


def _vector(*rows: tuple[dict[str, str], str]) -> bytes:
    result = [{"metric": labels, "value": [1.5, text]} for labels, text in rows]
    data = {"resultType": "vector", "result": result}
    return json.dumps({"status": "success", "data": data}).encode()


def _vectors() -> list[bytes]:
    to = {"target_zone": "z", "target_rack": "r1"}
    rows = [
        ({"instance": host, "le": le, "target": "10.0.1.0", **to}, text)
        for host, le, text in (("10.0.0.0:9435", "0.001", "7"), ("n01", "+Inf", "9.5"))
    ]
    return [_vector(*rows), _vector(), _vector(({"instance": "[10.0.0.0]:1"}, "NaN"))]


# The labeller's sources: a round of reading raises nothing that an answer may say.

_RULES = b"Rulename:\n  cpu: {Promsql: x, Threshold: 70}\n"


@cache
def _rules() -> PromSource:
    url = HttpUrl(f"http://127.0.0.1:{loopback().tcp_port}")
    return PromSource(PromRules(url, str(put("labels.yaml", _RULES)), timeout=_SECONDS))


def _labels(data: bytes) -> None:
    values = loopback().play(lambda: _rules().read(dict.fromkeys(ADDRESSES, "n00")), answer(data))
    assert all(isinstance(of, dict) for of in values.values())


def _agents(data: bytes) -> None:
    """Both pages in one answer: what stands before the first line's end, and what after it."""
    source = AgentSource(Agents(timeout=_SECONDS), {"cpu": "cpu_usage_active"})
    statistics, _, interference = data.partition(b"\n")
    said = answer(statistics) + answer(interference)
    place = {"n00": Place("127.0.0.1", loopback().tcp_port)}
    values = loopback().play(lambda: source.read(place), said)
    assert values.keys() == source.statistics.keys()
    for requests in source.evictions.values():
        assert all(isinstance(each.uid, str) for each in requests)


def _spoil_lines(data: bytes, chance: Random) -> bytes:
    """JSON a line."""
    lines = data.split(b"\n")
    at = chance.randrange(len(lines))
    lines[at] = spoil_json(lines[at], chance).replace(b"\n", b" ")
    return b"\n".join(lines)


_STATISTICS = {"cpu_usage_active": 6.8, "mem_usage_active": 30.25}
_INTERFERENCE = {
    "enabled": True, "time": 3.5, "schedule": True,
    "evictions": [{"namespace": "a", "pod": "b", "uid": "c", "grace_seconds": 30, "reason": "r"}],
}  # fmt: skip


def _two(first: Any, then: Any) -> bytes:
    return json.dumps(first).encode() + b"\n" + json.dumps(then).encode()


TARGET = Target(
    "metrics",
    "agents' /metrics and Prometheus' answers as a mesh, Prometheus' answers and agents' "
    "/statistics and /interference as the labeller's values",
    (
        Case(
            "scrapes",
            _scraped,
            lambda: [f"{_scrape(100, 1)}\n{_scrape(160, 3)}".encode(), _scrape(9, 0).encode()],
            spoil_text,
        ),
        Case("mesh", _mesh, _vectors, spoil_json, examples=15),
        Case("labels", _labels, _vectors, spoil_json),
        Case("agents", _agents, lambda: [_two(_STATISTICS, _INTERFERENCE)], _spoil_lines),
    ),
    8192,
)
