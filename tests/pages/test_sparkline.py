"""A line over time says what it shows in words too, and never bridges what is unknown."""

import re
import xml.etree.ElementTree as ET

import pytest

from exporter.pages.section import Points
from exporter.pages.sparkline import HEIGHT, WIDTH, described, number, sparkline

SVG = "{http://www.w3.org/2000/svg}"


def lines(points: Points, top: float = 100.0) -> list[list[tuple[float, float]]]:
    drawn = ET.fromstring(sparkline(points, top, "x"))
    return [
        [tuple(map(float, place.split(","))) for place in line.attrib["points"].split()]  # type: ignore[misc]
        for line in drawn.iter("polyline")
    ]


@pytest.mark.parametrize(
    ("points", "runs"),
    [
        ((), []),
        ((None, None), []),
        ((1.0, 2.0, 3.0), [3]),
        ((1.0, 2.0, None, 3.0, 4.0, 5.0), [2, 3]),
        ((None, 1.0, None), [2]),
        ((1.0, float("nan"), 2.0, 2.0), [2, 2]),
    ],
)
def test_what_is_unknown_is_a_gap(points: Points, runs: list[int]) -> None:
    assert [len(line) for line in lines(points)] == runs


def test_zero_is_a_line_at_the_bottom_and_too_much_one_at_the_top() -> None:
    [line] = lines((0.0, 50.0, 100.0, 250.0))
    heights = [y for _, y in line]
    assert heights[0] == pytest.approx(HEIGHT - 1.5)
    assert heights[1] == pytest.approx(HEIGHT / 2)
    assert heights[2] == heights[3] == pytest.approx(1.5)
    assert [x for x, _ in line] == [0.0, 80.0, 160.0, WIDTH]


def test_the_newest_is_at_the_right_edge_whatever_is_missing_before_it() -> None:
    [line] = lines((None,) * 119 + (5.0,))
    assert line[-1][0] == pytest.approx(WIDTH, abs=2)


def test_it_has_no_style_and_no_script_and_escapes_its_text() -> None:
    svg = sparkline((1.0,), 1.0, '<script>"&')
    assert ET.fromstring(svg).attrib["aria-label"] == '<script>"&'
    assert "style=" not in svg
    assert "<script" not in svg
    assert re.findall("<([a-z]+)", svg) == ["svg", "title", "polyline"]


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ((), "CPU, last hour: no data"),
        ((None, None), "CPU, last hour: no data"),
        ((1.0, 30.0, 6.25), "CPU, last hour: now 6.2, lowest 1.0, highest 30.0 %"),
        (
            (0.0, None, None, None),
            "CPU, last hour: now unknown, lowest 0, highest 0 %; no data for 75% of it",
        ),
    ],
)
def test_the_text_says_what_the_line_shows(points: Points, text: str) -> None:
    assert described(points, "CPU", "last hour", "%") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.041, "0.041"), (6.26, "6.3"), (99.95, "100.0"), (1204.4, "1,204")],
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text
