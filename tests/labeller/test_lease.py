"""Leader election on a test API server: one leads, whatever clocks and others do."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from exporter.kube.api import LEASES, ApiError
from exporter.kube.client import KubeClient
from exporter.labeller.lease import Lease
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import play

PLACE, NAME = "default", "labeller"


class Two:
    """Replicas with clocks of their own, of which the second's wall clock is an hour off."""

    def __init__(self, client: KubeClient) -> None:
        self.client = client
        self.clocks = FakeClock(), FakeClock(monotonic=5.0, wall=1_700_003_600.0)
        self.a, self.b = (
            Lease(client, clock, PLACE, NAME, name)
            for clock, name in zip(self.clocks, "ab", strict=True)
        )

    def roles(self) -> tuple[str, str]:
        return self.a.role, self.b.role

    def advance(self, seconds: float) -> None:
        for clock in self.clocks:
            clock.advance(seconds)

    async def spec(self) -> dict[str, Any]:
        found = (await self.client.get(LEASES, NAME, PLACE))["spec"]
        assert isinstance(found, dict)
        return found

    async def steal(self, holder: str) -> None:
        change = {"spec": {"holderIdentity": holder, "renewTime": "2020-01-01T00:00:00.000000Z"}}
        await self.client.patch(LEASES, NAME, change, namespace=PLACE)


def two(server: ApiServer, test: Callable[[Two], Awaitable[None]]) -> None:
    async def with_client(client: KubeClient) -> None:
        await test(Two(client))

    play(server, with_client)


def test_the_first_leads_and_the_second_waits_though_its_clock_is_an_hour_off(
    server: ApiServer,
) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        await both.b.look()
        assert both.roles() == ("leader", "standby")
        for _ in range(30):
            both.advance(2.0)
            await both.a.look()
            await both.b.look()
        assert both.roles() == ("leader", "standby")
        spec = await both.spec()
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("a", 0)
        assert spec["leaseDurationSeconds"] == 15
        assert spec["acquireTime"] < spec["renewTime"]

    two(server, test)


def test_a_leader_that_died_is_followed_once_its_lease_has_not_changed_for_its_duration(
    server: ApiServer,
) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        await both.b.look()
        both.advance(14.0)
        await both.b.look()
        assert not both.a.leads  # it stops by itself, before another may take over
        assert both.roles()[1] == "standby"
        both.advance(1.0)
        await both.b.look()
        assert both.roles()[1] == "leader"
        assert (await both.spec())["leaseTransitions"] == 1
        await both.a.look()
        assert (both.a.role, both.a.holder) == ("standby", "b")

    two(server, test)


def test_a_stolen_lease_is_noticed_before_anything_is_written(server: ApiServer) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        assert await both.a.confirm()
        await both.steal("thief")
        assert both.a.leads  # it does not know yet
        assert not await both.a.confirm()
        assert (both.a.role, both.a.holder) == ("standby", "thief")
        await both.a.look()
        assert both.roles()[0] == "standby"
        both.advance(15.0)  # who stole it does not renew it
        await both.a.look()
        assert both.roles()[0] == "leader"

    two(server, test)


def test_a_lease_that_was_deleted_is_nobody_s_until_it_is_made_anew(server: ApiServer) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        await both.client.delete(LEASES, NAME, PLACE)
        assert not await both.a.confirm()
        await both.a.look()
        assert both.roles()[0] == "leader"

    two(server, test)


def test_what_cannot_be_confirmed_is_not_ours_to_write(server: ApiServer) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        server.fail(Fault("status", 503, times=1))
        assert not await both.a.confirm()
        assert await both.a.confirm()

    two(server, test)


def test_a_lease_given_back_is_taken_at_once(server: ApiServer) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        await both.b.look()
        await both.a.release()
        assert not both.a.leads
        await both.b.look()
        assert both.roles()[1] == "leader"
        await both.a.release()  # of what is not ours: nothing
        assert (await both.spec())["holderIdentity"] == "b"

    two(server, test)


def test_two_that_begin_together_are_one_leader(server: ApiServer) -> None:
    async def test(both: Two) -> None:
        import asyncio

        await asyncio.gather(both.a.look(), both.b.look())
        assert sorted(each.leads for each in (both.a, both.b)) == [False, True]

    two(server, test)


@pytest.mark.parametrize("fault", [Fault("status", 503), Fault("cut"), Fault("status", 403)])
def test_a_leader_that_cannot_renew_stops_and_goes_on_when_it_can(
    server: ApiServer, fault: Fault
) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        server.fail(fault)
        both.advance(9.0)
        await both.a.look()
        assert both.a.leads
        both.advance(1.0)
        await both.a.look()
        assert both.roles()[0] == "unsure"
        assert both.a.problem
        server.well()
        await both.a.look()
        assert both.roles()[0] == "leader"
        assert both.a.problem == ""
        assert (await both.spec())["leaseTransitions"] == 0

    two(server, test)


def test_an_update_by_another_in_between_is_a_conflict_and_no_lead(server: ApiServer) -> None:
    async def test(both: Two) -> None:
        await both.a.look()
        before = await both.client.get(LEASES, NAME, PLACE)
        await both.steal("thief")
        with pytest.raises(ApiError) as raised:
            await both.client.update(LEASES, NAME, before, namespace=PLACE)
        assert raised.value.conflict

    two(server, test)


@pytest.mark.parametrize("spec", [None, 7, [], "text"])
def test_a_lease_without_a_spec_is_nobody_s_and_is_taken(spec: object) -> None:
    class Api:
        """Answers with such a lease until it is written."""

        def __init__(self) -> None:
            self.lease: dict[str, Any] = {"metadata": {"name": NAME}, "spec": spec}

        async def get(self, *_: object) -> dict[str, Any]:
            return self.lease

        async def update(self, *found: Any, **_: object) -> dict[str, Any]:
            self.lease = found[2]
            return self.lease

    async def test() -> None:
        api: Any = Api()
        lease = Lease(api, FakeClock(), PLACE, NAME, "a")
        await lease.look()
        assert lease.leads
        api.lease["spec"] = spec
        assert not await lease.confirm()
        await lease.release()
        assert lease.problem == ""

    asyncio.run(test())
