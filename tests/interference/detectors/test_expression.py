"""expression: tables of windows to findings."""

import pytest

from exporter.errors import NoData
from exporter.interference.detectors.expression import Expression
from exporter.interference.expression import parse
from tests.interference.windows import NOW, TableView, every

HIGH, LOW = 0.95, 0.5


@pytest.mark.parametrize(
    ("count", "duration", "samples", "since"),
    [
        (None, None, [LOW, HIGH], NOW),
        (1, None, [HIGH, HIGH], NOW),
        (3, None, [LOW, HIGH, HIGH], None),
        (3, None, [LOW, HIGH, HIGH, HIGH], NOW - 2),
        (3, None, [HIGH, HIGH, LOW, HIGH], None),
        (3, None, [HIGH, HIGH, None, HIGH], NOW - 3),  # one reading was missed
        (None, 2.0, [LOW, HIGH, HIGH], None),
        (None, 2.0, [LOW, HIGH, HIGH, HIGH], NOW - 2),
        (5, 2.0, [HIGH, HIGH, HIGH], NOW - 2),  # either of the two
        (2, 60.0, [LOW, HIGH, HIGH], NOW - 1),
        (1, None, [HIGH, LOW], None),
    ],
)
def test_it_fires_after_so_many_samples_or_so_long(
    count: int | None,
    duration: float | None,
    samples: list[float | None],
    since: float | None,
) -> None:
    detector = Expression(parse("cpu_avg > 0.9"), count, duration)
    finding = detector.evaluate(TableView({"cpu_avg": samples}))
    assert (None if finding is None else finding.since) == since


def test_the_finding_says_what_was_compared_with_what() -> None:
    detector = Expression(parse("cpu_avg > 0.9 && cpu_total >= 3"), 2)
    finding = detector.evaluate(TableView({"cpu_avg": [0.95, 0.96], "cpu_total": [3.9, 4.0]}))
    assert finding is not None
    assert finding[:4] == ("cpu_avg", 0.96, 0.9, "ratio")
    assert "cpu_avg 0.96" in finding.text
    assert "cpu_total 4" in finding.text
    assert "1 s" in finding.text


def test_what_cannot_be_told_is_no_answer_and_says_what_is_missing() -> None:
    detector = Expression(parse("cpu_avg > 0.9 && cpu_steal_total > 1"))
    with pytest.raises(NoData, match="cpu_steal_total"):
        detector.evaluate(TableView({"cpu_avg": [HIGH]}))
    # but what does not matter need not be known
    assert detector.evaluate(TableView({"cpu_avg": [LOW]})) is None


def test_a_gap_between_samples_breaks_the_run() -> None:
    known = every(1.0, [HIGH] * 3 + [None] * 20 + [HIGH] * 3)
    detector = Expression(parse("cpu_avg > 0.9"), 5)
    assert detector.evaluate(TableView({"cpu_avg": known})) is None
    assert Expression(parse("cpu_avg > 0.9"), 3).evaluate(TableView({"cpu_avg": known}))


def test_it_holds_for_one_of_the_devices_and_says_which() -> None:
    detector = Expression(parse("diskio_util[$dev] > 0.9"), 2)
    signals = {"diskio_util[sda]": [0.1, 0.1], "diskio_util[sdb]": [0.95, 0.99]}
    finding = detector.evaluate(TableView(signals, devices=["sda", "sdb"]))
    assert finding is not None
    assert finding.signal == "diskio_util[sdb]"
    assert finding.since == NOW - 1


def test_a_signal_that_is_read_every_ten_seconds_goes_with_one_of_every_second() -> None:
    detector = Expression(parse("cpu_avg > 0.9 && load_1min > 4"), 5)
    view = TableView({"cpu_avg": [HIGH] * 30, "load_1min": every(10.0, [1.0, 5.0], NOW - 3)})
    # the newest load is three seconds old: it still holds, and has for four samples
    assert detector._run(view).samples == 4


def test_a_negated_comparison_is_worded_as_one() -> None:
    finding = Expression(parse("!(cpu_avg < 0.9)")).evaluate(TableView({"cpu_avg": [HIGH]}))
    assert finding is not None
    assert finding.signal == "cpu_avg"
    assert "not cpu_avg < 0.9" in finding.text
