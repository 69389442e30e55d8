"""Crane's annotations of all nodes, and how hot each is."""

from zoneinfo import ZoneInfo

from exporter.config import GoDuration
from exporter.kube.api import NODES
from exporter.kube.cache import Change
from exporter.kube.client import KubeClient
from exporter.labeller.crane_notes import MANAGER, Bound, CraneNotes, HotNodes, bound
from exporter.labeller.nodes import reduced
from exporter.pressure.annotations import Hot
from exporter.pressure.crane import Crane
from exporter.pressure.marks import Marks
from exporter.pressure.writer import Writer
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.kube.asking import play
from tests.labeller.playing import of, put

CRANE = Crane({"cpu_usage_avg_5m": 180.0, "mem_usage_avg_5m": 180.0}, ZoneInfo("Asia/Shanghai"))
HOT = (Hot(GoDuration("5m"), 2), Hot(GoDuration("1m"), 1))
NOTES = ("cpu_usage_avg_5m", "mem_usage_avg_5m", "node_hot_value")


def notes(server: ApiServer) -> dict[str, str]:
    found = of(server)["metadata"].get("annotations", {})
    return {key: value for key, value in found.items() if key in NOTES}


def pod(name: str, at: float, node: str = "node-a") -> Change[Bound]:
    return Change("added", ("default", name), None, Bound(node, at))


def test_when_a_pod_was_bound_is_read_from_its_condition() -> None:
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastTransitionTime": "2023-11-14T22:13:20Z",
    }
    status = {"conditions": [{"type": "Ready"}, scheduled]}
    assert bound({"spec": {"nodeName": "n"}, "status": status}) == Bound("n", 1_700_000_000.0)
    assert bound({"spec": {}, "status": status}) is None
    assert bound({"spec": {"nodeName": "n"}}) is None


def test_a_node_is_as_hot_as_its_newest_pods_make_it() -> None:
    clock = FakeClock(wall=1000.0)
    hot = HotNodes(HOT, clock)
    for index, at in enumerate((600.0, 800.0, 900.0, 950.0, 990.0, 100.0)):
        hot.changed(pod(f"p{index}", at))
    hot.changed(pod("p1", 800.0))  # told again
    # 4 of the last 5 minutes (the first is older), by 2; and 2 of the last.
    assert hot.value("node-a") == 4 // 2 + 2
    assert hot.value("node-b") == 0
    clock.advance(40.0)
    assert hot.value("node-a") == 4 // 2 + 1
    clock.advance(1000.0)
    assert hot.value("node-a") == 0


def test_annotations_are_written_at_their_periods_in_crane_s_zone(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(client: KubeClient) -> None:
        clock = FakeClock()
        writer = Writer(client, clock, MANAGER, _no_pause)
        hot = HotNodes(HOT, clock)
        crane = CraneNotes(CRANE, hot, writer, client, clock)
        known = {"node-a": reduced(await client.get(NODES, "node-a"), Marks())}
        values = {"node-a": {"cpu_usage_avg_5m": 6.8}}
        hot.changed(pod("p", clock.wall()))
        await crane.write(known, values)
        assert notes(server) == {
            "cpu_usage_avg_5m": "0.06800,2023-11-15T06:13:20Z",
            "node_hot_value": "1,2023-11-15T06:13:20Z",
        }
        clock.advance(100.0)
        values = {"node-a": {"cpu_usage_avg_5m": 7.0, "mem_usage_avg_5m": 50.0}}
        await crane.write(known, values)
        assert notes(server)["mem_usage_avg_5m"].startswith("0.50000")
        assert notes(server)["cpu_usage_avg_5m"].startswith("0.06800")
        count = writer.counts["written"]
        clock.advance(50.0)
        await crane.write(known, values)
        assert writer.counts["written"] == count
        clock.advance(50.0)
        await crane.write(known, {"node-a": {}})  # unknown: it grows old where it stands
        assert notes(server)["cpu_usage_avg_5m"].startswith("0.06800")

    play(server, test)


def test_annotations_of_crane_s_own_annotator_are_left_alone(server: ApiServer) -> None:
    put(server, "node-a", annotations={"cpu_usage_avg_5m": "0.9,x"})

    async def test(client: KubeClient) -> None:
        clock = FakeClock()
        crane = CraneNotes(CRANE, None, Writer(client, clock, MANAGER, _no_pause), client, clock)
        known = {"node-a": reduced(await client.get(NODES, "node-a"), Marks())}
        values = {"node-a": {"cpu_usage_avg_5m": 6.8, "mem_usage_avg_5m": 50.0}}
        for _ in range(2):
            await crane.write(known, values)
            clock.advance(10.0)
        assert notes(server)["cpu_usage_avg_5m"] == "0.9,x"
        assert notes(server)["mem_usage_avg_5m"].startswith("0.5")
        assert crane.left == 1

    play(server, test)


async def _no_pause(seconds: float) -> None:
    """Turns are not waited for here."""
