"""Views over a store: what each signal is reckoned of, and the same live as in replay."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from exporter.config.agent import Usage
from exporter.interference.model import NODE, Subject
from exporter.interference.signals import Devices, signal_of
from exporter.interference.variables import VARIABLES
from exporter.interference.views import (
    Moment,
    Names,
    SubjectView,
    at_row,
    live,
    replay,
    subjects_in,
)
from exporter.testing import FakeClock, fake_host
from exporter.usage import store as stores
from exporter.usage.history import History
from exporter.usage.series import Series, Source, TierName
from exporter.usage.store import Now, Store

POD = Subject("container", "/kubepods/burstable/pod1", work="online")
THING = "cgroup/kubepods/burstable/pod1"
SHOP = Subject("app", "shop")


def counter(name: str) -> Series:
    return Series(name, "counter")


def gauge(name: str) -> Series:
    return Series(name, "gauge")


def filled(rows: Sequence[Mapping[Series, float]], step: float = 1.0) -> Store:
    found = stores.in_memory(step, 900.0, Now(0.0, 0.0, "boot"))
    for at, values in enumerate(rows, 1):
        found.put(at * step, 0.0, values)
    return found


def newest(found: Store, subject: Subject) -> SubjectView:
    return at_row(found, found.end - 1, Names()).view(subject)


def two(*pairs: tuple[Series, float, float]) -> Store:
    """Two rows two seconds apart."""
    rows = [{series: values[at] for series, *values in pairs} for at in (0, 1)]
    return filled(rows, 2.0)


CASES: tuple[tuple[Subject, str, Store, float | None], ...] = (
    (NODE, "cpu_total", two((counter("node.cpu.busy_seconds"), 5, 8)), 1.5),
    (
        NODE,
        "cpu_avg",
        two((counter("node.cpu.busy_seconds"), 5, 8), (gauge("node.cpu.online"), 2, 2)),
        0.75,
    ),
    (NODE, "load_1min", two((gauge("node.load.1m"), 1, 3)), 3.0),
    (
        NODE,
        "memory_usage_total",
        two((gauge("node.mem.total_bytes"), 8, 8), (gauge("node.mem.available_bytes"), 5, 6)),
        2.0,
    ),
    (NODE, "psi_io_full", two((counter("node.psi.io.full_seconds"), 1, 2)), 0.5),
    (NODE, "diskio_util[vda]", two((counter("node.disk/vda.busy_seconds"), 1, 9)), 1.0),
    (NODE, "diskio_read_kibps[vda]", two((counter("node.disk/vda.read_bytes"), 0, 4096)), 2.0),
    (NODE, "netio_sent_kbps[eth0]", two((counter("node.net/eth0.transmit_bytes"), 0, 1000)), 4.0),
    (NODE, "diskio_util[sda]", two((counter("node.disk/vda.busy_seconds"), 1, 2)), None),
    (  # without a device: the one that has most
        NODE,
        "diskio_util",
        two(
            (counter("node.disk/vda.busy_seconds"), 1, 1.5),
            (counter("node.disk/vdb.busy_seconds"), 1, 2),
        ),
        0.5,
    ),
    (
        NODE,
        "diskio_await[vda]",
        two(
            (counter("node.disk/vda.read_seconds"), 1, 1.4),
            (counter("node.disk/vda.write_seconds"), 1, 1.6),
            (counter("node.disk/vda.reads"), 10, 60),
            (counter("node.disk/vda.writes"), 10, 60),
        ),
        10.0,
    ),
    (POD, "cpu_usage", two((counter(f"{THING}.cpu_seconds"), 1, 4)), 1.5),
    (POD, "cpu_usage", two((counter("cgroup/other.cpu_seconds"), 1, 4)), None),
    (POD, "cpu_usage", two((counter(f"{THING}.cpu_seconds"), 4, 1)), None),  # began anew
    (POD, "memory_cache_usage", two((gauge(f"{THING}.cache_bytes"), 1, 4)), 4.0),
    (POD, "psi_cpu_full", two((counter(f"{THING}.cpu_full_seconds"), 1, 1.5)), 0.25),
    (POD, "cpu_throttled_ratio", two((counter(f"{THING}.throttled_seconds"), 1, 9)), 1.0),
    (
        POD,
        "read_latency",
        two(
            (counter(f"{THING}.read_service_seconds"), 0, 1),
            (counter(f"{THING}.read_ios"), 0, 100),
        ),
        10.0,
    ),
    (
        POD,
        "io_wait_each",
        two(
            (counter(f"{THING}.io_some_seconds"), 0, 1),
            (counter(f"{THING}.read_ios"), 0, 300),
            (counter(f"{THING}.written_ios"), 0, 200),
        ),
        2.0,
    ),
    (
        POD,
        "slowed_by_offline",
        two(
            (counter(f"{THING}.waited_for_offline_seconds"), 0, 0.1),
            (counter(f"{THING}.cpu_seconds"), 0, 0.25),
        ),
        0.4,
    ),
    (
        POD,  # as if it used 0.05 cores
        "slowed_by_offline",
        two(
            (counter(f"{THING}.waited_for_offline_seconds"), 0, 0.01),
            (counter(f"{THING}.cpu_seconds"), 0, 0.001),
        ),
        0.1,
    ),
    (POD, "offline_cpu", two((counter("class/offline.cpu_seconds"), 1, 3)), 1.0),
    (
        Subject("app", "redis"),
        "offline_cpu",
        two((counter("class/offline.cpu_seconds"), 1, 3)),
        1.0,
    ),
    (
        POD,
        "waited_behind[kubepods/offline/a]",
        two((counter(f"{THING}//kubepods/offline/a.waited_seconds"), 0, 0.5)),
        0.25,
    ),
    (
        POD,
        "cpi",
        two((counter(f"{THING}.cycles"), 0, 30), (counter(f"{THING}.instructions"), 0, 20)),
        1.5,
    ),
    (
        SHOP,
        "slack[p99]",
        two((gauge("slo/shop:p99.value"), 9, 12), (gauge("slo/shop:p99.objective"), 10, 10)),
        -0.2,
    ),
    (
        SHOP,
        "slack",
        two(
            (gauge("slo/shop:p99.value"), 9, 5),
            (gauge("slo/shop:p99.objective"), 10, 10),
            (gauge("slo/shop:errors.value"), 9, 8),
            (gauge("slo/shop:errors.objective"), 10, 10),
            (gauge("slo/mail:p99.value"), 9, 99),
            (gauge("slo/mail:p99.objective"), 10, 10),
        ),
        0.2,
    ),
    (
        SHOP,
        "slo_min",
        two((gauge("slo/mail:p99.value"), 9, 12), (gauge("slo/mail:p99.objective"), 10, 10)),
        -0.2,
    ),
    (SHOP, "value[p99]", two((gauge("slo/shop:p99.value"), 9, 12)), 12.0),
)


@pytest.mark.parametrize(
    ("subject", "signal", "found", "value"), CASES, ids=[f"{c[1]}-{n}" for n, c in enumerate(CASES)]
)
def test_a_signal_is_reckoned_of_its_series(
    subject: Subject, signal: str, found: Store, value: float | None
) -> None:
    view = newest(found, subject)
    if value is None:
        assert view.value(signal) is None
    else:
        assert view.value(signal) == pytest.approx(value)
        # the window ends with what the value is, in one way of reckoning
        assert list(view.window(signal, 10.0).values)[-1:] == pytest.approx([value])


def test_every_variable_has_a_way_to_be_read() -> None:
    devices = Devices(("vda",), ("eth0",))
    subjects = {"node": NODE, "container": POD, "app": SHOP}
    for variable in VARIABLES:
        found = signal_of(subjects[variable.scope], variable.name, devices, ["shop:p99"])
        assert found is not None, variable.name
        if variable.per_device:
            part = "p99" if variable.scope == "app" else devices.disks[0]
            key = f"{variable.name}[{part}]"
            assert signal_of(subjects[variable.scope], key, devices, ["shop:p99"]) is not None


def test_a_moment_stays_where_it_was_made() -> None:
    series = counter(f"{THING}.cpu_seconds")
    found = filled([{series: float(at)} for at in range(10)])
    view = newest(found, POD)
    found.put(11.0, 0.0, {series: 100.0})
    assert view.value("cpu_usage") == 1.0
    assert list(view.window("cpu_usage", 3.0).elapsed) == [9.0, 10.0, 11.0]


def test_a_gap_is_missing_and_what_is_before_it_stays_known() -> None:
    series = counter(f"{THING}.cpu_seconds")
    rows: list[dict[Series, float]] = [{series: float(at)} for at in range(8)]
    rows[4] = {}
    view = newest(filled(rows), POD)
    # the fourth is missing, and so is the delta of the one after it
    assert list(view.window("cpu_usage", 100.0).values) == [1.0] * 5


def ramp(now: float) -> Mapping[Series, float]:
    return {
        counter(f"{THING}.cpu_seconds"): now**1.5,
        gauge(f"{THING}.memory_bytes"): now,
        counter("node.disk/vda.busy_seconds"): now / 3,
    }


def test_live_and_in_replay_the_same_ticks_say_the_same(tmp_path: Path) -> None:
    clock = FakeClock()
    sources = [Source("ramp", ("fast",), lambda: ramp)]
    settings = Usage(state_dir=str(tmp_path))
    history = History(clock, fake_host(tmp_path / "host", {}), settings, sources)
    history.begin()
    names, said = Names(), []
    asked = ("cpu_usage", "memory_total_usage", "psi_cpu_some")

    def answers(moment: Moment) -> list[object]:
        view, node = moment.view(POD), moment.view(NODE)
        return [
            moment.now,
            [view.value(each) for each in asked],
            [view.window(each, 5.0) for each in asked],
            node.devices(),
            node.window("diskio_util[vda]", 5.0),
        ]

    for _ in range(20):
        clock.advance(1.0)
        history.tick("fast")
        moment = live(history, names)
        assert moment is not None
        said.append(answers(moment))
    recorded = stores.read_file(tmp_path / "fast.usage")  # as it is on disk
    assert [answers(moment) for moment in replay(recorded)] == said
    history.close()


def test_what_only_the_slow_tier_has_is_read_there_in_the_fast_ones_time(tmp_path: Path) -> None:
    clock = FakeClock()

    def source(name: str, tier: TierName, series: Series) -> Source:
        return Source(name, (tier,), lambda: lambda now: {series: now})

    sources = [
        source("quick", "fast", counter("node.cpu.busy_seconds")),
        source("lazy", "slow", gauge("node.load.1m")),
    ]
    history = History(clock, fake_host(tmp_path, {}), Usage(state_dir=None), sources)
    history.begin()
    assert live(history, Names()) is None
    for second in range(1, 15):
        clock.advance(1.0)
        if second in (2, 12):
            history.tick("slow")
        history.tick("fast")
    moment = live(history, Names())
    assert moment is not None
    window = moment.view(NODE).window("load_1min", 60.0)
    assert [moment.now - at for at in window.elapsed] == [12.0, 2.0]
    assert moment.view(NODE).value("load_1min") == window.values[-1]
    clock.advance(60.0)
    history.tick("fast")
    stale = live(history, Names())
    assert stale is not None
    assert stale.view(NODE).value("load_1min") is None
    history.close()
    assert live(history, Names()) is None


def test_a_recordings_subjects_are_its_cgroups() -> None:
    series = [
        counter("cgroup/kubepods/offline/a.cpu_seconds"),
        gauge("cgroup/kubepods/offline/a.pids"),
        counter("cgroup/kubepods/pod1.cpu_seconds"),
        counter("cgroup/kubepods/pod1//kubepods/offline/a.waited_seconds"),
        counter("cgroup/kubepods.psi.cpu.some_seconds"),
        counter("node.cpu.busy_seconds"),
    ]
    found = subjects_in(series, lambda path: "offline" in path)
    assert [(each.name, each.work) for each in found] == [
        ("/kubepods/offline/a", "offline"),
        ("/kubepods/pod1", "online"),
    ]


def test_applications_are_the_jobs_that_tell_of_themselves() -> None:
    found = two((gauge("slo/shop:p99.value"), 9, 9), (gauge("slo/shop:errors.value"), 1, 1))
    moment = at_row(found, found.end - 1, Names())
    assert moment.applications() == [Subject("app", "shop", work="online")]
