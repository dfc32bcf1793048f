"""The page in a browser: what it shows, how keys and filters work, that it is quick, and that it asks for nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_examples import HOSTILE, classified, failed, make_page, thumbnail

from vggcli.records import Prediction, Record
from vggcli.text import escape

pytestmark = pytest.mark.browser

LABELS = ("cat", "dog", "fox")
MANY = 5000
COLOURS = [(200, 60, 40), (40, 160, 60), (50, 80, 200)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path is not None, "there is no chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in the browser, with all that it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.path = path

    def names(self) -> list[str]:
        """The paths of the cards that exist, in the order of the page."""
        cards = self.page.locator("#grid .card").all()
        return [
            card.get_attribute("title") for card in sorted(cards, key=lambda card: int(card.get_attribute("id")[1:]))
        ]

    def count(self) -> str:
        return str(self.page.inner_text("#count"))

    def focused(self) -> str:
        return str(self.page.evaluate("document.activeElement.id"))

    def close(self) -> None:
        """It has said nothing and asked for nothing but itself."""
        self.context.close()
        assert self.said == []
        outside = [url for url in self.asked if not url.startswith("data:")]
        assert outside == [self.path.as_uri()]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,000 rows: three classes of every confidence, one in fifty failed."""
    records: list[Record] = []
    for number in range(MANY):
        path = f"photos/{number % 7}/IMG_{number}.jpg"
        if number % 50 == 49:
            records.append(failed(path, *(("missing", "there is no such file") if number % 100 == 99 else ())))
        else:
            sure = max(number * 37 % 1000 / 1000, 0.5)
            both = enumerate((sure, (1 - sure) / 2), 1)
            classes = [(rank, (number + rank - 1) % 3, probability) for rank, probability in both]
            records.append(Record(path, tuple(Prediction(rank, at, LABELS[at], p) for rank, at, p in classes)))
    pictures = [b"" if record.failure else thumbnail(COLOURS[number % 3]) for number, record in enumerate(records)]
    path = tmp_path_factory.mktemp("page") / "page.html"
    make_page(path, records, pictures)
    return path


@pytest.fixture
def opened(browser: Any, many: Path) -> Iterator[Opened]:
    opened = Opened(browser, many)
    yield opened
    opened.close()


def test_only_what_is_near_the_window_exists_and_scrolling_brings_the_rest(opened: Opened) -> None:
    page = opened.page
    assert opened.count() == "5,000 images"
    assert opened.names()[:3] == ["photos/0/IMG_0.jpg", "photos/1/IMG_1.jpg", "photos/2/IMG_2.jpg"]
    assert page.locator("#grid .card").count() < 100
    assert page.evaluate("document.querySelector('#c0 img').naturalWidth") == 40

    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_selector("#c4999")
    assert opened.names()[-1] == "photos/1/IMG_4999.jpg"
    assert page.locator("#grid .card").count() < 100
    page.wait_for_function("document.querySelector('#c4998 img').naturalWidth == 40")


def test_search_filters_and_reset(opened: Opened) -> None:
    page = opened.page
    page.fill("#query", "img_123 ")
    assert opened.count() == "11 of 5,000 images"
    assert opened.names() == sorted(opened.names(), key=lambda name: int(name[13:-4]))
    page.fill("#query", "NO SUCH FILE")
    assert opened.count() == "50 of 5,000 images"
    page.fill("#query", "nothing is like that")
    assert (opened.names(), page.is_visible("#none")) == ([], True)

    page.click("#everything")
    assert opened.count() == "5,000 images"
    page.select_option("#class", label="cat (1,634)")
    assert opened.count() == "1,634 of 5,000 images"
    page.fill("#low", "90")
    page.fill("#high", "95")
    cats = [number for number in range(0, MANY, 3) if number % 50 != 49]
    assert opened.count() == f"{sum(900 <= number * 37 % 1000 <= 950 for number in cats)} of 5,000 images"
    page.click("#everything")
    page.select_option("#show", "failed")
    assert opened.count() == "100 of 5,000 images"
    assert page.inner_text("#c0 .picture") == "truncated"
    assert page.inner_text("#c0 .reason") == "the image data ends early"
    page.select_option("#show", "ok")
    assert opened.count() == "4,900 of 5,000 images"


def test_the_histograms_filter(opened: Opened) -> None:
    page = opened.page
    last = page.locator("#bins button").last
    assert last.get_attribute("aria-label") == "95 to 100 %: 245 images"
    last.click()
    assert opened.count() == "245 of 5,000 images"
    assert last.get_attribute("aria-pressed") == "true"
    page.locator("#classes button", has_text="dog").click()
    assert page.locator("#classes button[aria-pressed=true]").inner_text().split("\n")[0] == "dog"
    assert set(page.locator("#grid .class.first span").all_inner_texts()) == {"dog"}
    last.click()
    page.locator("#classes button[aria-pressed=true]").click()
    assert opened.count() == "5,000 images"
    page.click("[data-kind=missing]")
    assert opened.count() == "50 of 5,000 images"
    assert page.input_value("#show") == "failed"


def test_sorting(opened: Opened) -> None:
    page = opened.page
    numbers = "[...document.querySelectorAll('#grid .card')].sort((a, b) => a.id.slice(1) - b.id.slice(1))"
    shown = numbers + ".map(card => card.querySelector('.class.first b').textContent)"
    page.select_option("#sort", "sure")
    values = [float(text.split()[0]) for text in page.evaluate(shown)]
    assert values[0] == 99.9
    assert values == sorted(values, reverse=True)
    page.select_option("#sort", "unsure")
    assert {float(text.split()[0]) for text in page.evaluate(shown)} == {50.0}
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    page.wait_for_selector("#c4999")
    assert "failed" in page.get_attribute("#c4999", "class")
    page.select_option("#sort", "name")
    page.wait_for_selector("#c0")
    assert opened.names()[:3] == ["photos/0/IMG_0.jpg", "photos/0/IMG_7.jpg", "photos/0/IMG_14.jpg"]


def test_keys(opened: Opened) -> None:
    page = opened.page
    page.keyboard.press("/")
    assert opened.focused() == "query"
    page.keyboard.type("fox")
    page.keyboard.press("Enter")
    assert opened.focused() == "grid"
    for key, place in (
        ("ArrowRight", 1),
        ("ArrowDown", 6),
        ("ArrowLeft", 5),
        ("ArrowUp", 0),
        ("End", None),
        ("Home", 0),
    ):
        page.keyboard.press(key)
        active = page.get_attribute("#grid", "aria-activedescendant")
        columns = page.evaluate(
            "new Set([...document.querySelectorAll('.card')].map(c => c.getBoundingClientRect().x)).size"
        )
        assert columns == 4
        if place is not None:
            assert active == f"c{place - (place > 4)}"
        assert page.evaluate(
            """(box => box.top >= 0 && box.bottom <= innerHeight)
            (document.querySelector('.here').getBoundingClientRect())"""
        )
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('#detail').open")
    first = page.inner_text("#d-path")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#d-path") != first
    assert page.inner_text("#d-note").startswith("2 of ")
    page.keyboard.press("Escape")
    assert not page.evaluate("document.querySelector('#detail').open")
    assert opened.count() != "5,000 images"
    page.keyboard.press("Escape")
    assert (opened.count(), page.input_value("#query"), opened.focused()) == ("5,000 images", "", "grid")


def test_hostile_names_are_shown_and_do_nothing(browser: Any, tmp_path: Path) -> None:
    records = [classified(name, (name, 0.5)) for name in HOSTILE] + [failed(name, "missing", name) for name in HOSTILE]
    make_page(tmp_path / "page.html", records, settings=[("weights", name) for name in HOSTILE])
    opened = Opened(browser, tmp_path / "page.html")
    shown = [escape(name) for name in HOSTILE]
    assert opened.names() == shown * 2
    opened.page.locator("#grid").focus()
    opened.page.keyboard.press("Enter")
    for name in shown:
        assert opened.page.inner_text("#d-path") == name
        assert opened.page.inner_text("#d-classes span") == name
        opened.page.keyboard.press("ArrowRight")
    assert opened.page.locator("script").count() == 2  # its data and its own
    opened.close()


@pytest.mark.parametrize(
    "options",
    [
        {"viewport": {"width": 360, "height": 640}},
        {"viewport": {"width": 320, "height": 480}, "color_scheme": "dark"},
        {"viewport": {"width": 1920, "height": 1080}},
    ],
    ids=["360", "320 dark", "1920"],
)
def test_it_fits_into_every_window(options: dict[str, Any], browser: Any, many: Path) -> None:
    opened = Opened(browser, many, **options)
    page, width = opened.page, options["viewport"]["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [card.bounding_box() for card in page.locator("#grid .card").all()]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    is_dark = options.get("color_scheme") == "dark"
    paper = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(int(part) for part in paper.strip("rgb()").split(",")) < 200) == is_dark
    assert page.evaluate("document.querySelector('#overview').open") == (width > 860)
    opened.close()


def test_on_paper_the_first_images_are_plain_cards(opened: Opened) -> None:
    page = opened.page
    page.fill("#query", "img_1")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("#printed .card").count() == 200
    assert page.inner_text("#printed-note") == "The first 200 of 1,111 images."
    assert not page.is_visible("#grid")
    assert not page.is_visible("#tools")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#printed .card").count() == 0


def test_the_first_paint_waits_for_no_thumbnail(browser: Any, many: Path) -> None:
    """The thumbnails are what a page is large by, so they stand behind all that is needed to show the first screen."""
    text = many.read_text()

    assert text.index("</script>", text.index('id="data"')) < text.index('"use strict"') < text.index('id="t0"')
    opened = Opened(browser, many)
    paint = opened.page.evaluate(
        """new Promise(done => new PerformanceObserver(list => done(list.getEntries()[0].startTime))
        .observe({ type: "paint", buffered: true }))"""
    )
    print(f"first paint of {MANY} images after {paint:.0f} ms")
    assert opened.page.locator("script[id^=t]").count() > 20  # not read as long as nobody looks there
    opened.close()
