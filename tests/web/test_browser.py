"""Our own pages in a headless Chromium: nothing wrong, nobody else asked, for everybody to use.

Screenshots of every page, light, dark and on a phone, are left in .cache/screenshots to look at.
axe-core (.cache/axe, fetched by the Makefile) finds what breaks WCAG 2.2 at level AA.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.web.browser import Chromium, Tab
from tests.web.shown import PAGES, shown

CACHE = Path(__file__).resolve().parents[2] / ".cache"
AXE = CACHE / "axe" / "axe.min.js"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"dark": True},
    "phone": {"width": 390, "height": 844},
}
MOST_STOPS = 40
BARE = """[...document.querySelectorAll('.rows td:not([data-of])')]
    .map((cell) => cell.textContent.trim()).filter((text) => /^[-–+.,\\d]+$/.test(text))"""
RULES = "{runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Chromium(Path(folder))
        try:
            yield browser
        finally:
            browser.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with shown() as url:
        yield url


@pytest.fixture(scope="module")
def axe() -> str:
    assert AXE.is_file(), f"{AXE} is missing: make {AXE.relative_to(CACHE.parent)}"
    return AXE.read_text()


def barriers(tab: Tab) -> list[str]:
    """What axe finds, a line each. It must have been run into the page."""
    found = tab.run(f"axe.run({RULES}).then((found) => found.violations)")
    return [
        f"{each['id']}: {node['html'][:200]} ({node['failureSummary']})"
        for each in found
        for node in each["nodes"]
    ]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_free_of_errors_and_barriers(
    chromium: Chromium, url: str, axe: str, name: str
) -> None:
    with chromium.tab() as tab:
        tab.open(url + PAGES[name])
        assert (
            tab.run("document.querySelectorAll('[style], script, link, img, iframe').length") == 0
        )
        tab.run(axe)
        for look, words in LOOKS.items():
            tab.look(**words)
            tab.screenshot(CACHE / "screenshots" / f"{name}-{look}.png")
            wider = tab.run("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{wider} px wider than the screen of a {look}"
            assert tab.run(BARE) == []  # a phone has no headings of columns
            if look != "phone":
                assert barriers(tab) == []
        assert tab.troubles == []


def test_barriers_and_troubles_are_seen(chromium: Chromium, url: str, axe: str) -> None:
    with chromium.tab() as tab:
        tab.open(f"{url}/new")
        tab.run(axe)
        tab.run("document.querySelector('h1').setAttribute('id', 'low')")
        tab.run("document.styleSheets[0].insertRule('#low { color: #ddd }')")
        assert [each.split(":")[0] for each in barriers(tab)] == ["color-contrast"]
        tab.run("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.2/x.png'}))")
        tab.run("new Promise((done) => setTimeout(done))")
        assert tab.troubles and "img-src" in tab.troubles[0]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_the_same_without_javascript_and_to_a_keyboard(
    chromium: Chromium, url: str, name: str
) -> None:
    with chromium.tab() as tab:
        tab.open(url + PAGES[name])
        usable = "a[href], input, select, button, [tabindex]"
        wanted = tab.run(f"document.querySelectorAll('{usable}').length")
        reached = [tab.tab() for _ in range(min(wanted, MOST_STOPS))]
        assert len({number for number, _ in reached}) == len(reached)
        assert "none" not in {outline for _, outline in reached}
        told = _steady(tab.texts())
        tab.scripts(False)
        tab.open(url + PAGES[name])
        assert _steady(tab.texts()) == told
        assert len(told) > 5


def _steady(texts: list[str]) -> list[str]:
    """But for what is measured anew each time."""
    return [text for text in texts if not text.endswith((" ms", " ms in all.", " %"))]


def test_a_target_is_probed_from_the_form_without_a_mouse(chromium: Chromium, url: str) -> None:
    with chromium.tab(scripts=False) as tab:
        tab.open(f"{url}/agent")
        while tab.focused() != "input target":
            tab.press("Tab", 9)
        tab.type("127.0.0.1")
        tab.enter()
        texts = tab.texts()
    assert "Probe of 127.0.0.1" in texts
    assert any(text.startswith("Answered in ") for text in texts)
    assert {"resolve", "rtt", "Packet"} <= set(texts)


def test_a_heat_map_leads_to_one_pair_by_the_keyboard_alone(chromium: Chromium, url: str) -> None:
    with chromium.tab() as tab:
        tab.open(f"{url}/mesh")
        for key in ("rack=", "node="):
            while key not in tab.focused():
                tab.press("Tab", 9)
            tab.enter()
        assert "of rack" in " ".join(tab.texts())
        assert "peer=" in tab.run("location.search")
