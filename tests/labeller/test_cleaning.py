"""kernmesh undo --nodes: a cluster that kernmesh leaves has nothing of it, all else as it was."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.kube.api import NODES, ApiError, Object
from exporter.kube.client import KubeClient
from exporter.labeller.cleaning import MANAGERS, Cleaning
from exporter.pressure.marks import CONDITION, Marks, wanted
from exporter.pressure.plan import plan
from exporter.pressure.standing import look
from exporter.pressure.writer import Writer
from exporter.testing import FakeClock
from tests.cluster.apiserver import ApiServer
from tests.cluster.faults import Fault
from tests.kube.asking import play
from tests.labeller.playing import of, put

MARKS = Marks(taint=True)
THEIRS = {"key": "gpu", "effect": "NoSchedule"}


class Time(FakeClock):
    """Passes while somebody pauses."""

    async def pause(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)


def cleaning(client: KubeClient, say: Callable[[str], None] = print, **options: Any) -> Cleaning:
    time = Time()
    return Cleaning(client, time, time.pause, say, **options)


async def mark(client: KubeClient, name: str, manager: str, marks: Marks = MARKS) -> None:
    want = wanted({"cpu": "pressed"}, marks, heartbeat="1", annotations={"cpu_usage_avg_5m": "x"})
    standing = look(await client.get(NODES, name), manager, marks)
    time = Time()
    writer = Writer(client, time, manager, time.pause)
    assert (await writer.write(lambda: plan(standing, want, marks, 0.0))).result == "written"


def bare(found: Object) -> Object:
    """Of a Node, what anybody has written to it."""
    meta = found["metadata"]
    return {
        "labels": meta.get("labels", {}),
        "annotations": meta.get("annotations", {}),
        "taints": found.get("spec", {}).get("taints", []),
        "conditions": found.get("status", {}).get("conditions", []),
    }


@pytest.mark.parametrize("manager", MANAGERS)
def test_all_that_a_manager_of_ours_wrote_goes_and_nothing_else(
    server: ApiServer, manager: str
) -> None:
    ready = {"type": "Ready", "status": "True"}
    meta = {"name": "node-a", "labels": {"disk": "ssd", "kernmesh.io/by-hand": "true"}}
    server.put(
        "nodes",
        {"metadata": meta, "spec": {"taints": [THEIRS]}, "status": {"conditions": [ready]}},
    )
    before = bare(of(server))

    async def test(client: KubeClient) -> None:
        await mark(client, "node-a", manager)
        types = [each["type"] for each in of(server)["status"]["conditions"]]
        assert types == ["Ready", CONDITION]
        said: list[str] = []
        assert await cleaning(client, said.append).run()
        assert bare(of(server)) == before
        assert said == ["node node-a: what kernmesh wrote is gone"]

    play(server, test)


def test_a_cluster_that_has_nothing_of_ours_is_not_written_to(server: ApiServer) -> None:
    put(server, "node-a", "node-b", labels={"kernmesh.io/pressure-cpu": "true"})

    async def test(client: KubeClient) -> None:
        assert await cleaning(client).run()
        assert [method for method, _, _ in server.requests] == ["GET"]

    play(server, test)


def test_a_taint_of_another_prefix_is_found_by_that_prefix(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(client: KubeClient) -> None:
        before = bare(of(server))
        other = Marks("example.org/", taint=True)
        await mark(client, "node-a", MANAGERS[0], other)
        assert await cleaning(client, prefixes=(Marks().prefix, other.prefix)).run()
        assert bare(of(server)) == before

    play(server, test)


def test_who_writes_again_meanwhile_is_cleaned_up_after_until_there_is_quiet(
    server: ApiServer,
) -> None:
    put(server, "node-a")
    clock = FakeClock()

    async def test(client: KubeClient) -> None:
        await mark(client, "node-a", MANAGERS[1])
        again = iter((True, True))

        async def pause(seconds: float) -> None:
            clock.advance(seconds)
            if next(again, False):
                await mark(client, "node-a", MANAGERS[1])

        said: list[str] = []
        assert await Cleaning(client, clock, pause, said.append).run(quiet=20.0)
        assert len(said) == 3
        assert not bare(of(server))["labels"]

    play(server, test)


def test_there_is_an_end_to_cleaning_up_after_somebody_who_goes_on(server: ApiServer) -> None:
    put(server, "node-a")
    clock = FakeClock()

    async def test(client: KubeClient) -> None:
        async def pause(seconds: float) -> None:
            clock.advance(seconds)
            await mark(client, "node-a", MANAGERS[0])

        await mark(client, "node-a", MANAGERS[0])
        assert not await Cleaning(client, clock, pause, print).run(quiet=5.0, patience=5.0)

    play(server, test)


def test_an_api_that_is_away_is_asked_again_and_one_that_refuses_is_not(server: ApiServer) -> None:
    put(server, "node-a")

    async def test(client: KubeClient) -> None:
        await mark(client, "node-a", MANAGERS[0])
        server.fail(Fault("status", 503, verbs=frozenset({"list"}), times=1))
        said: list[str] = []
        assert await cleaning(client, said.append).run()
        assert said[0].startswith("is tried again: list nodes: HTTP 503")
        await mark(client, "node-a", MANAGERS[0])
        server.fail(Fault("status", 403, verbs=frozenset({"patch"}), times=1))
        with pytest.raises(ApiError):
            await cleaning(client).run()

    play(server, test)


def test_the_command_says_what_it_would_do_then_does_it(server: ApiServer, tmp_path: Path) -> None:
    put(server, "node-a")

    async def test(client: KubeClient) -> None:
        await mark(client, "node-a", MANAGERS[0])

    play(server, test)
    cluster = {"name": "c", "cluster": {"server": server.url}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {"token": "test"}}
    config = {"clusters": [cluster], "users": [user], "contexts": [context]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({**config, "current-context": "x"}))

    def undo(*flags: str) -> str:
        command = [sys.executable, "-m", "exporter.cli", "undo", "--nodes", *flags]
        command += ["--kubeconfig", str(kubeconfig)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    before = bare(of(server))
    assert undo("--dry-run").startswith("dry run: patch nodes/node-a ")
    assert bare(of(server)) == before
    said = "node node-a: what kernmesh wrote is gone\nno Node has anything of ours\n"
    assert undo() == said
    assert undo("--quiet-for", "1") == "no Node has anything of ours\n"
