"""Windows that move along give at every tick what the pure ones give over the same rows."""

from array import array
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.usage import window
from exporter.usage.running import Extreme, Mean, Quantile, Running, Trailing
from exporter.usage.series import Series
from exporter.usage.store import Now, Store, in_memory
from exporter.usage.window import Window

GAUGE = Series("node.x.usage", "gauge")
START = Now(0.0, 0.0, "")
Pure = Callable[[Window], float | None]
KINDS: list[tuple[Callable[[], Running], Pure]] = [
    (Mean, window.mean),
    (lambda: Extreme(1), window.maximum),
    (lambda: Extreme(-1), window.minimum),
    (lambda: Quantile(0.95), lambda asked: window.quantile(asked, 0.95)),
]
TICKS = st.lists(
    st.tuples(
        st.floats(0.5, 100.0),
        st.one_of(st.none(), st.floats(0, 100, width=32), st.sampled_from([0.0, 50.0, 100.0])),
    ),
    max_size=80,
)


def check(store: Store, kinds: list[tuple[Trailing, Pure]], ticks: list[tuple[float, float | None]],
          at: float, seconds: float) -> float:  # fmt: skip
    for step, value in ticks:
        at += step
        value = None if value is None else array("f", [value])[0]
        answers = [trailing.advance(store.elapsed_at(at), value) for trailing, _ in kinds]
        store.put(at, 0.0, {} if value is None else {GAUGE: value})
        asked = store.window(GAUGE, seconds)
        for answer, (_, pure) in zip(answers, kinds, strict=True):
            want = pure(asked)
            assert answer == (want if want is None else pytest.approx(want, abs=1e-6))
    return at


@settings(deadline=None, max_examples=150)
@given(before=TICKS, after=TICKS, seconds=st.sampled_from([5.0, 60.0, 300.0, 1000.0]))
def test_whatever_the_ticks_and_wherever_it_begins(
    before: list[tuple[float, float | None]],
    after: list[tuple[float, float | None]],
    seconds: float,
) -> None:
    store = in_memory(10.0, 300.0, START)  # 47 rows: the longer windows are overwritten
    store.keep([GAUGE])
    at = 0.0
    for ticks in (before, after):  # the second over what the first has left: a restart
        kinds = [(Trailing(store, GAUGE, seconds, make()), pure) for make, pure in KINDS]
        at = check(store, kinds, ticks, at, seconds)
    store.close()


def test_a_sum_that_had_large_values_in_it_forgets_them_without_a_trace() -> None:
    mean = Mean()
    mean.add(0, 0.1)
    for row in range(1, 1000):
        mean.add(row, 1e12 + row / 3)
    for row in range(1, 1000):
        mean.drop(row, 1e12 + row / 3)
    assert mean.answer() == pytest.approx(0.1, abs=1e-7)
