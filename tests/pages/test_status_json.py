"""/status.json is what the page shows, and what its schema says."""

import jsonschema
import msgspec
import pytest

from exporter.config import schema_of
from exporter.pages.landing import landing_page
from exporter.pages.section import per_second, share
from exporter.pages.status_json import StatusJson, as_struct, status_json
from tests.web.shown import CHARTS, EMPTY, STATUS


def test_it_is_what_its_schema_says_and_reads_back_as_it_was() -> None:
    raw = status_json(STATUS, CHARTS)
    jsonschema.Draft202012Validator(schema_of(StatusJson)).validate(msgspec.json.decode(raw))
    assert msgspec.json.decode(raw, type=StatusJson) == as_struct(STATUS, CHARTS)


def test_what_is_unknown_is_null() -> None:
    found = as_struct(STATUS, CHARTS)
    assert [program.events_per_second for program in found.programs] == [1203.6, None, 0.0]
    assert [each.now for each in found.usage] == [41.2, 0.04, None]
    assert found.usage[0].spans["last hour"][40:55] == (None,) * 15


def test_every_section_of_it_is_on_the_page() -> None:
    html = landing_page(STATUS, CHARTS)
    for section in as_struct(STATUS, CHARTS).sections:
        assert section.title in html
        for row in section.rows:
            assert all(cell.text in html for cell in row)
    assert 'href="/interference"' in html
    assert html.index("Worst pairs") > html.index("Usage") > html.index("Pressure")


def test_a_page_before_anything_is_known_shows_no_charts_and_no_form() -> None:
    html = landing_page(EMPTY)
    assert "<svg" not in html
    assert "<form" not in html
    assert "not ready: programs are being loaded" in html


def test_a_chart_of_nothing_says_so_and_has_no_line() -> None:
    html = landing_page(EMPTY, CHARTS)
    assert html.count("no data</dd>") == 3
    assert html.count("<svg") == 3
    assert "no data for 12% of it" in html


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.0, "0.00 %"), (1e-6, "< 0.01 %"), (0.0032, "0.32 %"), (0.256, "26 %")],
)
def test_shares_are_not_rounded_away(value: float | None, text: str) -> None:
    assert share(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0/s"), (0.25, "0.25/s"), (1203.6, "1,204/s")]
)
def test_rates_are_short(value: float | None, text: str) -> None:
    assert per_second(value) == text
