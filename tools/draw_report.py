"""Draw the README's picture of a report: the page of the demo's digits, as chromium shows it.

python -m tools.draw_report        (needs the test extra, and chromium)
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "images" / "report.webp"
SHOWN = ("predict", "--weights", "demo", "--quiet", "vggcli/demo/digits", "README.md")
WIDTH, HEIGHT = 1290, 800


def made(folder: Path) -> Path:
    """The page of the demo's digits, and of a text that is none of them."""
    page = folder / "report.html"
    command = [sys.executable, "-m", "vggcli", *SHOWN, "--report", str(page)]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return page


def screenshot(page: Path) -> bytes:
    """A PNG of the top of a page."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.wait_for_function("[...document.querySelectorAll('.card img[src]')].every(image => image.complete)")
        png: bytes = tab.screenshot()
        browser.close()
    return png


def main() -> None:
    """Write the picture."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        png = screenshot(made(Path(folder)))
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(png)).convert("RGB").save(PICTURE, quality=82, method=6)


if __name__ == "__main__":
    main()
