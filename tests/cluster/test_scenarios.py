"""What kernmesh relies on in a cluster, shown on whichever cluster the fixture gives.

Each is written to hold on a kube-apiserver without controllers and kubelets, 1.20 or current.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from exporter.clock import SystemClock
from exporter.kube.access import find_access
from exporter.kube.api import (
    ENDPOINT_SLICES,
    LEASES,
    NODES,
    PODS,
    ApiError,
    Event,
    Object,
    Resource,
    every,
)
from exporter.kube.client import KubeClient
from exporter.kube.informer import Informer
from tests.cluster.conftest import Cluster
from tests.web.serving import until

BUDGETS = Resource("policy", ("v1", "v1beta1"), "poddisruptionbudgets", namespaced=True)
PREFIX = "kernmesh-test-"
PLACE = "default"
WATCHDOG_SECONDS = 60.0
BUDGETED = {"example.org/app": "a"}
BUDGET = {
    "kind": "PodDisruptionBudget",
    "metadata": {"name": PREFIX + "budget"},
    "spec": {"minAvailable": 1, "selector": {"matchLabels": BUDGETED}},
}
"""Of pods with that label one must run."""

Test = Callable[[KubeClient], Awaitable[None]]


def play(cluster: Cluster, test: Test) -> None:
    """Runs it with a client, and removes whatever it has made."""

    async def watched() -> None:
        client = KubeClient(find_access(cluster.kubeconfig), SystemClock(), role="tests")
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await test(client)
        finally:
            await clean(client)
            await client.close()

    asyncio.run(watched())


async def clean(client: KubeClient) -> None:
    placed = [(each, PLACE) for each in (PODS, LEASES, BUDGETS, ENDPOINT_SLICES)]
    for resource, namespace in ((NODES, ""), *placed):
        found = [each async for each in every(client, resource, namespace=namespace)]
        for each in found:
            name = each["metadata"]["name"]
            if name.startswith(PREFIX):
                seconds = 0 if resource is PODS else None
                await client.delete(resource, name, namespace, grace_seconds=seconds)


def node(name: str, **meta: Any) -> Object:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": PREFIX + name} | meta}


def pod(name: str, on: str = "", **meta: Any) -> Object:
    spec = {"containers": [{"name": "a", "image": "registry.example/a"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": PREFIX + name} | meta,
        "spec": spec | ({"nodeName": on} if on else {}),
    }


def lease(holder: str, **meta: Any) -> Object:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": PREFIX + "lease"} | meta,
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
    }


def labels_of(found: Object) -> Mapping[str, str]:
    return {
        name: value
        for name, value in found["metadata"].get("labels", {}).items()
        if name.startswith("example.org/")
    }


def taints_of(found: Object) -> list[str]:
    """Without those that the API server adds to a node that nobody has looked at."""
    taints = found["spec"].get("taints", [])
    return [each["key"] for each in taints if not each["key"].startswith("node.kubernetes.io/")]


def labels(**values: str) -> Object:
    return {
        "kind": "Node",
        "metadata": {"labels": {f"example.org/{k}": v for k, v in values.items()}},
    }


@asynccontextmanager
async def nodes(client: KubeClient, *names: str) -> AsyncIterator[list[Object]]:
    yield [await client.create(NODES, node(name), manager="maker") for name in names]


async def refusal(asked: Awaitable[Any]) -> ApiError:
    with pytest.raises(ApiError) as raised:
        await asked
    return raised.value


def test_a_list_in_pages_has_every_node_once(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        made = {PREFIX + name for name in "abcde"}
        async with nodes(client, *"abcde"):
            found: list[str] = []
            versions, more = set(), ""
            while True:
                page = await client.list_page(NODES, limit=2, more=more)
                assert len(page.items) <= 2
                found += [each["metadata"]["name"] for each in page.items]
                versions.add(page.version)
                more = page.more
                if not more:
                    break
            assert len(found) == len(set(found))
            assert made <= set(found)
            assert len(versions) == 1

    play(cluster, test)


def test_a_watch_tells_what_happened_since_the_list(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        page = await client.list_page(NODES)
        made = await client.create(NODES, node("a"))
        await client.patch(NODES, PREFIX + "a", labels(x="1"))
        await client.delete(NODES, PREFIX + "a")
        again = await client.create(NODES, node("a"))
        told: list[Event] = []
        async with client.watch(NODES, version=page.version) as events:
            async for event in events:
                if event.type != "BOOKMARK" and event.object["metadata"]["name"] == PREFIX + "a":
                    told.append(event)
                if len(told) == 4:
                    break
        assert [event.type for event in told] == ["ADDED", "MODIFIED", "DELETED", "ADDED"]
        uids = [event.object["metadata"]["uid"] for event in told]
        assert uids == [made["metadata"]["uid"]] * 3 + [again["metadata"]["uid"]]
        assert uids[0] != uids[3]
        versions = [int(event.object["metadata"]["resourceVersion"]) for event in told]
        assert versions == sorted(versions)

    play(cluster, test)


def test_a_watch_ends_when_its_seconds_are_over(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        page = await client.list_page(NODES)
        async with client.watch(NODES, version=page.version, seconds=1) as events:
            kinds = {event.type async for event in events}
        assert kinds <= {"BOOKMARK"}

    play(cluster, test)


def test_what_another_manager_owns_is_a_conflict_until_it_is_forced(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            await client.apply(NODES, name, labels(x="1"), manager="one")
            error = await refusal(client.apply(NODES, name, labels(x="2"), manager="two"))
            assert error.conflict
            assert '"one"' in error.message
            assert ".metadata.labels.example.org/x" in error.message
            assert labels_of(await client.get(NODES, name)) == {"example.org/x": "1"}
            await client.apply(NODES, name, labels(x="2"), manager="two", force=True)
            assert labels_of(await client.get(NODES, name)) == {"example.org/x": "2"}
            error = await refusal(client.apply(NODES, name, labels(x="1"), manager="one"))
            assert error.conflict

    play(cluster, test)


def test_what_is_left_out_of_the_next_apply_goes_if_nobody_else_owns_it(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            await client.apply(NODES, name, labels(x="1", y="1"), manager="one")
            await client.apply(NODES, name, labels(y="1"), manager="two")
            found = await client.apply(NODES, name, {"kind": "Node"}, manager="one")
            assert labels_of(found) == {"example.org/y": "1"}
            found = await client.apply(NODES, name, {"kind": "Node"}, manager="two")
            assert labels_of(found) == {}
            managers = {each["manager"] for each in found["metadata"].get("managedFields", ())}
            assert not {"one", "two"} & managers

    play(cluster, test)


def test_applying_the_same_again_makes_no_new_version(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            first = await client.apply(NODES, name, labels(x="1"), manager="one")
            again = await client.apply(NODES, name, labels(x="1"), manager="one")
            assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    play(cluster, test)


def test_a_label_set_by_an_ordinary_write_is_owned_too(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            await client.patch(NODES, name, labels(x="theirs"), manager="kubectl-label")
            error = await refusal(client.apply(NODES, name, labels(x="ours"), manager="one"))
            assert error.conflict
            # Up to 1.20 no account is kept of who wrote what before the first apply.
            assert any(
                f'"{name}"' in error.message for name in ("kubectl-label", "before-first-apply")
            )

    play(cluster, test)


def test_an_apply_for_another_uid_changes_and_makes_nothing(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a") as [made]:
            body = labels(x="1")
            body["metadata"]["uid"] = made["metadata"]["uid"]
            await client.delete(NODES, name)
            error = await refusal(client.apply(NODES, name, body, manager="one"))
            assert error.conflict
            again = await client.create(NODES, node("a"))
            assert again["metadata"]["uid"] != made["metadata"]["uid"]
            error = await refusal(client.apply(NODES, name, body, manager="one"))
            assert error.status == 422
            assert labels_of(await client.get(NODES, name)) == {}

    play(cluster, test)


def test_a_merge_patch_s_null_removes_a_label(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            await client.patch(NODES, name, labels(x="1", y="2"))
            found = await client.patch(
                NODES, name, {"metadata": {"labels": {"example.org/x": None}}}
            )
            assert labels_of(found) == {"example.org/y": "2"}

    play(cluster, test)


def test_a_json_patch_whose_test_fails_changes_nothing(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        taint = {"key": "example.org/t", "effect": "PreferNoSchedule"}
        async with nodes(client, "a"):
            before = (await client.get(NODES, name))["spec"].get("taints", [])
            add = {"op": "add", "path": "/spec/taints", "value": [*before, taint]}
            same = {"op": "test", "path": "/spec/taints", "value": before}
            found = await client.patch(NODES, name, [same, add], kind="json")
            assert taints_of(found) == ["example.org/t"]
            error = await refusal(client.patch(NODES, name, [same, add], kind="json"))
            assert error.status == 422
            assert taints_of(await client.get(NODES, name)) == ["example.org/t"]

    play(cluster, test)


def test_a_json_patch_may_require_the_version_that_it_was_made_for(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a") as [made]:
            version = made["metadata"]["resourceVersion"]
            await client.patch(NODES, name, labels(x="1"))
            patch = [
                {"op": "test", "path": "/metadata/resourceVersion", "value": version},
                {"op": "add", "path": "/metadata/labels", "value": {"example.org/x": "2"}},
            ]
            assert (await refusal(client.patch(NODES, name, patch, kind="json"))).status == 422

    play(cluster, test)


def test_applied_taints_are_replaced_as_one(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        theirs = {"key": "example.org/theirs", "effect": "PreferNoSchedule"}
        ours = {"key": "example.org/ours", "effect": "PreferNoSchedule"}
        async with nodes(client, "a"):
            await client.patch(NODES, name, {"spec": {"taints": [theirs]}})
            body = {"kind": "Node", "spec": {"taints": [ours]}}
            found = await client.apply(NODES, name, body, manager="one", force=True)
            assert taints_of(found) == ["example.org/ours"]

    play(cluster, test)


def test_an_update_of_an_old_version_is_a_conflict(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a") as [made]:
            await client.patch(NODES, name, labels(x="1"))
            error = await refusal(client.update(NODES, name, made))
            assert error.conflict
            assert error.reason == "Conflict"
            assert labels_of(await client.get(NODES, name)) == {"example.org/x": "1"}

    play(cluster, test)


def test_a_condition_is_applied_beside_those_of_others(cluster: Cluster) -> None:
    def condition(kind: str, value: str) -> Object:
        return {
            "kind": "Node",
            "status": {
                "conditions": [
                    {"type": kind, "status": value, "reason": "Test", "message": "of a test"}
                ]
            },
        }

    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            for kind, manager in (("Theirs", "two"), ("Ours", "one")):
                await client.apply(
                    NODES, name, condition(kind, "True"), manager=manager, subresource="status"
                )
            found = await client.get(NODES, name)
            kinds = {each["type"] for each in found["status"]["conditions"]}
            assert kinds == {"Theirs", "Ours"}
            await client.apply(NODES, name, {"kind": "Node"}, manager="one", subresource="status")
            found = await client.get(NODES, name)
            assert {each["type"] for each in found["status"]["conditions"]} == {"Theirs"}

    play(cluster, test)


def test_the_status_is_written_by_its_subresource_only(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        patch = {"status": {"conditions": [{"type": "Ours", "status": "True"}]}}
        async with nodes(client, "a"):
            found = await client.patch(NODES, name, patch, kind="strategic")
            assert "conditions" not in found.get("status", {})
            found = await client.patch(NODES, name, patch, kind="strategic", subresource="status")
            assert [each["type"] for each in found["status"]["conditions"]] == ["Ours"]
            spec = {"spec": {"unschedulable": True}}
            found = await client.patch(NODES, name, spec, subresource="status")
            assert "unschedulable" not in found["spec"]

    play(cluster, test)


def test_a_lease_is_taken_by_one_of_two(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "lease"
        made = await client.create(LEASES, lease("one"), namespace=PLACE)
        error = await refusal(client.create(LEASES, lease("two"), namespace=PLACE))
        assert (error.status, error.reason) == (409, "AlreadyExists")
        version = made["metadata"]["resourceVersion"]
        renewed = lease("one", resourceVersion=version)
        renewed["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
        await client.update(LEASES, name, renewed, namespace=PLACE)
        stolen = lease("two", resourceVersion=version)
        error = await refusal(client.update(LEASES, name, stolen, namespace=PLACE))
        assert (error.status, error.reason) == (409, "Conflict")
        blind = await refusal(client.update(LEASES, name, lease("two"), namespace=PLACE))
        assert blind.status == 422
        found = await client.get(LEASES, name, PLACE)
        assert found["spec"]["holderIdentity"] == "one"

    play(cluster, test)


def test_a_pod_is_evicted_unless_it_is_another_one(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "n"):
            made = await client.create(PODS, pod("a", PREFIX + "n"), namespace=PLACE)
            uid = made["metadata"]["uid"]
            assert (await refusal(client.evict(PLACE, name, uid="another"))).conflict
            await client.evict(PLACE, name, uid=uid, dry_run=True)
            found = await client.get(PODS, name, PLACE)
            assert "deletionTimestamp" not in found["metadata"]
            await client.evict(PLACE, name, uid=uid, grace_seconds=20)
            found = await client.get(PODS, name, PLACE)
            assert "deletionTimestamp" in found["metadata"]
            assert found["metadata"]["deletionGracePeriodSeconds"] == 20

    play(cluster, test)


def test_a_disruption_budget_forbids_with_429(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "n"):
            await client.create(BUDGETS, BUDGET, namespace=PLACE)
            made = pod("a", PREFIX + "n", labels=BUDGETED)
            await client.create(PODS, made, namespace=PLACE)
            # Only what runs counts in a budget; what is pending may go.
            running = {"status": {"phase": "Running"}}
            await client.patch(PODS, PREFIX + "a", running, namespace=PLACE, subresource="status")
            error = await refusal(client.evict(PLACE, PREFIX + "a"))
            assert (error.status, error.reason) == (429, "TooManyRequests")
            found = await client.get(PODS, PREFIX + "a", PLACE)
            assert "deletionTimestamp" not in found["metadata"]

    play(cluster, test)


def test_the_pods_of_one_node_are_listed_and_watched(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        fields = f"spec.nodeName={PREFIX}n"
        async with nodes(client, "n", "m"):
            await client.create(PODS, pod("a", PREFIX + "n"), namespace=PLACE)
            await client.create(PODS, pod("b", PREFIX + "m"), namespace=PLACE)
            known: Informer[str] = Informer(
                client,
                PODS,
                SystemClock(),
                lambda found: found["metadata"]["name"],
                fields=fields,
                cached=True,
            )
            task = asyncio.create_task(known.run())
            await until(lambda: known.watches > 0)
            # A cached list may be old, but the watch goes on from where it was.
            await until(lambda: list(known.known.values()) == [PREFIX + "a"])
            await client.create(PODS, pod("c", PREFIX + "n"), namespace=PLACE)
            await client.create(PODS, pod("d", PREFIX + "m"), namespace=PLACE)
            await until(lambda: len(known.known) == 2)
            assert PREFIX + "c" in known.known.values()
            assert known.stale_since is None
            await client.delete(PODS, PREFIX + "a", PLACE, grace_seconds=0)
            await until(lambda: len(known.known) == 1)
            task.cancel()

    play(cluster, test)


def test_a_dry_run_answers_and_keeps_nothing(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        name = PREFIX + "a"
        async with nodes(client, "a"):
            found = await client.apply(NODES, name, labels(x="1"), manager="one", dry_run=True)
            assert labels_of(found) == {"example.org/x": "1"}
            assert labels_of(await client.get(NODES, name)) == {}

    play(cluster, test)


def test_only_the_object_of_that_uid_is_deleted(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        async with nodes(client, "a") as [made]:
            error = await refusal(client.delete(NODES, PREFIX + "a", uid="another"))
            assert error.conflict
            await client.delete(NODES, PREFIX + "a", uid=made["metadata"]["uid"])
            assert (await refusal(client.get(NODES, PREFIX + "a"))).not_found

    play(cluster, test)


def test_endpoint_slices_are_read_in_the_version_that_there_is(cluster: Cluster) -> None:
    async def test(client: KubeClient) -> None:
        page = await client.list_page(ENDPOINT_SLICES, namespace=PLACE)
        assert int(page.version) > 0

    play(cluster, test)
