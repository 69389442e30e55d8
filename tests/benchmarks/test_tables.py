"""Tables of benchmarks: goals are judged by what was measured, and a table holds something."""

import pytest

from benchmarks.tables import Table, at_least, at_most, markdown


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (at_most(0.6, 0.6, "s"), ("≤ 0.6 s", "yes")),
        (at_most(0.604, 0.6, "s"), ("≤ 0.6 s", "no")),
        (at_most(0, 0), ("0", "yes")),
        (at_most(1, 0), ("0", "no")),
        (at_least(80_000, 80_000, "probes/s"), ("≥ 80,000 probes/s", "yes")),
        (at_least(79_999.9, 80_000, "probes/s"), ("≥ 80,000 probes/s", "no")),
        (at_most(float("nan"), 1), ("≤ 1", "no")),
    ],
)
def test_a_goal_is_met_by_the_figure_as_it_was_measured(
    cells: tuple[str, str], found: tuple[str, str]
) -> None:
    assert cells == found


def test_a_table_is_aligned_under_its_heading_with_its_notes() -> None:
    table = Table("Title", ("what", "n"), (("a", "1,000"), ("bcdef", "2")), ("Note.",))
    assert markdown(table, level=3) == (
        "### Title\n\n"
        "| what  | n     |\n"
        "| ----- | ----- |\n"
        "| a     | 1,000 |\n"
        "| bcdef | 2     |\n"
        "\nNote.\n"
    )


def test_a_table_without_rows_measured_nothing() -> None:
    with pytest.raises(ValueError, match="Title: no rows"):
        markdown(Table("Title", ("what",), ()))
