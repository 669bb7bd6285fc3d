"""Make the pictures of the first tutorial, in the folder in which its commands were run:

python docs/pictures/screenshots.py FOLDER
"""

import os
import shutil
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent


def shrink(source: Path, name: str, width: int, height: int, few_colours: bool = False) -> None:
    """Write the upper part of a picture, ``width`` pixels wide and at most ``height`` high."""
    with Image.open(source) as picture:
        scaled = picture.convert("RGB").resize((width, round(picture.height * width / picture.width)))
        top = scaled.crop((0, 0, width, min(height, scaled.height)))
        (top.quantize(64) if few_colours else top).save(HERE / name, optimize=True)


def main(folder: Path) -> None:
    (card,) = folder.glob("data/prepared/*/dataset.png")
    shrink(card, "data-card.png", 900, 900)
    shrink(next((folder / "predictions/quicklook").glob("*.png")), "quicklook.png", 900, 900)
    with sync_playwright() as driver:
        program = os.environ.get("KITSSEG_CHROMIUM") or shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1250})
        page.goto((folder / "outputs/first/report.html").resolve().as_uri())
        page.screenshot(path=folder / "report.png")
        browser.close()
    shrink(folder / "report.png", "report.png", 900, 1100, few_colours=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
