"""What marking a Node relies on and does, on whichever cluster the fixture gives."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from exporter.clock import SystemClock
from exporter.kube.api import NODES, PODS, Object
from exporter.kube.client import KubeClient
from exporter.pressure.levels import Level
from exporter.pressure.marks import CONDITION, NOTHING, Marks, Wanted, wanted
from exporter.pressure.plan import plan
from exporter.pressure.standing import Field, look
from exporter.pressure.writer import Writer
from tests.cluster.conftest import Cluster
from tests.cluster.test_scenarios import PLACE, PREFIX, nodes, play, pod, taints_of

DOCS = Path(__file__).parents[2] / "docs/scheduling.md"
NAME, OURS = PREFIX + "a", "kernmesh-agent"
MARKS = Marks(taint=True, legacy_status=True)
CPU, TAINT = "kernmesh.io/pressure-cpu", "kernmesh.io/pressure"
HOT: Mapping[str, Level] = {"cpu": "pressed"}
CALM: Mapping[str, Level] = {"cpu": "calm"}


async def no_pause(seconds: float) -> None:
    """Turns are not waited for here."""


async def bring(client: KubeClient, want: Wanted) -> str:
    writer = Writer(client, SystemClock(), OURS, no_pause)
    standing = look(await client.get(NODES, NAME), OURS, MARKS)
    return (await writer.write(lambda: plan(standing, want, MARKS, 1e9))).result


def conditions(found: Object) -> Sequence[str]:
    rows = found.get("status", {}).get("conditions", [])
    return [each["status"] for each in rows if each["type"] == CONDITION]


def labels(found: Object) -> Mapping[str, str]:
    ours = found["metadata"].get("labels", {})
    return {k: v for k, v in ours.items() if k in (CPU, "status", "zone")}


def test_marks_come_change_and_go_and_all_else_stays(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a"):
            body = {
                "metadata": {"labels": {"zone": "z"}},
                "spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]},
            }
            await client.patch(NODES, NAME, body, manager="them")
            ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
            await client.patch(
                NODES, NAME, ready, kind="strategic", subresource="status", manager="kubelet"
            )

            assert await bring(client, wanted(HOT, MARKS, heartbeat="h")) == "written"
            found = await client.get(NODES, NAME)
            assert labels(found) == {CPU: "true", "status": "presure", "zone": "z"}
            assert found["metadata"]["annotations"]["kernmesh.io/pressure-heartbeat"] == "h"
            assert conditions(found) == ["True"]
            assert taints_of(found) == ["x", TAINT]
            assert await bring(client, wanted(HOT, MARKS, heartbeat="h")) == "unchanged"
            assert look(found, OURS, MARKS).pressed(MARKS) == {"cpu"}

            assert await bring(client, wanted(CALM, MARKS)) == "written"
            found = await client.get(NODES, NAME)
            assert labels(found) == {"zone": "z"}
            assert "kernmesh.io/pressure-heartbeat" not in found["metadata"].get("annotations", {})
            assert conditions(found) == ["False"]
            assert taints_of(found) == ["x"]
            assert await bring(client, wanted(CALM, MARKS)) == "unchanged"

            assert await bring(client, NOTHING) == "written"
            found = await client.get(NODES, NAME)
            assert conditions(found) == []
            assert [each["type"] for each in found["status"]["conditions"]] == ["Ready"]
            assert await bring(client, NOTHING) == "unchanged"

    play(cluster, test)


def test_a_label_that_somebody_else_set_is_found_to_be_his(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a"):
            theirs = {"metadata": {"labels": {"status": "presure"}}}
            await client.patch(NODES, NAME, theirs, manager="dynamicScheduler")
            for _ in range(2):  # before any apply there may be no managedFields; then there are
                standing = look(await client.get(NODES, NAME), OURS, MARKS)
                assert Field("label", "status") in standing.others
                await bring(client, wanted(HOT, MARKS))
            assert await bring(client, NOTHING) == "written"
            assert labels(await client.get(NODES, NAME)) == {"status": "presure"}

    play(cluster, test)


def test_the_first_and_the_last_taint_come_and_go(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        marks = Marks(labels=False, condition=False, heartbeat=False, taint=True)
        async with nodes(client, "a"):
            await client.patch(NODES, NAME, {"spec": {"taints": None}})
            assert "taints" not in (await client.get(NODES, NAME))["spec"]
            assert await bring(client, wanted(HOT, marks)) == "written"
            assert taints_of(await client.get(NODES, NAME)) == [TAINT]
            assert await bring(client, NOTHING) == "written"
            assert "taints" not in (await client.get(NODES, NAME))["spec"]

    play(cluster, test)


def test_a_condition_keeps_since_when_it_is_so(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a"):
            await bring(client, wanted(HOT, MARKS))
            both: Mapping[str, Level] = {"cpu": "pressed", "mem": "pressed"}
            standing = look(await client.get(NODES, NAME), OURS, MARKS)
            body = plan(standing, wanted(both, MARKS), MARKS, 2e9).body
            assert body is not None
            assert body["status"]["conditions"][0]["lastTransitionTime"] == standing.since != ""

    play(cluster, test)


def manifests() -> Sequence[Object]:
    """The pieces of a pod's spec that docs/scheduling.md shows."""
    blocks = DOCS.read_text().split("```yaml\n")[1:]
    found = [yaml.safe_load(block.partition("```")[0]) for block in blocks]
    return [each for each in found if each.keys() <= {"affinity", "tolerations"}]


def test_what_the_documentation_tells_pods_to_say_is_taken_by_the_api(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        assert len(manifests()) == 4
        for each in manifests():
            body = pod("doc")
            body["spec"] |= each
            made = await client.create(PODS, body, namespace=PLACE, dry_run=True)
            assert each.items() <= made["spec"].items() or "tolerations" in each

    play(cluster, test)
