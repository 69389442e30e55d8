"""An agent that labels its own Node: what an API server sees of it, and what /metrics says."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exporter.clock import SystemClock
from exporter.errors import KernmeshError
from exporter.kube.access import Access
from exporter.kube.api import NODES, KubeApi, Object
from exporter.kube.client import KubeClient
from exporter.pressure.crane import Crane
from exporter.pressure.deciding import SCHEDULE, Deciding, Sampled, Sampling, request_settings
from exporter.pressure.levels import Settings
from exporter.pressure.marks import CONDITION, Marks
from exporter.pressure.own_node import AGAIN_SECONDS, OwnNode, Subject
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import play

NAME, CPU = "node-a", "kernmesh.io/pressure-cpu"
BEAT = "kernmesh.io/pressure-heartbeat"
STEP = 10.0
SETTINGS = Settings(high=80, low=70, of=3, at_least=2, hold=20, expire_after=60)
CRANE = Crane({"cpu_usage_avg_5m": 180.0, "cpu_usage_max_avg_1h": 900.0}, ZoneInfo("UTC"))


class Life:
    """An agent's time with its Node: `after(value)` is one sampling interval."""

    def __init__(self, api: KubeApi, **subject: Any) -> None:
        self.clock, self.api = FakeClock(), api
        self.asked: bool | None = False
        self.sample = Sampled(0.0, {})
        self.said: list[str] = []
        self.refuses = ""
        self.more: dict[str, float] = {}
        self.options = subject
        self.node = self.make()

    def make(self) -> OwnNode:
        self.sampling = Sampling(
            Deciding({"cpu": SETTINGS, SCHEDULE: request_settings(60.0)}),
            {"cpu": "cpu_usage_active"},
            STEP,
            lambda: self.sample,
            lambda: self.asked,
            self.clock.monotonic(),
        )
        return OwnNode(
            Subject(NAME, settle=60.0)._replace(**self.options),
            self.sampling,
            self.clock,
            self.connect,
            show=self.said.append,
            pause=self.pause,
        )

    def connect(self) -> KubeApi:
        if self.refuses:
            raise KernmeshError(self.refuses)
        return self.api

    async def pause(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await asyncio.sleep(0)

    async def after(self, *values: float | None) -> None:
        for value in values:
            self.clock.advance(STEP)
            if value is not None:
                shown = {"cpu_usage_active": value, **self.more}
                self.sample = Sampled(self.clock.monotonic(), shown)
            self.sampling.look(self.clock.monotonic())
            await self.node.keep()

    async def later(self, seconds: float, value: float) -> None:
        await self.after(*[value] * int(seconds / STEP))

    def metrics(self) -> dict[str, float]:
        return {
            sample.name.removeprefix("kernmesh_pressure_")
            + "".join(f" {value}" for value in sample.labels.values()): sample.value
            for family in self.node.collect()
            for sample in family.samples
        }


def on(
    server: ApiServer,
    test: Callable[[Life], Awaitable[None]],
    meta: Mapping[str, Any] | None = None,
    **subject: Any,
) -> None:
    server.put("nodes", {"metadata": {"name": NAME, **(meta or {})}})

    async def with_client(client: KubeClient) -> None:
        await test(Life(client, **subject))

    play(server, with_client)


def of(server: ApiServer) -> Object:
    found = server.object("nodes", NAME)
    assert found is not None
    return found


def labels(server: ApiServer) -> list[str]:
    return sorted(of(server)["metadata"].get("labels", {}))


def notes(server: ApiServer) -> Mapping[str, str]:
    return dict(of(server)["metadata"].get("annotations", {}))


def condition(server: ApiServer) -> str:
    rows = of(server).get("status", {}).get("conditions", [])
    return next((each["status"] for each in rows if each["type"] == CONDITION), "none")


def writes(server: ApiServer) -> int:
    return sum(method != "GET" for method, _, _ in server.requests)


def test_a_node_says_that_it_is_pressed_and_stops_saying_so(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(50)
        assert (labels(server), condition(server)) == ([], "False")
        await life.after(90, 90)
        assert (labels(server), condition(server)) == ([CPU], "True")
        assert set(notes(server)) == {BEAT}
        await life.after(75, 75, 75, 60, 60)
        assert labels(server) == [CPU]
        assert writes(server) == 2
        await life.after(60)
        assert (labels(server), condition(server), notes(server)) == ([], "False", {})
        assert writes(server) == 3
        metrics = life.metrics()
        assert metrics["level cpu"] == 0
        assert metrics["transitions_total cpu pressed"] == 1
        assert metrics["writes_total written"] == 3

    on(server, test)


def test_what_decides_is_what_is_shown(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(80.0, 80.0, 80.0)
        assert life.metrics()["level cpu"] == 0
        await life.after(80.01, 80.01)
        assert life.metrics()["level cpu"] == 1

    on(server, test)


def test_a_request_to_send_no_more_work_is_a_level_at_once(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(50)
        life.asked = True
        await life.after(50)
        assert labels(server) == ["kernmesh.io/pressure-schedule"]
        life.asked = None
        await life.after(50)
        assert labels(server) == ["kernmesh.io/pressure-schedule"]
        life.asked = False
        await life.after(50)
        assert labels(server) == []

    on(server, test)


def test_while_the_api_is_down_the_node_stays_and_levels_go_on(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(90, 90, 90)
        assert labels(server) == [CPU]
        server.fail(Fault("cut"))
        await life.after(60, 60, 60, 60, 60)
        assert life.metrics()["level cpu"] == 0
        assert 20 <= life.metrics()["unwritten_seconds"] <= 30
        assert next(life.node.problems()).startswith("pressure: get nodes node-a: ")
        server.well()
        assert labels(server) == [CPU]
        await life.after(60, 60, 60, 60)
        assert labels(server) == []
        assert life.metrics()["unwritten_seconds"] == 0
        assert [*life.node.problems()] == []

    on(server, test)


def test_what_is_asked_while_the_api_is_down_is_little(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(50)
        server.fail(Fault("status", 503))
        server.requests.clear()
        for _ in range(300):  # at every second, as it runs
            life.clock.advance(1.0)
            life.sample = Sampled(life.clock.monotonic(), {"cpu_usage_active": 90.0})
            life.sampling.look(life.clock.monotonic())
            await life.node.keep()
        assert 8 <= len(server.requests) <= 25
        assert {status for _, _, status in server.requests} == {503}

    on(server, test)


def test_missing_data_hold_the_label_until_they_are_too_old(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(90, 90)
        assert labels(server) == [CPU]
        await life.after(*[None] * 6)
        assert (labels(server), condition(server)) == ([CPU], "True")
        assert life.metrics()["data_age_seconds cpu"] == 60
        await life.after(None, None)
        assert (labels(server), condition(server)) == ([], "Unknown")
        assert "level cpu" not in life.metrics()

    on(server, test)


def test_nothing_is_said_before_anything_is_known(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(None, None, None)
        assert condition(server) == "none"
        await life.after(*[None] * 3)
        assert (labels(server), condition(server)) == ([], "Unknown")

    on(server, test)


def test_the_next_agent_takes_over_what_stands_and_holds_it(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(90, 90)
        before = writes(server)
        life.node = life.make()
        await life.after(60, 60, 60)
        assert labels(server) == [CPU]
        assert writes(server) - before <= 1  # its heartbeat
        await life.after(60)
        assert labels(server) == []

    on(server, test)


def test_a_label_of_others_is_never_taken_over(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.api.patch(NODES, NAME, {"metadata": {"labels": {CPU: "x"}}}, manager="them")
        await life.after(50, 90, 90, 60, 60, 60, 60)
        assert labels(server) == [CPU]
        assert of(server)["metadata"]["labels"] == {CPU: "x"}

    on(server, test)


def test_a_label_of_others_is_reported_while_it_is_in_the_way(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.api.patch(NODES, NAME, {"metadata": {"labels": {CPU: "x"}}}, manager="them")
        await life.after(90, 90)
        assert [*life.node.problems()] == [f"pressure: label {CPU} is them's and left alone"]
        assert life.metrics()[f"left_to_others_info label {CPU} them"] == 1
        assert condition(server) == "True"
        await life.api.patch(NODES, NAME, {"metadata": {"labels": {CPU: None}}}, manager="them")
        await life.later(AGAIN_SECONDS, 90)
        assert of(server)["metadata"]["labels"] == {CPU: "true"}
        assert [*life.node.problems()] == []

    on(server, test)


def test_what_somebody_took_away_is_put_back(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(90, 90)
        await life.api.patch(NODES, NAME, {"metadata": {"labels": {CPU: None}}})
        await life.later(AGAIN_SECONDS, 90)
        assert labels(server) == [CPU]

    on(server, test)


def test_a_node_that_was_made_anew_is_marked_anew(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(90, 90)
        uid = of(server)["metadata"]["uid"]
        server.delete("nodes", NAME)
        await life.after(60, 60, 60)
        assert "not found" in life.node.problem
        server.put("nodes", {"metadata": {"name": NAME}})
        assert of(server)["metadata"]["uid"] != uid
        await life.after(60, 60, 60)
        assert (labels(server), condition(server)) == ([], "False")
        await life.after(90, 90)
        assert labels(server) == [CPU]

    on(server, test)


def test_control_plane_nodes_are_never_marked(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        life.more = {"cpu_usage_avg_5m": 50.0}
        await life.after(90, 90, 90)
        assert labels(server) == ["node-role.kubernetes.io/master"]
        assert (condition(server), set(notes(server))) == ("none", {"cpu_usage_avg_5m"})
        assert life.metrics()["level cpu"] == 1

    meta = {"labels": {"node-role.kubernetes.io/master": ""}}
    on(server, test, meta, crane=CRANE, marks=Marks(taint=True, legacy_status=True))


def test_that_it_lives_is_said_while_it_is_pressed_and_no_oftener_than_need_be(
    server: ApiServer,
) -> None:
    async def test(life: Life) -> None:
        await life.later(1000, 50)
        assert writes(server) == 1
        await life.later(1000, 90)
        assert writes(server) == 1 + 4  # pressed, and after 300, 600 and 900 s
        await life.later(1000, 50)
        assert writes(server) == 6
        assert notes(server) == {}

    on(server, test)


def test_crane_s_annotations_are_written_at_their_periods(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        life.more = {"cpu_usage_avg_5m": 12.34, "cpu_usage_max_avg_1h": 56.78}
        await life.after(50)
        first = notes(server)
        assert first["cpu_usage_avg_5m"] == "0.12340,2023-11-14T22:13:30Z"
        assert first["cpu_usage_max_avg_1h"] == "0.56780,2023-11-14T22:13:30Z"
        await life.later(170, 50)
        assert notes(server) == first
        await life.later(10, 50)
        assert notes(server)["cpu_usage_avg_5m"] == "0.12340,2023-11-14T22:16:30Z"
        assert notes(server)["cpu_usage_max_avg_1h"] == first["cpu_usage_max_avg_1h"]
        del life.more["cpu_usage_avg_5m"]
        stale = notes(server)["cpu_usage_avg_5m"]
        await life.later(900, 50)
        assert notes(server)["cpu_usage_avg_5m"] == stale  # grows old: never 0, never gone
        assert notes(server)["cpu_usage_max_avg_1h"] != first["cpu_usage_max_avg_1h"]
        assert writes(server) == 3

    on(server, test, crane=CRANE)


def test_the_next_agent_keeps_annotations_that_it_knows_nothing_of_yet(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        life.more = {"cpu_usage_avg_5m": 12.34, "cpu_usage_max_avg_1h": 56.78}
        await life.after(50)
        first = notes(server)
        life.node, life.more = life.make(), {"cpu_usage_avg_5m": 20.0}
        await life.after(50, 50)
        assert notes(server)["cpu_usage_max_avg_1h"] == first["cpu_usage_max_avg_1h"]
        assert notes(server)["cpu_usage_avg_5m"] != first["cpu_usage_avg_5m"]

    on(server, test, crane=CRANE)


def test_where_there_is_no_way_to_the_api_it_is_said_and_tried_again(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        life.refuses = "no access to the Kubernetes API: none"
        await life.after(90, 90)
        assert [*life.node.problems()] == ["pressure: no access to the Kubernetes API: none"]
        assert life.metrics()["level cpu"] == 1
        life.refuses = ""
        await life.after(90, 90, 90, 90)
        assert labels(server) == [CPU]
        assert [*life.node.problems()] == []

    on(server, test)


def test_credentials_that_are_no_longer_known_are_read_anew(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.after(90, 90)
        server.tokens = {"renewed"}
        await life.after(60, 60, 60, 60)
        assert "HTTP 401" in life.node.problem
        assert labels(server) == [CPU]
        access = Access("renewed", server.url, token="renewed")
        life.api = KubeClient(access, SystemClock())
        await life.after(60, 60, 60, 60)
        assert labels(server) == []
        assert life.node.problem == ""
        assert life.metrics()["writes_total written"] == 3
        await life.api.close()

    on(server, test)


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        await life.later(600, 90)
        assert writes(server) == 0
        assert ['"status": "False"' in line for line in life.said] == [True, False]
        assert f'"{CPU}": "true"' in life.said[1]
        assert life.metrics()["writes_total dry_run"] == 2

    on(server, test, dry_run=True, marks=Marks(heartbeat=False))


async def run_until(life: Life, done: Callable[[], bool]) -> None:
    """As the agent runs it, until it is told to end; each second is no time."""
    task = asyncio.create_task(life.node.run())
    async with asyncio.timeout(20):
        while not done():
            life.sample = Sampled(life.clock.monotonic(), {"cpu_usage_active": 90.0})
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("clear", [True, False])
def test_when_it_ends_its_marks_go_if_that_is_wanted(server: ApiServer, clear: bool) -> None:
    async def test(life: Life) -> None:
        await run_until(life, lambda: labels(server) == [CPU])
        assert labels(server) == ([] if clear else [CPU])
        assert condition(server) == ("none" if clear else "True")
        assert notes(server).keys() == (set() if clear else {BEAT})

    on(server, test, clear_on_stop=clear)


def test_an_api_that_is_down_when_it_ends_keeps_nobody_waiting(server: ApiServer) -> None:
    async def test(life: Life) -> None:
        def done() -> bool:
            if labels(server) != [CPU]:
                return False
            server.fail(Fault("cut"))
            return True

        await run_until(life, done)
        assert labels(server) == [CPU]

    on(server, test)
