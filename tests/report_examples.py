"""Pages for the tests of reports: made from records, and read back as a browser would."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from PIL import Image

from vggcli.output.report.page import Title, Written, write_page
from vggcli.output.report.spool import Spool
from vggcli.output.report.tally import Tally
from vggcli.records import Failure, Prediction, Record

HOSTILE = [
    "</script><script>alert(1)</script>.jpg",
    "<img src=x onerror=alert(1)>.png",
    "\"'`><b>&amp;&lt;.png",
    "a\u202egpj.exe\u2028\u2029\x00\x1b[31m\n.png",
    "bytes\udcff\udc80\ud800.png",
    "{{ 7*7 }}<!--rows--><!--thumbnails-->{% raw %}.png",
    "javascript:alert(1)//https://example.org/x.png",
    "写真 é\u0301 😀.png",
]


def thumbnail(colour: tuple[int, int, int] = (200, 80, 40), side: int = 40) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side * 3 // 4), colour).save(file, "JPEG")
    return file.getvalue()


def classified(path: str, *classes: tuple[str, float]) -> Record:
    return Record(path, tuple(Prediction(n, n, *one) for n, one in enumerate(classes, 1)))


def failed(path: str, kind: str = "truncated", message: str = "the image data ends early") -> Record:
    return Record(path, failure=Failure(kind, message))


def make_page(path: Path, records: list[Record], pictures: list[bytes] | None = None, **options: Any) -> Written:
    """Write the page of these records.

    Args:
        pictures: a thumbnail for each, b"" for none.
    """
    settings = options.pop("settings", [("network", "vgg16"), ("weights", "x.pth")])
    most_bytes = options.pop("most_bytes", 20_000_000)
    tally = Tally()
    with Spool(path, **options) as spool:
        for number, record in enumerate(records):
            spool.take(tally.row(record), pictures[number] if pictures else b"")
        return write_page(path, spool, tally, Title("A <title>", settings), most_bytes=most_bytes)


@dataclass
class Page(HTMLParser):
    """A page as its reader finds it.

    Attributes:
        data: of the script; thumbnails: files in the order of the rows.
    """

    elements: list[tuple[str, dict[str, str | None], str]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)
    thumbnails: list[bytes] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Page:
        page = cls()
        page.feed(path.read_bytes().decode())
        for tag, attributes, text in page.elements:
            name = attributes.get("id") or ""
            if tag == "script" and name == "data":
                page.data = json.loads(text)
            elif tag == "script" and re.fullmatch(r"t\d+", name):
                page.thumbnails += [base64.b64decode(one) for one in json.loads(text)]
        return page

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        self.elements.append(("", {}, ""))  # what stands behind an element is not its text

    def handle_data(self, data: str) -> None:
        if self.elements:
            tag, attributes, text = self.elements[-1]
            self.elements[-1] = tag, attributes, text + data

    @property
    def text(self) -> str:
        """What stands on it without its script."""
        return "\n".join(text for tag, _, text in self.elements if tag not in ("script", "style"))

    def named(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        return [(attributes, text) for name, attributes, text in self.elements if name == tag]


def hash_of(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
