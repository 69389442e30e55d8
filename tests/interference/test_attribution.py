"""Suspects ranked: tables of a victim's pain and others' usage; and whether it got better."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.interference.attribution import rank, recovered, resource_of
from exporter.interference.model import Finding, Subject
from exporter.interference.variables import VARIABLES
from tests.interference.windows import NOW, TableView

VICTIM = Subject("container", "/online/v", work="online")
QUIET, HURT = 60, 10
PAIN = [0.01] * QUIET + [0.5] * HURT
SINCE = NOW - HURT + 1
FINDING = Finding("psi_cpu_full", 0.5, 0.15, "ratio", SINCE, "")

Series = list[float]


def offline(name: str, **signals: Series) -> TableView:
    return TableView(signals, Subject("container", f"/offline/{name}", work="offline"))


def cpu(name: str, before: float, during: float) -> TableView:
    return offline(name, cpu_usage=[before] * QUIET + [during] * HURT)


def names(victim: TableView, finding: Finding, *suspects: TableView) -> list[str]:
    return [each.subject.name.rpartition("/")[2] for each in rank(victim, finding, suspects)]


@pytest.mark.parametrize(
    ("others", "first"),
    [
        ([("late", 0.0, 1.5), ("steady", 0.5, 0.5)], "late"),
        ([("late", 0.1, 1.5), ("greater but steady", 2.0, 2.0)], "late"),
        # a small one that came at the same moment is not the one
        ([("small", 0.0, 0.02), ("late", 0.0, 1.5), ("steady", 0.5, 0.5)], "late"),
        # all of them were there before: the one that uses most
        ([("a", 0.2, 0.2), ("b", 1.4, 1.4), ("c", 0.0, 0.0)], "b"),
        # one that ended when the pain began has an alibi
        ([("ended", 2.0, 0.0), ("late", 0.0, 0.5)], "late"),
    ],
)
def test_the_first_suspect(others: list[tuple[str, float, float]], first: str) -> None:
    victim = TableView({"psi_cpu_full": PAIN}, VICTIM)
    assert names(victim, FINDING, *(cpu(*other) for other in others))[0] == first


def test_who_held_the_cpu_counts_for_more_than_who_used_more() -> None:
    busy, guilty = cpu("busy", 0.2, 1.0), cpu("guilty", 0.2, 0.9)
    table = {
        "psi_cpu_full": PAIN,
        "waited_behind[offline/guilty]": [0.0] * QUIET + [0.3] * HURT,
        "waited_behind[offline/busy]": [0.0] * QUIET + [0.01] * HURT,
        "preempted_by[offline/guilty]": [0.0] * QUIET + [7.0] * HURT,
    }
    first, second = rank(TableView(table, VICTIM), FINDING, [busy, guilty])
    assert first.subject.name == "/offline/guilty"
    assert first.preemptions == 70.0
    assert second.preemptions is None
    assert "300 ms/s while it held the CPU; took its CPU 70 times" in first.evidence
    assert 1 >= first.score > second.score > 0


def test_correlation_is_as_cpi2_has_it() -> None:
    """Of one suspect alone the share is 1: what is left is the paper's sum."""
    victim = TableView({"psi_cpu_full": [0.1, 0.4]}, VICTIM)
    finding = Finding("psi_cpu_full", 0.4, 0.2, "ratio", NOW, "")
    (suspect,) = rank(victim, finding, [offline("a", cpu_usage=[1.0, 3.0])])
    assert suspect.score == pytest.approx(0.25 * (0.1 / 0.2 - 1) + 0.75 * (1 - 0.2 / 0.4))


def test_a_quantile_is_compared_with_what_was_usual_of_its_signal() -> None:
    """runq finds seconds of a wait; the signal is seconds waited per second."""
    victim = TableView({"waited_for_offline": [0.01] * QUIET + [0.05] * HURT}, VICTIM)
    finding = Finding("waited_for_offline", 0.0017, 0.0005, "seconds", SINCE, "")
    assert names(victim, finding, cpu("steady", 0.2, 0.2), cpu("late", 0.0, 1.5))[0] == "late"


@pytest.mark.parametrize(
    ("signal", "guilty"),
    [
        ("psi_io_some", offline("x", cpu_usage=[0.0] * 70, write_bps=[0.0] * 60 + [3e8] * 10)),
        ("psi_memory_some", offline("x", memory_total_usage=[1e8] * 60 + [5e8, 9e8] * 5)),
        ("psi_memory_some", offline("x", psi_memory_some=[0.0] * 60 + [0.8] * 10)),
        ("slack", offline("x", cpu_usage=[0.0] * 60 + [1.5] * 10)),
    ],
)
def test_the_usage_that_fits_the_pain(signal: str, guilty: TableView) -> None:
    lower = signal == "slack"
    pain = [1 - value for value in PAIN] if lower else PAIN
    finding = Finding(signal, pain[-1], 0.7 if lower else 0.15, "ratio", SINCE, "")
    steady = offline(
        "steady",
        cpu_usage=[0.3] * 70,
        read_bps=[1e7] * 70,
        write_bps=[1e7] * 70,
        memory_total_usage=[4e9] * 70,
        psi_memory_some=[0.01] * 70,
    )
    victim = TableView({signal: pain}, VICTIM)
    assert names(victim, finding, steady, guilty)[0] == "x"


def test_a_fork_storm_is_told_by_its_forks_and_a_shell_script_by_nothing() -> None:
    storm = offline(
        "storm", cpu_usage=[0.1] * QUIET + [0.6] * HURT, forks=[0.0] * 60 + [1500.0] * 10
    )
    script = offline(
        "script", cpu_usage=[0.1] * QUIET + [0.7] * HURT, forks=[0.0] * 60 + [5.0] * 10
    )
    first, second = rank(TableView({"psi_cpu_full": PAIN}, VICTIM), FINDING, [script, storm])
    assert (first.subject.name, first.signal) == ("/offline/storm", "forks")
    assert (second.subject.name, second.signal) == ("/offline/script", "cpu_usage")


def test_nobody_is_suspected_where_nothing_is_known() -> None:
    assert rank(TableView({}, VICTIM), FINDING, [cpu("a", 1, 1)]) == []
    assert rank(TableView({"psi_cpu_full": PAIN}, VICTIM), FINDING, [offline("a")]) == []
    assert rank(TableView({"psi_cpu_full": PAIN}, VICTIM), FINDING, []) == []


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=30),
    st.lists(st.floats(0, 64), min_size=2, max_size=30),
    st.floats(0.001, 1),
)
def test_scores_are_between_minus_one_and_one(pain: Series, used: Series, limit: float) -> None:
    finding = Finding("psi_cpu_full", 1.0, limit, "ratio", NOW - 5, "")
    victim = TableView({"psi_cpu_full": pain}, VICTIM)
    for suspect in rank(victim, finding, [offline("a", cpu_usage=used), cpu("b", 0.5, 0.5)]):
        assert -1 <= suspect.score <= 1


def test_every_variable_of_node_and_container_is_about_a_resource() -> None:
    about = {v.name: resource_of(v.name) for v in VARIABLES if v.scope != "app"}
    unknown = {name for name, resource in about.items() if resource is None}
    assert unknown == {"forks", "nr_cpu_throttled", "nr_processes", "offline_cpu", "offline_io_bps",
                       "offline_memory"}  # fmt: skip


@pytest.mark.parametrize(
    ("values", "better"),
    [
        ([0.02] * 30 + [0.5] * 10 + [0.05] * 6, True),
        ([0.02] * 30 + [0.5] * 10 + [0.45] * 6, False),
        ([0.02] * 30 + [0.5] * 10 + [0.5, 0.4, 0.02, 0.02, 0.02, 0.02], True),  # two to settle
        ([0.02] * 30 + [0.5] * 10 + [0.05] * 6, True),
        ([0.5] * 40 + [0.05] * 6, True),  # nothing is known from before
        ([0.5] * 40 + [0.4] * 6, False),
    ],
)
def test_recovered(values: Series, better: bool) -> None:
    finding = Finding("psi_cpu_full", 0.5, 0.15, "ratio", NOW - 15, "")
    assert recovered(TableView({"psi_cpu_full": values}, VICTIM), finding, NOW - 6) is better


def test_it_cannot_be_told_too_soon_or_without_readings() -> None:
    finding = Finding("psi_cpu_full", 0.5, 0.15, "ratio", NOW - 15, "")
    view = TableView({"psi_cpu_full": [0.5] * 30}, VICTIM)
    assert recovered(view, finding, NOW - 3) is None
    assert recovered(TableView({}, VICTIM), finding, NOW - 10) is None


def test_where_less_is_worse_more_is_better() -> None:
    finding = Finding("slack", -0.5, 0.0, "ratio", NOW - 15, "")
    for slack, better in ((0.4, True), (-0.4, False)):
        view = TableView({"slack": [0.5] * 30 + [-0.5] * 10 + [slack] * 6}, VICTIM)
        assert recovered(view, finding, NOW - 6) is better
