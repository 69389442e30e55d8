"""Writes as an API server sees them: as few as can be, no faster than may be, once it can."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from exporter.kube.api import NODES, ApiError, KubeApi, Object
from exporter.kube.backoff import Backoff
from exporter.kube.client import KubeClient
from exporter.pressure.levels import Level
from exporter.pressure.marks import NOTHING, Marks, Wanted, wanted
from exporter.pressure.plan import Plan, plan
from exporter.pressure.standing import Standing, look
from exporter.pressure.writer import Bucket, Writer
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import play
from tests.pressure.nodes import OURS

NAME = "kernmesh-test-a"
MARKS = Marks(taint=True)
HOT: Mapping[str, Level] = {"cpu": "pressed"}
CALM: Mapping[str, Level] = {"cpu": "calm"}


class Turns:
    """A writer whose waits take no time; `waits` has them."""

    def __init__(self, api: KubeApi, **options: Any) -> None:
        self.clock, self.waits = FakeClock(), list[float]()
        self.api = api
        self.writer = Writer(
            api, self.clock, OURS, self.pause, backoff=Backoff(dice=lambda: 1.0), **options
        )

    async def pause(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.clock.advance(seconds)

    async def standing(self) -> Standing:
        return look(await self.api.get(NODES, NAME), OURS, MARKS)

    async def bring(self, want: Wanted) -> str:
        standing = await self.standing()
        outcome = await self.writer.write(lambda: plan(standing, want, MARKS, self.clock.wall()))
        return outcome.result


def on(server: ApiServer, test: Callable[[Turns], Awaitable[None]], **options: Any) -> None:
    server.put(
        "nodes",
        {"metadata": {"name": NAME}, "spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}},
    )

    async def with_client(client: KubeClient) -> None:
        await test(Turns(client, **options))

    play(server, with_client)


def writes(server: ApiServer) -> list[tuple[str, int]]:
    return [
        (path.partition("?")[0], status)
        for method, path, status in server.requests
        if method == "PATCH"
    ]


def of(server: ApiServer) -> Object:
    found = server.object("nodes", NAME)
    assert found is not None
    return found


def taints(server: ApiServer) -> list[str]:
    """Without the one that every new Node gets."""
    keys = [each["key"] for each in of(server)["spec"].get("taints", [])]
    return [key for key in keys if not key.startswith("node.kubernetes.io/")]


def labels(server: ApiServer) -> Mapping[str, str]:
    return dict(of(server)["metadata"].get("labels", {}))


def test_what_stands_already_is_not_written_again(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        assert await turns.bring(wanted(HOT, MARKS)) == "written"
        assert labels(server) == {"kernmesh.io/pressure-cpu": "true"}
        assert taints(server) == [
            "x",
            "kernmesh.io/pressure",
        ]
        assert await turns.bring(wanted(HOT, MARKS)) == "unchanged"
        assert await turns.bring(wanted(CALM, MARKS)) == "written"
        assert await turns.bring(wanted(CALM, MARKS)) == "unchanged"
        assert labels(server) == {}
        assert taints(server) == ["x"]
        assert of(server)["status"]["conditions"][0]["status"] == "False"
        assert await turns.bring(NOTHING) == "written"
        assert await turns.bring(NOTHING) == "unchanged"
        assert not of(server).get("status", {}).get("conditions")
        assert turns.writer.counts["written"] == 3
        assert len(writes(server)) == 5

    on(server, test)


def test_no_more_is_written_in_a_second_than_may_be(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        for index in range(10):
            await turns.bring(wanted(HOT if index % 2 else CALM, Marks(taint=False)))
        assert turns.waits == [0.2] * 9
        assert len(writes(server)) == 10

    on(server, test)


def test_two_requests_for_one_node_take_two_turns(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        await turns.bring(wanted(HOT, MARKS))
        assert turns.waits == [0.2]

    on(server, test)


@pytest.mark.parametrize(
    ("fault", "waits"),
    [
        (Fault("status", 429, retry_after=7, times=1), [7.7]),
        (Fault("status", 503, times=2), [1.0, 2.0]),
        (Fault("cut", times=1), [1.0]),
        (Fault("status", 500, "InternalError", retry_after=60, times=1), [66.0]),
    ],
)
def test_after_a_failure_nothing_is_asked_for_as_long_as_the_api_says(
    server: ApiServer, fault: Fault, waits: list[float]
) -> None:
    async def test(turns: Turns) -> None:
        fault.verbs = frozenset({"apply"})
        server.fail(fault)
        for _ in range(fault.times or 0):
            assert await turns.bring(wanted(HOT, Marks())) == "failed"
        assert turns.writer.waiting > 0
        assert await turns.bring(wanted(HOT, Marks())) == "written"
        assert turns.waits == waits
        assert turns.writer.waiting == 0

    on(server, test)


def test_what_is_written_is_what_is_wanted_when_its_turn_comes(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        server.fail(Fault("status", 503, verbs=frozenset({"apply"}), times=1))
        assert await turns.bring(wanted(HOT, Marks())) == "failed"
        standing = await turns.standing()
        asked: list[int] = []

        def make() -> Plan | None:
            asked.append(len(turns.waits))
            return plan(standing, wanted(CALM, Marks(condition=False)), Marks(), 0.0)

        assert (await turns.writer.write(make)).result == "unchanged"
        assert asked == [1]  # after the wait
        assert labels(server) == {}

    on(server, test)


def test_another_node_of_the_name_is_not_marked_for_the_one_before(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        before = await turns.standing()

        def make() -> Plan:
            return plan(before, wanted(HOT, MARKS), MARKS, 0.0)

        server.delete("nodes", NAME)
        assert (await turns.writer.write(make)).result == "gone"
        assert (await turns.writer.write(lambda: make()._replace(taints=None))).result == "gone"
        assert server.object("nodes", NAME) is None  # an apply that would have made it
        server.put("nodes", {"metadata": {"name": NAME}})
        for one in (make()._replace(taints=None), make()._replace(body=None)):
            assert (await turns.writer.write(lambda one=one: one)).result == "conflict"  # type: ignore[misc]
        assert labels(server) == {}
        assert await turns.bring(wanted(HOT, MARKS)) == "written"

    on(server, test)


def test_a_label_that_appears_meanwhile_is_a_conflict_and_then_left_alone(
    server: ApiServer,
) -> None:
    async def test(turns: Turns) -> None:
        before = await turns.standing()
        theirs = {"metadata": {"labels": {"kernmesh.io/pressure-cpu": "no"}}}
        await turns.api.patch(NODES, NAME, theirs, manager="kubectl-label")
        marks = Marks()
        outcome = await turns.writer.write(lambda: plan(before, wanted(HOT, marks), marks, 0.0))
        assert outcome.result == "conflict"
        assert await turns.bring(wanted(HOT, marks)) == "written"  # the condition
        assert labels(server) == {"kernmesh.io/pressure-cpu": "no"}

    on(server, test)


def test_taints_that_changed_meanwhile_are_looked_at_anew(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        before = await turns.standing()
        await turns.api.patch(NODES, NAME, {"spec": {"taints": []}})
        marks = Marks(labels=False, condition=False, taint=True)
        want = wanted(HOT, marks)
        outcome = await turns.writer.write(lambda: plan(before, want, marks, 0.0))
        assert outcome.result == "conflict"
        assert await turns.bring(want) == "written"
        assert taints(server) == ["kernmesh.io/pressure"]

    on(server, test)


def test_what_is_forbidden_is_refused_and_keeps_no_other_from_being_written(
    server: ApiServer,
) -> None:
    async def test(turns: Turns) -> None:
        server.fail(Fault("status", 403, "Forbidden", verbs=frozenset({"apply"}), times=1))
        assert await turns.bring(wanted(HOT, Marks())) == "refused"
        assert turns.writer.waiting == 0

    on(server, test)


def test_a_dry_run_says_what_it_would_write_once_and_writes_nothing(server: ApiServer) -> None:
    said: list[str] = []

    async def test(turns: Turns) -> None:
        assert await turns.bring(wanted(HOT, MARKS)) == "dry_run"
        turns.clock.advance(10)
        assert await turns.bring(wanted(HOT, MARKS)) == "unchanged"
        assert await turns.bring(wanted(CALM, MARKS)) == "dry_run"
        assert writes(server) == []
        assert turns.writer.counts["dry_run"] == 2

    on(server, test, dry_run=True, show=said.append)
    assert [line.split(" ")[:4] for line in said] == [
        ["dry", "run:", "patch", f"nodes/{NAME}"],
        ["dry", "run:", "apply", f"nodes/{NAME}/status"],
        ["dry", "run:", "apply", f"nodes/{NAME}/status"],
    ]


def test_a_bucket_holds_no_more_than_one() -> None:
    clock = FakeClock()
    bucket = Bucket(clock, rate=2.0)
    clock.advance(1000)
    assert [bucket.wait() for _ in range(2)] == [0.0, 0.5]
    clock.advance(0.5)
    assert bucket.wait() == 0.0
    bucket.put_back()
    assert bucket.wait() == 0.0


def test_only_what_may_pass_makes_the_writer_wait(server: ApiServer) -> None:
    async def test(turns: Turns) -> None:
        turns.writer.failed(ApiError("get", "no", 403))
        assert turns.writer.waiting == 0
        turns.writer.failed(ApiError("get", "no", 503, retry_after=5))
        assert turns.writer.waiting == pytest.approx(5.5)

    on(server, test)
