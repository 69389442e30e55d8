"""Traceroutes: rare, bounded, of pairs that keep failing."""

import asyncio

import pytest

from exporter.testing import FakeClock
from pingmesh.flight import Flight
from pingmesh.pinglist import read_pinglist, targets
from pingmesh.probe import Outcome, probes
from pingmesh.trace import AGAIN_SECONDS, MOST, Tracer, last_hop


class Mesh:
    """A tracer whose traceroutes answer at once, and a list that it is fed with."""

    def __init__(self, count: int = 2) -> None:
        hosts = ", ".join(f"10.0.0.{n}" for n in range(1, count + 1))
        self.probes = probes(targets(read_pinglist(f"mesh: {{a: {{ips: [{hosts}]}}}}".encode())))
        self.clock = FakeClock()
        self.traced: list[str] = []
        self.tracer = Tracer(self.clock, self.trace)

    def trace(self, address: str) -> str:
        self.traced.append(address)
        return f"hop of {address}"

    async def round(self, *reasons: str, hop: str = "") -> None:
        """One round of results, "" where a target answered; then all traceroutes end."""
        flight = Flight(1, len(self.probes), 2.0)
        outcomes = {}
        for index, reason in enumerate(reasons):
            flight.sent(index, self.probes[index].host, 0.0, 0)
            if reason:
                flight.fail(index, reason)
                outcomes[index] = Outcome(None, reason, hop=hop)
            else:
                flight.succeed(index, 0.1)
        self.tracer.take("x", self.probes, flight, outcomes)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=30)

    def hops(self) -> dict[str, str]:
        return {
            sample.labels["target"]: sample.labels["hop"]
            for family in self.tracer.families()
            for sample in family.samples
        }


def test_a_pair_is_traced_when_it_failed_three_rounds_in_a_row() -> None:
    async def main() -> None:
        mesh = Mesh()
        for reasons in (("timeout", ""), ("timeout", "timeout"), ("", "timeout")):
            await mesh.round(*reasons)
        assert (mesh.traced, mesh.hops()) == ([], {})
        await mesh.round("timeout", "timeout")
        assert mesh.traced == ["10.0.0.2"]
        assert mesh.hops() == {"10.0.0.2": "hop of 10.0.0.2"}

    asyncio.run(main())


def test_a_hop_goes_when_its_pair_is_well_again() -> None:
    async def main() -> None:
        mesh = Mesh()
        for _ in range(3):
            await mesh.round("timeout", "")
        assert mesh.hops() != {}
        await mesh.round("", "")
        assert mesh.hops() == {}

    asyncio.run(main())


def test_a_pair_is_not_traced_again_for_ten_minutes() -> None:
    async def main() -> None:
        mesh = Mesh()
        for _ in range(6):
            await mesh.round("timeout", "")
        assert mesh.traced == ["10.0.0.1"]
        mesh.clock.advance(AGAIN_SECONDS)
        await mesh.round("timeout", "")
        assert mesh.traced == ["10.0.0.1"] * 2

    asyncio.run(main())


def test_however_many_fail_few_are_traced_and_one_at_a_time() -> None:
    async def main() -> None:
        mesh = Mesh(100)
        for _ in range(3):
            await mesh.round(*["timeout"] * 100)
        assert len(mesh.traced) == 1
        for _ in range(50):
            await mesh.round(*["timeout"] * 100)
        assert len(mesh.hops()) == MOST

    asyncio.run(main())


def test_a_router_that_said_so_itself_needs_no_trace() -> None:
    async def main() -> None:
        mesh = Mesh()
        for _ in range(4):
            await mesh.round("unreachable", "", hop="10.9.9.9")
        assert (mesh.traced, mesh.hops()) == ([], {"10.0.0.1": "10.9.9.9"})

    asyncio.run(main())


def test_without_the_right_to_trace_it_is_tried_once() -> None:
    async def main() -> None:
        mesh = Mesh()
        tried = []

        def refuse(address: str) -> str:
            tried.append(address)
            raise PermissionError(1, "no")

        mesh.tracer = Tracer(mesh.clock, refuse)
        for _ in range(8):
            await mesh.round("timeout", "timeout")
        assert (len(tried), mesh.hops()) == (1, {})

    asyncio.run(main())


@pytest.mark.bpf  # needs root: raw sockets
def test_the_last_hop_to_this_machine_is_this_machine() -> None:
    assert last_hop("127.0.0.1") == "127.0.0.1"
