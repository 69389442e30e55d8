"""Sections of the benchmarks' pages: each run writes its own anew, and nothing else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.catalogue import APART, BENCHMARKS, LEVELS, NAMES, Benchmark
from benchmarks.pages import Run, marks, put_section, section

ROOT = Path(__file__).parents[2]
ORDER = ("first", "second", "third")
RUN = Run(datetime(2026, 11, 22, 5, 33, tzinfo=UTC), 171.2, "Linux 6.18", (0.05, 0.9), 0.03)


def block(name: str, text: str) -> str:
    begin, end = marks(name)
    return f"{begin}\n{text}\n{end}"


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("# P\n\nWords.\n", f"# P\n\nWords.\n\n{block('second', 'new')}\n"),
        (
            f"# P\n\n{block('first', '1')}\n\n{block('third', '3')}\n",
            f"# P\n\n{block('first', '1')}\n\n{block('second', 'new')}\n\n{block('third', '3')}\n",
        ),
        (
            f"# P\n\n{block('third', '3')}\n",
            f"# P\n\n{block('second', 'new')}\n\n{block('third', '3')}\n",
        ),
        (
            f"# P\n\n{block('first', '1')}\n\n{block('second', 'old')}\n\nWords.\n",
            f"# P\n\n{block('first', '1')}\n\n{block('second', 'new')}\n\nWords.\n",
        ),
    ],
    ids=["none there yet", "between its neighbours", "before the later ones", "in its place"],
)
def test_a_section_goes_to_its_place_and_nothing_else_is_touched(page: str, found: str) -> None:
    assert put_section(page, "second", "new", ORDER) == found
    assert put_section(found, "second", "new", ORDER) == found


def test_a_section_ends_in_when_where_and_beside_what_it_was_measured() -> None:
    text = section("usage", "## One\n\n| a |\n\n## Two\n\n| b |\n", RUN, level=4)
    assert text == (
        "#### One\n\n| a |\n\n#### Two\n\n| b |\n\n"
        "*`python -m benchmarks usage`, 2026-11-22 05:33 UTC, 171 s. Linux 6.18. Load average 0.05 "
        "before, 0.90 after, own work included; all else used 0.03 of a processor.*"
    )


def test_the_catalogue_is_in_the_order_of_issues_and_has_every_module_once() -> None:
    issues = [each.issue for each in BENCHMARKS]
    assert issues == sorted(issues)
    assert len(set(NAMES)) == len(NAMES)
    runnable = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "def tables(" in path.read_text() or "    show([" in path.read_text()
    }
    assert runnable == set(NAMES)
    assert all((ROOT / "benchmarks" / name / "__main__.py").exists() for name in APART)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda each: each.name)
def test_every_benchmark_s_page_takes_its_section(benchmark: Benchmark) -> None:
    page = (ROOT / "docs" / benchmark.page).read_text()
    order = [each.name for each in BENCHMARKS if each.page == benchmark.page]
    written = put_section(page, benchmark.name, "new", order)
    begin, end = marks(benchmark.name)
    assert written.count(begin) == written.count(end) == 1
    assert f"{begin}\nnew\n{end}\n" in written
    assert set(LEVELS) <= {each.page for each in BENCHMARKS}
