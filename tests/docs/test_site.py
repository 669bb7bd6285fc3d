"""The documentation site: it builds without warnings and network, and is accessible."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pygments.token import STANDARD_TYPES

import kitsseg
from tests import ROOT

pytest.importorskip("mkdocs")
# One page of each kind.
KINDS = (
    "index",
    "tutorials/first-run",
    "tutorials/python",
    "reference/api",
    "reference/configuration",
    "gallery",
)
# Adds a token of every class to the first block of code.
ADD_TOKENS = """classes => {
  const code = document.querySelector(".highlight-ipynb pre, .highlight code");
  const tokens = classes.map((name) => `<i class="${name}">${name}</i> `);
  code?.insertAdjacentHTML("beforeend", tokens.join(""));
}"""
CHROMIUM = os.environ.get("KITSSEG_CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


def test_nothing_is_loaded_from_a_server(site: Path) -> None:
    loaded = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*\b(?:src|href)=["']?(https?:[^"' >]+)""")
    for page in site.rglob("*.html"):
        assert loaded.findall(page.read_text()) == [], page
    for style in site.rglob("*.css"):
        assert "url(http" not in style.read_text(), style


def test_generated_pages_are_complete(site: Path) -> None:
    text = (site / "reference/api.html").read_text()
    for name, module in kitsseg._MODULES.items():
        assert f'id="{module}.{name}"' in text
    text = (site / "reference/configuration.html").read_text()
    for path in (ROOT / "conf").glob("*/*.yaml"):
        assert f"{path.parent.name}={path.stem}<" in text
    text = (site / "reference/commands.html").read_text()
    for path in (ROOT / "conf").glob("*.yaml"):
        assert f'id="{path.stem}"' in text
    text = (site / "gallery.html").read_text()
    for path in (ROOT / "experiments").glob("*/README.md"):
        assert f'href="experiments/{path.parent.name}/index.html"' in text
        assert re.search(r"\*\*Question\.\*\*.*\*\*Conclusion", path.read_text(), re.DOTALL), path


def test_links_to_the_repository_are_rewritten(site: Path) -> None:
    page = (site / "how-to/statistics.html").read_text()
    assert 'href="../experiments/03_intervals/index.html"' in page
    assert 'href="../../docs/' not in (site / "experiments/01_table1/index.html").read_text()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; set KITSSEG_CHROMIUM to its path")
def test_pages_are_accessible_and_fit_a_phone(site: Path) -> None:
    driver: Any = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tokens = [name for name in STANDARD_TYPES.values() if name]
    every = sorted(str(path.relative_to(site).with_suffix("")) for path in site.rglob("*.html"))
    every.remove("404")  # its links are absolute
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width, scheme in itertools.product((390, 1280), ("light", "dark")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            errors: list[str] = []
            page.on("pageerror", lambda error, errors=errors: errors.append(str(error)))
            for name in every if (width, scheme) in ((390, "dark"), (1280, "light")) else KINDS:
                page.goto((site / f"{name}.html").as_uri())
                wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
                assert wide <= 0, f"{name} is {wide} pixels too wide at {width}"
                page.evaluate(ADD_TOKENS, tokens)
                found = axe.run(page).response["violations"]
                bad = [(each["id"], node["target"]) for each in found for node in each["nodes"]]
                assert bad == [], f"{name}, {width}, {scheme}: {bad}"
            assert errors == []
            page.close()
        browser.close()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium; set KITSSEG_CHROMIUM to its path")
def test_a_page_opened_from_a_folder_can_be_searched(site: Path) -> None:
    driver: Any = pytest.importorskip("playwright.sync_api")
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto((site / "index.html").as_uri())
        page.fill(".md-search__input", "background_keep")
        page.click(".md-search-result__item a >> nth=0")
        page.wait_for_url(f"{site.as_uri()}/*/*.html*")
        assert "background_keep" in page.content()
        browser.close()
