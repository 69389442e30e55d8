"""Who is asked: the same objects while nobody comes or goes, and names that are learnt late."""

from collections.abc import Mapping
from pathlib import Path

from exporter.hostfs import HostFs
from exporter.interference.feeds import Feed, Feeds
from exporter.interference.model import ALL_JOBS, NODE, Subject
from exporter.interference.needs import Needs
from exporter.interference.roster import Roster
from exporter.testing import FakeClock
from exporter.usage.podnames import PodName
from exporter.usage.pods import Kubepods, Offline
from exporter.usage.series import Series
from exporter.usage.subjects import Subject as Cgroup
from tests.usage.cgroup_trees import machine

WEB, BATCH = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "ab")
ONLINE, OFFLINE = f"kubepods/burstable/pod{WEB}", f"kubepods/besteffort/pod{BATCH}"


class KnownNames:
    """Names that a test gives, whenever it does."""

    def __init__(self) -> None:
        self.pods: dict[str, PodName] = {}
        self.containers: Mapping[str, str] = {}
        self.changes = 0

    def name(self, uid: str, namespace: str, name: str) -> None:
        self.pods[uid] = PodName(namespace, name)
        self.changes += 1

    def refresh(self, now: float, incomplete: bool) -> None:
        pass


def node(folder: Path) -> HostFs:
    host = machine(folder, "v1")
    for path in (ONLINE, OFFLINE):
        for controller in ("cpu,cpuacct", "memory", "blkio", "pids"):
            made = host.cgroup / controller / path
            made.mkdir(parents=True)
            (made / "cpuacct.usage").write_text("1000000000\n")
            (made / "memory.usage_in_bytes").write_text("4096\n")
    return host


def roster(
    host: HostFs, names: KnownNames, jobs: tuple[str, ...] = (), clock: FakeClock | None = None
) -> Roster:
    offline = Offline(("kubepods/besteffort",))
    return Roster(Kubepods(host), offline, names, (clock or FakeClock()).monotonic, jobs)


def test_pods_jobs_applications_and_the_node_are_asked(tmp_path: Path) -> None:
    names = KnownNames()
    names.name(WEB, "shop", "web")
    found = roster(node(tmp_path), names, ("redis",)).subjects(("redis",), list)
    assert set(found) == {
        NODE,
        ALL_JOBS,
        Subject("app", "redis"),
        Subject("container", "/kernmesh/redis", work="online"),
        Subject("container", f"/{ONLINE}", "shop/web", WEB, "online"),
        Subject("container", f"/{OFFLINE}", "", BATCH, "offline"),
    }


def test_it_is_the_same_sequence_until_somebody_comes_or_goes(tmp_path: Path) -> None:
    names = KnownNames()
    made = roster(node(tmp_path), names)
    first = made.subjects((), list)
    assert made.subjects((), list) is first
    assert made.subjects(("redis",), list) is not first


def test_a_name_learnt_late_makes_nobody_another_while_something_is_going_on_with_him(
    tmp_path: Path,
) -> None:
    names = KnownNames()
    made = roster(node(tmp_path), names)
    nameless = next(each for each in made.subjects((), list) if each.uid == WEB)
    names.name(WEB, "shop", "web")
    assert nameless in made.subjects((), lambda: [nameless])
    names.changes += 1
    named = next(each for each in made.subjects((), list) if each.uid == WEB)
    assert named.pod == "shop/web"


def test_what_is_not_needed_is_not_read_and_what_is_needed_anew_is_at_the_next_reading(
    tmp_path: Path,
) -> None:
    host = node(tmp_path)
    kubepods = Kubepods(host)
    names = Roster(kubepods, Offline(("kubepods/besteffort",)), None, FakeClock().monotonic)
    feeds = Feeds(host, FakeClock(), kubepods, names, lambda program, name: None)
    reads = {source.name: source.make() for source in feeds.sources()}

    def measures() -> set[str]:
        values = {**reads["online cgroups"](0.0), **reads["offline cgroups"](0.0)}
        return {series.name for series in values}

    assert measures() == set()
    feeds.need(Needs(online=frozenset({"cpu_seconds"})))
    assert measures() == {f"cgroup/{ONLINE}.cpu_seconds"}
    feeds.need(Needs(offline=frozenset({"memory_bytes"})))
    assert measures() == {f"cgroup/{OFFLINE}.memory_bytes"}
    feeds.need(Needs())
    assert measures() == set()


def test_a_reader_that_is_exchanged_is_asked_of_nobody_once_so_that_it_closes_all() -> None:
    seen: list[list[str]] = []
    feed = Feed(lambda: (Cgroup("kubepods/pod", "online"),))

    def make(name: str) -> None:
        def read(now: float) -> Mapping[Series, float]:
            seen.append([name, *(each.path for each in feed.chosen())])
            return {}

        feed.want(name, lambda: read)

    make("one")
    feed(0.0)
    make("two")
    feed(1.0)
    assert seen == [["one", "kubepods/pod"], ["one"], ["two", "kubepods/pod"]]
