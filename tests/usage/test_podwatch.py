"""Names and classes of the own node's pods, as the API has them and while it has gone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from exporter.clock import SystemClock
from exporter.errors import KernmeshError
from exporter.hostfs import HostFs
from exporter.kube.access import Access
from exporter.kube.api import Object
from exporter.kube.client import KubeClient
from exporter.testing import FakeClock
from exporter.usage.classes import ClassUsage
from exporter.usage.podnames import PodName
from exporter.usage.pods import Kubepods, Labels, Offline, PodUsage
from exporter.usage.podwatch import KEPT_SECONDS, PodWatch
from exporter.usage.subjects import PodSubjects
from tests.agent.running import running
from tests.cluster.apiserver import ApiServer, api_server
from tests.cluster.faults import Fault
from tests.usage.cgroup_trees import Numbers, machine, pod_path, put, remove
from tests.web.serving import until

ANNOTATIONS = {"mixer.kubernetes.io/app-class": "greedy", "volcano.sh/preemptable": "true"}
GREEDY = {"mixer.kubernetes.io/app-class": "greedy"}
ID, ID2 = "3f" * 32, "4e" * 32
STATIC = "0123456789abcdef0123456789abcdef"
WATCHDOG_SECONDS = 60.0


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with api_server() as running_server:
        yield running_server


def pod(name: str, on: str = "here", ids: dict[str, str] | None = None, **meta: Any) -> Object:
    statuses = [{"name": each, "containerID": value} for each, value in (ids or {}).items()]
    return {
        "metadata": {"name": name} | meta,
        "spec": {"nodeName": on},
        "status": {"containerStatuses": statuses},
    }


def run_pod(server: ApiServer, body: Object) -> str:
    """Makes it, or has its kubelet tell of it anew; its uid."""
    made = server.put("pods", body, "shop")
    server.put_status("pods", body, "shop")
    uid: str = made["metadata"]["uid"]
    return uid


Test = Callable[[PodWatch, Offline, FakeClock], Awaitable[None]]


def play(server: ApiServer, test: Test) -> None:
    async def watched() -> None:
        clock, offline = FakeClock(), Offline(["kubepods/besteffort"])
        watch = PodWatch("here", clock, offline, ANNOTATIONS)
        client = KubeClient(Access("test", server.url), SystemClock())
        task = asyncio.create_task(watch.follow(client))
        try:
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await until(lambda: server.open_watches == 1)
                await test(watch, offline, clock)
        finally:
            task.cancel()
            await client.close()

    asyncio.run(watched())


def test_the_node_s_own_pods_and_containers_have_names(server: ApiServer) -> None:
    async def test(watch: PodWatch, offline: Offline, clock: FakeClock) -> None:
        uid = run_pod(server, pod("web-0", ids={"nginx": f"containerd://{ID}", "waits": ""}))
        run_pod(server, pod("elsewhere", on="there"))
        mirror = {"kubernetes.io/config.mirror": STATIC}
        run_pod(server, pod("etcd-here", ids={"etcd": f"cri-o://{ID2}"}, annotations=mirror))
        await until(lambda: len(watch.containers) == 2)
        assert watch.pods == {uid: PodName("shop", "web-0"), STATIC: PodName("shop", "etcd-here")}
        assert watch.containers == {ID: "nginx", ID2: "etcd"}
        assert offline.pods == frozenset()
        assert watch.problem == ""

    play(server, test)


def test_a_name_outlives_its_pod_until_its_cgroup_is_gone_too(server: ApiServer) -> None:
    async def test(watch: PodWatch, offline: Offline, clock: FakeClock) -> None:
        first = run_pod(server, pod("web-0"))
        await until(lambda: first in watch.pods)
        server.delete("pods", "web-0", "shop")
        second = run_pod(server, pod("web-0"))
        await until(lambda: second in watch.pods)
        assert watch.pods == dict.fromkeys((first, second), PodName("shop", "web-0"))
        clock.advance(KEPT_SECONDS)
        third = run_pod(server, pod("web-1"))
        await until(lambda: third in watch.pods)
        assert set(watch.pods) == {second, third}

    play(server, test)


def test_what_was_known_stays_while_the_api_is_away_and_what_is_new_has_no_name(
    server: ApiServer,
) -> None:
    async def test(watch: PodWatch, offline: Offline, clock: FakeClock) -> None:
        known = run_pod(server, pod("web-0", annotations=GREEDY))
        await until(lambda: known in watch.pods)
        fault = server.fail(Fault("status", 503, "ServiceUnavailable"))
        server.cut_watches()
        await until(lambda: fault.met > 0 and bool(watch.problem))
        new = run_pod(server, pod("web-1"))
        assert "usage.pods.names: api: pods that are new have no names: " in watch.problem
        assert set(watch.pods) == {known}
        assert offline.pods == {known}
        server.well()
        await until(lambda: new in watch.pods)
        assert watch.problem == ""

    play(server, test)


@pytest.mark.parametrize(
    ("annotations", "offline"),
    [
        (GREEDY, True),
        ({"volcano.sh/preemptable": "true"}, True),
        ({"volcano.sh/preemptable": "false"}, False),
        ({"mixer.kubernetes.io/app-class": "online"}, False),
        ({}, False),
    ],
)
def test_annotations_say_which_pods_are_offline(
    server: ApiServer, annotations: dict[str, str], offline: bool
) -> None:
    async def test(watch: PodWatch, known: Offline, clock: FakeClock) -> None:
        uid = run_pod(server, pod("web-0", annotations=annotations))
        await until(lambda: uid in watch.pods)
        assert known.pods == ({uid} if offline else frozenset())

    play(server, test)


def test_a_pod_s_class_and_names_follow_what_the_api_says(
    server: ApiServer, tmp_path: Path
) -> None:
    host = machine(tmp_path, "v2")

    async def test(watch: PodWatch, offline: Offline, clock: FakeClock) -> None:
        kubepods = Kubepods(host)
        usage = PodUsage(kubepods, watch, offline)
        subjects = PodSubjects(kubepods, offline, clock.monotonic)

        def labels() -> set[Labels]:
            return {row.container.labels for row in usage.rows(clock.monotonic())}

        uid = run_pod(server, pod("web-0", ids={"nginx": f"containerd://{ID}"}))
        put(host, "v2", f"{pod_path('systemd', 'burstable', uid)}/cri-{ID}.scope", Numbers())
        await until(lambda: ID in watch.containers)
        assert labels() == {Labels("shop", "web-0", "nginx", "burstable", "online")}
        assert [each.kind for each in subjects()] == ["online"]
        run_pod(server, pod("web-0", ids={"nginx": f"containerd://{ID}"}, annotations=GREEDY))
        await until(lambda: bool(offline.pods))
        assert labels() == {Labels("shop", "web-0", "nginx", "burstable", "offline")}
        assert [each.kind for each in subjects()] == ["offline"]

    play(server, test)


def cpu(usage: ClassUsage, now: float) -> dict[str, float]:
    return {
        series.name.partition(".")[0].removeprefix("class/"): value
        for series, value in usage.read(now).items()
        if series.name.endswith(".cpu_seconds")
    }


def test_classes_count_single_pods_from_the_start_and_never_fall(tmp_path: Path) -> None:
    host = machine(tmp_path, "v2")
    offline = Offline(["kubepods/besteffort"])
    usage = ClassUsage(Kubepods(host), offline, FakeClock(), annotated=True)
    one = "0c9f1b2e-6f3a-4d1e-9d7c-1f2e3d4c5b6a"
    path = pod_path("cgroupfs", "burstable", one)

    def at(now: float, whole: int, besteffort: int, single: int | None) -> dict[str, float]:
        put(host, "v2", "kubepods", Numbers(cpu_us=whole * 1_000_000))
        put(host, "v2", "kubepods/besteffort", Numbers(cpu_us=besteffort * 1_000_000))
        if single is not None:
            put(host, "v2", path, Numbers(cpu_us=single * 1_000_000))
        return cpu(usage, now)

    assert at(0, 100, 10, 5) == {"online": 0.0, "offline": 0.0}
    assert at(20, 110, 12, 6) == {"online": 8.0, "offline": 2.0}
    offline.pods = frozenset({one})  # what it used before was online
    assert at(40, 120, 12, 9) == {"online": 18.0, "offline": 2.0}
    assert at(60, 130, 12, 14) == {"online": 23.0, "offline": 7.0}
    remove(host, path)
    assert at(80, 131, 12, None) == {"online": 24.0, "offline": 7.0}
    assert at(100, 132, 13, None) == {"online": 24.0, "offline": 8.0}


def test_without_a_way_to_ask_that_is_said_once_and_looked_for_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers: list[Access | KernmeshError] = [
        KernmeshError("no access to the Kubernetes API"),
        KernmeshError("no access to the Kubernetes API"),
        Access("test", "http://127.0.0.1:1"),
    ]
    pauses: list[float] = []

    def access() -> Access:
        answer = answers.pop(0)
        if isinstance(answer, KernmeshError):
            raise answer
        return answer

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        assert watch.problem.endswith("have no names: no access to the Kubernetes API")

    watch = PodWatch("here", FakeClock(), Offline([]), {}, access=access, pause=pause)

    async def watched() -> None:
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await until(lambda: not answers and "127.0.0.1:1" in watch.problem)
        task.cancel()

    asyncio.run(watched())
    assert pauses == [60.0, 60.0]
    assert [r.message for r in caplog.records if "no access" in r.message] == [
        "usage.pods.names: api: pods that are new have no names: no access to the Kubernetes API"
    ]


def test_an_agent_names_its_pods_by_the_api(server: ApiServer, tmp_path: Path) -> None:
    host: HostFs = machine(tmp_path / "host", "v2")
    uid = run_pod(server, pod("web-0", ids={"nginx": f"containerd://{ID}"}, annotations=GREEDY))
    put(host, "v2", f"{pod_path('cgroupfs', 'burstable', uid)}/{ID}", Numbers())
    config = tmp_path / "agent.yaml"
    config.write_text(
        "ebpf: {programs: []}\nusage: {state_dir: null, pods: {names: api}}\n"
        "pressure: {node: here}\n"
    )
    paths = (
        f"--path.procfs={host.proc}",
        f"--path.sysfs={host.sys}",
        f"--path.cgroupfs={host.cgroup}",
        f"--path.rootfs={host.root}",
    )
    kubeconfig = server.kubeconfig(tmp_path)
    wanted = (
        f'kernmesh_container_info{{class="offline",container="nginx",id="{ID}",'
        f'namespace="shop",pod="web-0",qos="burstable",uid="{uid}"}}'
    )
    until_then = monotonic() + WATCHDOG_SECONDS
    prefix = ("env", f"KUBECONFIG={kubeconfig}")
    with running("--config", config, *paths, prefix=prefix) as agent:
        while wanted not in agent.samples(["kernmesh_container_info"]):
            assert monotonic() < until_then
        assert agent.stop() == 0
        assert "Traceback" not in agent.log
    path = next(path for _, path, _ in server.requests if "/pods" in path)
    assert "fieldSelector=spec.nodeName%3Dhere" in path
