"""Draw the README's pictures of the demo's digits: a report, as chromium shows it, and a heat map.

python -m tools.draw_pages        (needs the test extra, and chromium)
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "docs" / "images"
EXPLAINED = "vggcli/demo/digits/eight.png"
SHOWN = ("predict", "--weights", "demo", "--quiet", "vggcli/demo/digits", "README.md")
WIDTH, HEIGHT = 1290, 800


def made(folder: Path) -> Path:
    """The page of the demo's digits, and of a text that is none of them."""
    page = folder / "report.html"
    command = [sys.executable, "-m", "vggcli", *SHOWN, "--report", str(page)]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    return page


def heat_map(folder: Path) -> bytes:
    """What `vgg explain` makes of a digit, as PNG."""
    command = [sys.executable, "-m", "vggcli", "explain", "--weights", "demo", "--quiet", EXPLAINED, "-o", str(folder)]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    (picture,) = folder.rglob("eight.png.*.png")
    return picture.read_bytes()


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
    """Write the pictures."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder:
        pngs = {"report": screenshot(made(Path(folder))), "explain": heat_map(Path(folder, "maps"))}
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, png in pngs.items():
        Image.open(io.BytesIO(png)).convert("RGB").save(PICTURES / f"{name}.webp", quality=82, method=6)


if __name__ == "__main__":
    main()
