"""The page: what it holds, what it lets nobody do, and how it stays small."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from report_examples import HOSTILE, Page, classified, failed, hash_of, make_page, thumbnail

from vggcli.errors import OutputError, UsageError
from vggcli.images.thumbnail import STEPS, Thumbnails
from vggcli.output.report.spool import Spool
from vggcli.output.report.tally import OTHER_REASONS, Tally, bin_of
from vggcli.records import Record
from vggcli.text import escape


def test_a_page_holds_every_record_and_its_thumbnail(tmp_path: Path) -> None:
    records = [
        classified("b.jpg", ("cat", 0.9), ("dog", 0.1)),
        failed("c.jpg"),
        Record("d.jpg"),
        classified("a.jpg", ("dog", 1.0)),
        Record("e.jpg", classified("", ("cat", 0.25)).predictions, truncated=True),
    ]
    pictures = [thumbnail(), b"", b"", thumbnail((0, 0, 0)), b""]
    written = make_page(tmp_path / "page.html", records, pictures)
    page = Page.read(tmp_path / "page.html")

    assert written == ((tmp_path / "page.html").stat().st_size, ()) or written.limits == ()
    assert page.data["rows"] == [
        ["b.jpg", 0, [0, 900000, 1, 100000]],
        ["c.jpg", "truncated", "the image data ends early"],
        ["d.jpg", 0, []],
        ["a.jpg", 0, [2, 1000000]],
        ["e.jpg", 1, [0, 250000]],
    ]
    assert page.data["classes"] == [[1, "cat", 2], [2, "dog", 0], [1, "dog", 1]]
    assert page.data["bins"] == [0] * 5 + [1] + [0] * 12 + [1, 1]
    assert page.thumbnails == pictures
    for text in ("A <title>", "vgg16", "x.pth", "truncated", "the image data ends early"):
        assert text in page.text


def test_names_of_strangers_are_text_and_nothing_else(tmp_path: Path) -> None:
    records = [classified(name, (name, 0.5)) for name in HOSTILE] + [failed(name, "missing", name) for name in HOSTILE]
    make_page(tmp_path / "page.html", records, settings=[("weights", name) for name in HOSTILE])
    data = (tmp_path / "page.html").read_bytes()
    page = Page.read(tmp_path / "page.html")

    shown = [escape(name) for name in HOSTILE]
    assert [row[0] for row in page.data["rows"]] == shown * 2
    assert [row[2] for row in page.data["rows"]][len(shown) :] == shown
    assert [name for _, name, _ in page.data["classes"]] == shown
    assert [text for _, text in page.named("dd")][: len(shown)] == shown
    assert not page.named("b")[0][0]
    assert {tag for tag, _, _ in page.elements if tag} <= set(
        """html head meta title link style body header h1 p span b noscript div aside details summary section h2 button
        ul li dl dt dd kbd main form input select option label output dialog figure img figcaption ol script""".split()
    )
    assert not re.search(rb"[\x00-\x08\x0b-\x1f\x7f]", data)
    assert not re.search("[\u2028\u2029\u202a-\u202e]", data.decode())


def test_the_policy_allows_the_pages_own_script_and_style_alone(tmp_path: Path) -> None:
    make_page(tmp_path / "page.html", [classified("a.jpg", ("cat", 0.9))], [thumbnail()])
    page = Page.read(tmp_path / "page.html")
    (policy,) = [a["content"] for a, _ in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))

    (script,) = [text for attributes, text in page.named("script") if not attributes]
    (style,) = [text for _, text in page.named("style")]
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": hash_of(style),
        "script-src": hash_of(script),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    for tag, attributes, _ in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "action")], tag
        assert attributes.get("href") in (None, "data:,")
    assert not re.search(
        r"https?:|fetch\(|XMLHttp|innerHTML|insertAdjacent|document\.write|eval\(|@import|url\(", script + style
    )


def test_thumbnails_get_smaller_and_then_fewer_to_stay_in_the_room(tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    noise = [Image.fromarray(np.random.default_rng(n).integers(0, 256, (150, 224, 3), np.uint8)) for n in range(12)]
    made = Thumbnails(STEPS)
    pictures = [one.encoded for picture in noise if (one := made(picture)) is not None]
    records = [classified(f"{number}.jpg", ("cat", 0.9)) for number in range(12)]
    whole = make_page(tmp_path / "page.html", records, pictures)
    frame = whole.size - sum(map(len, pictures)) * 4 // 3
    said, kept = [], []
    for room in (10_000_000, 80_000, 32_000, 8_000, 3_000):
        written = make_page(tmp_path / "page.html", records, pictures, most_bytes=frame + room)
        page = Page.read(tmp_path / "page.html")
        assert written.size <= frame + room
        assert len(page.data["rows"]) == len(page.thumbnails) == 12
        said.append(written.limits)
        kept.append(sum(map(bool, page.thumbnails)))
        assert all(limit.split(":")[0] in page.text.lower() for limit in written.limits)

    assert said[0] == ()
    assert said[1] == said[2] == ("thumbnails are smaller than usual: the page stays under 20 MB",)
    assert kept[:3] == [12, 12, 12]
    assert 12 > kept[3] > kept[4]
    assert said[3] == (f"{kept[3]} of 12 thumbnails are shown, evenly chosen: the page stays under 20 MB",)


def test_too_many_rows_are_a_sample_and_the_counts_are_of_all(tmp_path: Path) -> None:
    records = [classified(f"{number}.jpg", ("cat", 0.9)) for number in range(100)]
    written = make_page(tmp_path / "page.html", records, [thumbnail()] * 100, most_rows=30)
    page = Page.read(tmp_path / "page.html")

    assert [row[0] for row in page.data["rows"]] == [f"{number}.jpg" for number in range(0, 100, 4)]
    assert len(page.thumbnails) == 25
    assert page.data["images"] == 100
    assert page.data["classes"] == [[1, "cat", 100]]
    assert written.limits == (
        "25 of 100 images are listed, evenly chosen: the page stays under 20 MB; the counts are of all",
    )


def test_the_next_thumbnails_are_smaller_when_the_first_fill_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vggcli.output.report.spool._BYTES_PER_STEP", 3000)
    thumbnails = Thumbnails(STEPS)
    with Spool(tmp_path / "page.html", thumbnails) as spool:
        steps = []
        for _ in range(40):
            spool.take(["a.jpg", 0, []], b"x" * 300)
            steps.append(thumbnails.step)

    assert steps == sorted(steps)
    assert steps[5:9] == [0, 0, 1, 1]
    assert steps[-1] == len(STEPS) - 1


def test_nothing_stays_beside_a_page_and_a_page_that_fails_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [classified("a.jpg", ("cat", 0.9))]
    make_page(tmp_path / "page.html", records)
    before = (tmp_path / "page.html").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vggcli.files.os.fsync", full)
    with pytest.raises(OutputError):
        make_page(tmp_path / "page.html", [*records, *records])
    assert (tmp_path / "page.html").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_the_same_run_is_the_same_page(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        make_page(tmp_path / name, [classified("a.jpg", ("cat", 0.9)), failed("b.jpg")], [thumbnail(), b""])

    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_jinja2_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(UsageError) as caught:
        make_page(tmp_path / "page.html", [])

    assert str(caught.value) == "cannot write a report: the package jinja2 is not installed. Run `pip install jinja2`."


def test_reasons_and_texts_without_end_take_no_memory_without_end() -> None:
    tally = Tally()
    for number in range(400):
        row = tally.row(failed("x" * 100_000, "damaged", f"{number} " + "y" * 100_000))
        assert sum(map(len, row)) < 3000

    assert tally.kinds() == {"damaged": 400}
    assert ("damaged", OTHER_REASONS, 200) in tally.most_common_reasons()


def test_the_bins_of_confidence() -> None:
    assert [bin_of(value) for value in (0.0, 0.05, 0.049999, 0.999, 1.0, float("nan"))] == [0, 1, 0, 19, 19, 0]
