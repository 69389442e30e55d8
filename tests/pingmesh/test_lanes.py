"""Rounds over real sockets on loopback: dead targets cost nobody else, faults have their reason."""

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from exporter.testing import FakeClock
from pingmesh.connectionlane import ConnectionLane
from pingmesh.flight import Flight
from pingmesh.guard import Guard
from pingmesh.packetlane import PacketLane, Settings
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Outcome, Probe, probes
from pingmesh.probes.udp import Responder
from pingmesh.resolve import Found, NoAddress, Resolver
from pingmesh.schedule import Plan

WATCHDOG_SECONDS = 60.0
_CLONE_NEWNET = 0x40000000
pytestmark = pytest.mark.bpf  # needs root: raw sockets and network namespaces


class Nobody:
    """No name has an address, but `loop`."""

    async def find(self, name: str, family: int) -> Found:
        if name != "loop" or family != socket.AF_INET:
            raise NoAddress(f"{name}: no such name")
        return Found(("127.0.0.7",), 60.0)


class Round:
    """What a lane published."""

    def __init__(
        self,
        probes: Sequence[Probe],
        flight: Flight,
        plan: Plan,
        lateness: float,
        outcomes: Mapping[int, Outcome],
    ) -> None:
        self.flight, self.plan, self.lateness, self.outcomes = flight, plan, lateness, outcomes
        self.results = {
            probe.series[0].target: flight.reasons.get(index, "ok")
            for index, probe in enumerate(probes)
        }


Started = Callable[[Callable[..., None]], PacketLane | ConnectionLane]


async def one_round(start: Started, rounds: int = 1) -> list[Round]:
    found: list[Round] = []
    done = asyncio.Event()

    def publish(*facts: object) -> None:
        found.append(Round(*facts))  # type: ignore[arg-type] # as the lane gave them
        if len(found) == rounds:
            done.set()

    lane = start(publish)
    lane.start()
    try:
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await done.wait()
    finally:
        lane.stop()
    return found


def packets(
    listed: str,
    timeout: float = 0.2,
    guard: Guard | None = None,
    source: str = "",
    interval: float = 0.5,
) -> Started:
    """A lane of short rounds: the floor is taken away."""
    made = probes(targets(read_pinglist(listed.encode())))
    settings = Settings(interval, timeout, 1e6, source, floor=interval)
    resolver = Resolver(FakeClock(), Nobody(), socket.AF_INET)
    return lambda publish: PacketLane(made, settings, guard or Guard(), resolver, publish)


@contextmanager
def namespace(groups: str = "0 2147483647") -> Iterator[None]:
    """This thread in a network namespace of its own, with nothing but its loopback."""
    name = f"kernmesh-{uuid.uuid4()}"
    libc = ctypes.CDLL(None, use_errno=True)
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        subprocess.run(
            ["ip", "netns", "exec", name, "sysctl", "-qw", f"net.ipv4.ping_group_range={groups}"],
            check=True,
        )
        with (
            Path("/proc/thread-self/ns/net").open() as home,
            Path(f"/run/netns/{name}").open() as to,
        ):
            assert libc.setns(to.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert libc.setns(home.fileno(), _CLONE_NEWNET) == 0
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False)


BOTH = "mesh: {a: {ips: [127.0.0.1, 127.9.9.9, '::1', loop, '127.0.0.300.example']}}"


@pytest.mark.parametrize("groups", ["0 2147483647", "1 0"], ids=["datagram", "raw"])
def test_echoes_come_back_over_either_kind_of_socket(groups: str) -> None:
    with namespace(groups):
        [found] = asyncio.run(one_round(packets(BOTH)))
    assert found.results == {
        "127.0.0.1": "ok",
        "127.9.9.9": "ok",
        "::1": "ok",
        "loop": "ok",
        "127.0.0.300.example": "dns",
    }
    answered = [rtt for rtt in found.flight.rtts if rtt == rtt]
    assert all(0 < rtt < 0.2 for rtt in answered)
    assert len(answered) == 4
    assert dict(found.flight.strays) == {}


def test_a_network_that_is_not_there_is_unreachable_at_once() -> None:
    with namespace():
        [found] = asyncio.run(one_round(packets("mesh: {a: {ips: [192.0.2.1, '2001:db8::1']}}")))
    assert set(found.results.values()) == {"unreachable"}


def test_hosts_that_never_answer_time_out_and_cost_no_round_its_time() -> None:
    dead = ", ".join(f"198.18.0.{n}" for n in range(2, 202))
    listed = f"setting: {{concurrent_limit: 20}}\nmesh: {{a: {{ips: [127.0.0.1, {dead}]}}}}"
    with namespace():
        for command in (
            "ip link add void type veth peer name nowhere",
            "ip addr add 198.18.0.1/16 dev void",
            "ip link set void arp off up",
            "ip link set nowhere arp off up",
        ):
            subprocess.run(command.split(), check=True)
        first, second = asyncio.run(one_round(packets(listed, timeout=1.0), rounds=2))
    for found in (first, second):
        assert found.results.pop("127.0.0.1") == "ok"
        assert set(found.results.values()) == {"timeout"}
        assert len(found.results) == 200
    # Of half a second each. With 20 places, as in the original, a round would take ten.
    assert second.plan.start - first.plan.start < 5.0


def test_a_route_that_is_prohibited_is_a_reason_too() -> None:
    with namespace():
        subprocess.run(["ip", "route", "add", "prohibit", "198.18.0.1"], check=True)
        [found] = asyncio.run(one_round(packets("mesh: {a: {ips: [198.18.0.1]}}")))
    assert found.results == {"198.18.0.1": "prohibited"}


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("payload", [0, 1400, 60_000])
def test_a_responder_answers_udp_of_any_size(address: str, payload: int) -> None:
    async def main() -> tuple[Round, Responder]:
        responder = Responder(address, 0)
        port = responder.sock.getsockname()[1]
        group = f"probe: udp, port: {port}, payload: {payload}, ips: ['{address}']"
        try:
            [found] = await one_round(packets(f"mesh: {{a: {{{group}}}}}"))
        finally:
            responder.close()
        return found, responder

    with namespace():
        found, responder = asyncio.run(main())
    assert found.results == {address: "ok"}
    assert (responder.answered, responder.ignored) == (1, 0)


def test_a_udp_port_that_nobody_has_is_refused() -> None:
    with namespace():
        [found] = asyncio.run(
            one_round(packets("mesh: {a: {probe: udp, port: 9, ips: [127.0.0.1, '::1']}}"))
        )
    assert found.results == {"127.0.0.1": "refused", "::1": "refused"}


def test_a_packet_over_the_path_s_mtu_is_named_so_where_it_may_not_be_split() -> None:
    with namespace():
        subprocess.run(["ip", "link", "set", "lo", "mtu", "1500"], check=True)
        groups = "a: {payload: 4000, fragment: false, ips: [127.0.0.1]}, "
        groups += "b: {payload: 4000, ips: [127.0.0.2]}"
        [found] = asyncio.run(one_round(packets(f"mesh: {{{groups}}}")))
    assert found.results == {"127.0.0.1": "mtu", "127.0.0.2": "ok"}


def test_what_the_guard_refuses_is_not_sent() -> None:
    guard = Guard((), ("127.3.0.0/16",))
    with namespace():
        [found] = asyncio.run(
            one_round(packets("mesh: {a: {ips: [127.3.0.1, 224.0.0.1, 127.0.0.1]}}", guard=guard))
        )
    assert found.results == {"127.3.0.1": "denied", "224.0.0.1": "denied", "127.0.0.1": "ok"}


def test_one_address_is_not_asked_more_often_than_the_cap_whatever_the_list_says() -> None:
    listed = ", ".join(f"g{n}: {{payload: {n}, ips: [127.0.0.1]}}" for n in range(1, 31))
    with namespace():
        [found] = asyncio.run(one_round(packets(f"mesh: {{{listed}}}", interval=3.0)))
    reasons = [found.flight.reasons.get(index, "ok") for index in range(30)]
    assert (reasons.count("ok"), reasons.count("limit")) == (3, 27)


def test_a_source_address_is_used_and_one_that_nobody_has_is_said() -> None:
    with namespace():
        listed = "mesh: {a: {ips: [127.0.0.1]}}"
        [good] = asyncio.run(one_round(packets(listed, source="127.0.0.77")))
        [bad] = asyncio.run(one_round(packets(listed, source="192.0.2.77")))
    assert (good.results, bad.results) == ({"127.0.0.1": "ok"}, {"127.0.0.1": "source"})


def test_without_any_right_to_a_socket_nothing_is_called_lost() -> None:
    script = (
        "import asyncio, socket\n"
        "from tests.pingmesh.test_lanes import *\n"
        "from pingmesh.flight import SKIPPED\n"
        "[found] = asyncio.run(one_round(packets('mesh: {a: {ips: [127.0.0.1]}}')))\n"
        "print(found.results, found.flight.states[0] == SKIPPED)\n"
    )
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
              "--bounding-set=-all", "--inh-caps=-all"]  # fmt: skip
    with namespace("1 0"):
        done = subprocess.run(
            [*nobody, sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=WATCHDOG_SECONDS,
        )
    assert done.stdout == "{'127.0.0.1': 'permission'} True\n", done.stderr


def test_a_lane_that_stops_says_when_it_probed_whom() -> None:
    async def main() -> dict[object, float]:
        started = packets("mesh: {a: {ips: [127.0.0.1, 127.0.0.2]}}")
        done = asyncio.Event()
        lane = started(lambda *_: done.set())
        lane.start()
        await done.wait()
        return dict(lane.stop())

    with namespace():
        sent = asyncio.run(main())
    assert len(sent) == 2
    assert max(sent.values()) - min(sent.values()) >= 0.2


def test_an_answer_to_a_round_that_is_over_is_late_and_one_to_none_of_ours_is_foreign() -> None:
    async def main() -> dict[str, int]:
        done = asyncio.Event()
        lane = packets("mesh: {a: {ips: [127.0.0.1]}}")(lambda *_: done.set())
        assert isinstance(lane, PacketLane)
        lane.start()
        await done.wait()
        lane.reply(1, 0, 0, "127.0.0.1", 0)
        lane.reply(0xFFFFFFFF, 0, 0, "127.0.0.1", 0)
        lane.stop()
        return dict(lane.strays)

    with namespace():
        assert asyncio.run(main()) == {"late": 1, "foreign": 1}


def test_a_name_and_its_address_are_not_asked_more_often_than_the_cap_together() -> None:
    listed = ", ".join(f"g{n}: {{payload: {n}, ips: [127.0.0.7, loop]}}" for n in range(1, 3))
    with namespace():
        [found] = asyncio.run(one_round(packets(f"mesh: {{{listed}}}", interval=3.0)))
    reasons = [found.flight.reasons.get(index, "ok") for index in range(4)]
    assert (reasons.count("ok"), reasons.count("limit")) == (3, 1)


def test_connections_in_flight_are_bounded_and_a_late_round_is_finished_first() -> None:
    async def main() -> tuple[list[Round], int]:
        most = now = 0

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal most, now
            now += 1
            most = max(most, now)
            await reader.read()
            now -= 1
            writer.close()

        server = await asyncio.start_server(hold, "0.0.0.0", 0)
        port = server.sockets[0].getsockname()[1]
        urls = ", ".join(f"'http://127.0.0.{n}:{port}/'" for n in range(1, 11))
        made = probes(targets(read_pinglist(f"mesh: {{a: {{ips: [{urls}]}}}}".encode())))
        resolver = Resolver(FakeClock(), Nobody(), socket.AF_INET)
        settings = Settings(0.5, 0.3, 1e6, floor=0.5)
        rounds = await one_round(
            lambda publish: ConnectionLane(made, settings, 2, Guard(), resolver, publish)
        )
        server.close()
        return rounds, most

    with namespace():
        [found], most = asyncio.run(main())
    assert set(found.results.values()) == {"timeout"}
    assert most == 2
    assert found.lateness > 0.5  # ten probes of 0.3 s, two at a time, take 1.5 s instead of 0.5
