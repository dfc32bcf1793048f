"""The page of `vgg evaluate`: whole, without a script, and safe with what strangers name their files."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest

from vggcli.analysis.evaluation import EvaluationCounter, Outcome
from vggcli.commands.evaluation_listing import About, listing
from vggcli.network.class_index import ClassIndex
from vggcli.output import evaluation_page

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{ 7 * 7 }}\u202e\udcff"


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_hostile_names_stay_text_and_nothing_is_loaded() -> None:
    counter = EvaluationCounter(60)
    for index in range(50):
        counter.add(Outcome(f"{HOSTILE}{index}", index, index + 1, index / 50, 2), group=f"{HOSTILE}{index % 2}")
    counter.fail("missing")
    names = (HOSTILE, "$x^2$", *map(str, range(2, 60)))
    found = listing(counter.result(), ClassIndex(names), About(HOSTILE))

    page = evaluation_page.render(found.data, found.facts, [b"jpeg", b""])

    page.encode()  # as it is written
    tags = Tags(page).found
    assert {tag for tag, _ in tags}.isdisjoint({"script", "link", "iframe", "object", "base", "form"})
    assert not [name for _, attributes in tags for name in attributes if name.startswith("on")]
    addresses = [attributes["src"] or "" for _, attributes in tags if "src" in attributes]
    assert [address[:15] for address in addresses] == ["data:image/svg+", "data:image/jpeg"]
    policy = next(a["content"] for _, a in tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "{{ 7 * 7 }}" in page
    assert "\u202e" not in page
    assert "the 40 of 51 classes that are mistaken most often" in page
    assert page.count("&lt;script&gt;") >= 20
    assert not re.search(r"(?:https?:)?//(?!www\.w3\.org)", re.sub(r"data:[^\"]*", "", page))


def test_a_page_of_nothing() -> None:
    counter = EvaluationCounter(1)
    counter.fail("empty")
    found = listing(counter.result(), ClassIndex(["only"]), About("folder"))

    page = evaluation_page.render(found.data, found.facts)

    assert "data:image/svg" not in page
    assert "There is none." in page


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_page, "find_spec", lambda name: None)

    with pytest.raises(evaluation_page.UsageError, match=r"are not installed. Run `pip install jinja2 matplotlib`"):
        evaluation_page.check()
