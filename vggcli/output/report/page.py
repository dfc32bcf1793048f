"""A spool as a page: one HTML file that holds all it shows, and that a browser lets do nothing else.

The page's policy allows its own script and style by their hashes, images that stand in it, and no connection at all.
What strangers have named (files, classes) is data for the script, which only ever makes text of it.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from vggcli import __version__, files
from vggcli.errors import UsageError
from vggcli.output.report import shrink
from vggcli.output.report.spool import MOST_BYTES, Spool, for_html
from vggcli.output.report.tally import BINS, Tally
from vggcli.output.stream import in_plain_words
from vggcli.text import escape

_FOLDER = Path(__file__).parent
_CHUNK = 200  # thumbnails in one element: parsed when the first of them is looked at
_CHUNK_BYTES = 100  # of such an element's tags
_ROWS, _THUMBNAILS = "<!--rows-->", "<!--thumbnails-->"  # in the template; no text can hold them


@dataclass(frozen=True)
class Title:
    """What a page is called and what it is of.

    Attributes:
        text: its heading.
        settings: of the run, name and value; empty where they are not known.
        notes: what else should be known, a sentence each.
    """

    text: str
    settings: Sequence[tuple[str, str]] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """What became of a page.

    Attributes:
        size: in bytes.
        limits: what had to be left out, a sentence each.
    """

    size: int
    limits: tuple[str, ...]


def check_installed() -> None:
    """Find out early that a page could not be made.

    Raises:
        UsageError: jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "cannot write a report", "", "the package jinja2 is not installed", "Run `pip install jinja2`"
        ) from error


def write_page(path: Path, spool: Spool, tally: Tally, title: Title, *, most_bytes: int = MOST_BYTES) -> Written:
    """Put a page in its place, whole.

    Args:
        path: of the page; an existing file is replaced.
        spool: the rows and thumbnails.
        most_bytes: of the page.

    Raises:
        OutputError: no room on the disk, an input/output error; `path` is as before.
    """
    check_installed()
    # The text around the thumbnails is made twice, for how long it is depends a little on what it says of them.
    frame = len(_frame(spool, tally, title, ("x" * 400,)).encode()) + len(_data(tally, spool)) + spool.row_bytes
    chunks = -(-spool.rows // _CHUNK)
    room = max(0, most_bytes - frame - chunks * _CHUNK_BYTES - 3 * spool.rows)
    fitting = shrink.fit(spool, room)
    try:
        limits = _limits(spool, fitting, tally)
        before, after = _frame(fitting, tally, title, limits).split(_ROWS)
        between, after = after.split(_THUMBNAILS)

        def write(file: BinaryIO) -> None:
            file.write(before.encode())
            file.write(_data(tally, fitting)[:-1] + b',"rows":[')
            file.writelines(_between_commas(entry.row for entry in fitting.entries()))
            file.write(b"]}" + between.encode())
            file.writelines(_thumbnails(fitting))
            file.write(after.encode())

        with in_plain_words(path, resumable=False):
            files.replace_file(path, write)
            return Written(path.stat().st_size, limits)
    finally:
        if fitting is not spool:
            fitting.close()


def _data(tally: Tally, spool: Spool) -> bytes:
    """What the script knows, less the rows."""
    return for_html({"bins": tally.bins, "chunk": _CHUNK, "images": tally.images, "classes": tally.classes()})


def _thumbnails(spool: Spool) -> Iterator[bytes]:
    """Elements of `_CHUNK` thumbnails each, as a list of base64 texts, empty for none."""
    number, texts = 0, []
    for number, entry in enumerate(spool.entries(), 1):
        texts.append(b'"' + base64.b64encode(entry.thumbnail) + b'"')
        if number % _CHUNK == 0:
            yield _element(number // _CHUNK - 1, texts)
            texts = []
    if texts:
        yield _element(number // _CHUNK, texts)


def _element(number: int, texts: list[bytes]) -> bytes:
    opening = f'<script type="application/json" id="t{number}">['
    return opening.encode() + b",".join(texts) + b"]</script>\n"


def _between_commas(parts: Iterator[bytes]) -> Iterator[bytes]:
    for number, part in enumerate(parts):
        yield part if number == 0 else b"," + part


def _limits(given: Spool, fitting: Spool, tally: Tally) -> tuple[str, ...]:
    """What is not on the page, or not as it could be."""
    limits = []
    most = f"the page stays under {MOST_BYTES // 1_000_000} MB"
    if given.rows < tally.images:
        limits.append(
            f"{given.rows:,} of {tally.images:,} images are listed, evenly chosen: {most}; the counts are of all"
        )
    if fitting.pictures < given.pictures:
        limits.append(f"{fitting.pictures:,} of {given.pictures:,} thumbnails are shown, evenly chosen: {most}")
    elif fitting is not given:
        limits.append(f"thumbnails are smaller than usual: {most}")
    return tuple(limits)


def _frame(spool: Spool, tally: Tally, title: Title, limits: tuple[str, ...]) -> str:
    """The page without its data."""
    style, script = _asset("page.css"), _asset("page.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return str(
        _template().render(
            title=escape(title.text),
            settings=[(name, escape(value)) for name, value in title.settings],
            notes=[_sentence(note) for note in (*title.notes, *limits)],
            tally=tally,
            ok=tally.images - tally.failed,
            kinds=tally.kinds(),
            reasons=tally.most_common_reasons(),
            bins=BINS,
            pictures=spool.pictures,
            version=__version__,
            policy=policy,
            style=style,
            script=script,
            rows_here=_ROWS,
            thumbnails_here=_THUMBNAILS,
        )
    )


def _sentence(text: str) -> str:
    text = escape(text)
    return text[:1].upper() + text[1:] + "."


def _template() -> Any:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    return environment.from_string(_asset("page.html"))


@cache
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
