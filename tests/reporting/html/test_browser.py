"""The report page in a browser: interaction, accessibility, screen sizes and printing."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from kitsseg.reporting import runs
from kitsseg.reporting.html.page import publish
from tests.reporting.html.made import sweep

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = os.environ.get("KITSSEG_CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; set KITSSEG_CHROMIUM to its path"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = sweep(tmp_path_factory.mktemp("sweep"))
    return publish(runs.find_jobs([folder]), folder)[-1].as_uri()


@pytest.fixture
def open_page(browser: Any, url: str) -> Iterator[Any]:
    """Open the page in a new context; fail on network requests, errors and warnings."""
    contexts, wrong = [], []

    def open_with(**options: Any) -> Any:
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: wrong.append(r.url) if r.url.startswith("http") else None)
        page.goto(url)
        return page

    yield open_with
    assert not wrong
    for context in contexts:
        context.close()


def paths(viewer: Any) -> list[str]:
    return viewer.locator(".outline").evaluate_all("each => each.map(e => e.getAttribute('d'))")


def test_slices_change_with_keys_wheel_and_slider(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    viewer = page.locator(".viewer").first
    slider, place = viewer.locator("input"), viewer.locator("output")
    first, image = paths(viewer), viewer.locator("img").get_attribute("src")
    assert place.inner_text() == "slice 27"  # z starts at 20; the seventh slice is shown, counted from 1
    viewer.locator(".stage").click()
    page.keyboard.press("ArrowRight")
    assert place.inner_text() == "slice 28"
    assert viewer.locator("img").get_attribute("src") != image
    page.mouse.wheel(0, -100)
    page.wait_for_function(
        "text => document.querySelector('output').textContent === text", arg="slice 27"
    )
    # The outlines of the script equal those of the written page.
    assert paths(viewer) == first and all(first)
    slider.press("Home")
    assert place.inner_text() == "slice 21" and set(paths(viewer)) == {""}  # no label there
    assert slider.get_attribute("aria-valuetext") == "slice 21"
    viewer.get_by_role("button", name="Larger").click()
    assert viewer.bounding_box()["width"] > 900


def test_checkboxes_switch_outlines(open_page: Any) -> None:
    page = open_page()
    outline = page.locator(".viewer .outline.tumour")
    visible = {name: outline.and_(page.locator(f".{name}")).first for name in ("truth", "before")}
    assert visible["truth"].is_visible() and not visible["before"].is_visible()
    page.get_by_label("truth", exact=True).uncheck()
    page.get_by_role("checkbox", name="before fine-tuning").check()
    assert not visible["truth"].is_visible() and visible["before"].is_visible()


def test_tables_sort_and_a_case_is_highlighted_everywhere(open_page: Any) -> None:
    page = open_page(viewport={"width": 1280, "height": 900})
    page.get_by_text("All 4 validation cases").click()
    table = page.locator("table.sortable")
    column = table.locator("tbody tr td:nth-child(3)")  # tumour Dice of the first row
    table.get_by_role("button", name="tumour: unet", exact=True).click()
    assert column.all_inner_texts() == ["0.000", "0.400", "0.700", "0.900"]
    table.get_by_role("button", name="tumour: unet", exact=True).click()
    assert column.all_inner_texts() == ["0.900", "0.700", "0.400", "0.000"]
    table.locator("tbody tr").first.hover()
    highlighted = page.locator(".hit").evaluate_all("each => each.map(e => e.dataset.case)")
    assert len(highlighted) > 8 and set(highlighted) == {"case_00013"}


def test_links_lead_to_sections_and_injected_scripts_do_not_run(open_page: Any) -> None:
    page = open_page()
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()
    assert page.evaluate("window.evil") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_accessible_and_fits_phone_and_laptop(open_page: Any, scheme: str) -> None:
    for width in (390, 1280):
        page = open_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.locator("details").evaluate_all("each => each.forEach(e => { e.open = true })")
        found = axe.Axe().run(page).response["violations"]
        assert not [(v["id"], v["nodes"][0]["html"]) for v in found]
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_theme_switches_and_page_prints(open_page: Any) -> None:
    page = open_page(color_scheme="light")
    back = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Light / dark").click()
    assert page.evaluate(back) == "rgb(20, 23, 26)"
    page.emulate_media(media="print")
    assert page.evaluate(back) == "rgb(255, 255, 255)"
    assert not page.locator("nav").is_visible()
    pdf = page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF") and 2 < pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") < 20
