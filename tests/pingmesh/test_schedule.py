"""When probes are due: evenly, never under the floor."""

from hypothesis import given
from hypothesis import strategies as st

from pingmesh.pinglist import SHORTEST_INTERVAL
from pingmesh.schedule import Plan, next_start, plan, resume

COUNTS = st.integers(1, 500)
INTERVALS = st.floats(10, 600)
STARTS = st.floats(0, 1e6)


@given(STARTS, COUNTS, INTERVALS)
def test_sends_are_spread_evenly_over_the_interval(
    start: float, count: int, interval: float
) -> None:
    made = plan(start, count, interval, 1e9)
    gaps = [made.due_at(i + 1) - made.due_at(i) for i in range(count - 1)]
    assert all(abs(gap - interval / count) <= 0.01 * interval / count + 1e-6 for gap in gaps)
    assert start <= made.due_at(count - 1) < start + interval


@given(STARTS, COUNTS, INTERVALS, st.floats(-1, 1.5))
def test_what_is_due_is_what_has_its_time_behind_it(
    start: float, count: int, interval: float, share: float
) -> None:
    made = plan(start, count, interval, 1e9)
    now = start + share * interval
    assert made.due(now) == sum(made.due_at(i) <= now for i in range(count))


def test_an_empty_round_has_nothing_due() -> None:
    assert Plan(0.0, 10.0, 0).due(5.0) == 0


def test_a_rate_that_is_not_allowed_stretches_the_round() -> None:
    assert plan(0.0, 100_000, 10.0, 2000.0).period == 50.0


def test_an_interval_under_the_floor_is_not_taken() -> None:
    assert plan(0.0, 1, 1.0, 2000.0).period == SHORTEST_INTERVAL


@given(COUNTS, INTERVALS, st.data())
def test_no_pair_is_probed_sooner_than_the_floor_however_late_a_round_is(
    count: int, interval: float, data: st.DataObject
) -> None:
    made = plan(100.0, count, interval, 1e9)
    late = 0.0
    sent: list[float] = []
    for index in range(count):
        late_here = data.draw(st.floats(0, 30))
        at = max(made.due_at(index) + late_here, sent[-1] if sent else 0.0)
        late = max(late, at - made.due_at(index))
        sent.append(at)
    after = made._replace(start=next_start(made, late, sent[-1]))
    assert after.start >= sent[-1]
    for index in range(count):
        assert after.due_at(index) - sent[index] >= SHORTEST_INTERVAL - 1e-6


def test_a_round_in_time_is_followed_after_its_period() -> None:
    made = plan(100.0, 10, 60.0, 1e9)
    assert next_start(made, 0.005, 154.1) == 160.0


@given(
    st.lists(st.integers(0, 50), unique=True, min_size=1, max_size=30),
    st.dictionaries(st.integers(0, 50), st.floats(900, 1000), max_size=30),
)
def test_a_changed_list_keeps_the_floor_of_pairs_that_stay(
    keys: list[int], last_sent: dict[int, float]
) -> None:
    order, made = resume(keys, last_sent, plan(1000.0, len(keys), 10.0, 1e9))
    assert sorted(order) == list(range(len(keys)))
    assert made.start >= 1000.0
    for position, index in enumerate(order):
        if keys[index] in last_sent:
            gap = made.due_at(position) - last_sent[keys[index]]
            assert gap >= SHORTEST_INTERVAL - 1e-6


def test_one_target_more_does_not_stop_the_others() -> None:
    first = plan(1000.0, 100, 10.0, 1e9)
    last_sent = {f"h{index}": first.due_at(index) for index in range(100)}
    _, made = resume([*last_sent, "new"], last_sent, plan(1010.0, 101, 10.0, 1e9))
    assert made.start <= 1010.1
