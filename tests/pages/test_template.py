"""What all pages have of the one layout."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from exporter.pages import landing, template
from pingmesh.pages import mesh


@pytest.fixture
def page(tmp_path: Path) -> Path:
    file = tmp_path / "own.html.j2"
    file.write_text(
        '{% extends "page.html.j2" %}{% block title %}{{ name }}{% endblock %}'
        "{% block main %}<p>{{ name }}</p>{% endblock %}"
    )
    return file


def test_a_page_of_any_folder_has_the_layout_and_escapes(page: Path) -> None:
    text = template.render(page, name="a<b")
    assert text.startswith("<!doctype html>\n<html")
    assert "<title>a&lt;b</title>" in text
    assert "<p>a&lt;b</p>" in text
    assert "prefers-color-scheme: dark" in text


def test_a_value_that_is_missing_is_no_empty_text(page: Path) -> None:
    with pytest.raises(UndefinedError, match="name"):
        template.render(page)


@pytest.mark.parametrize("own", [landing.TEMPLATE, mesh.TEMPLATE])
def test_no_page_has_a_layout_of_its_own(own: Path) -> None:
    text = own.read_text()
    assert text.startswith('{% extends "page.html.j2" %}')
    assert ":root" not in text and "<head>" not in text
