"""What becomes a page, for the verbs that write one: the checks before, the rows meanwhile, the words afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from vggcli import files
from vggcli.errors import UsageError, VggError
from vggcli.images.thumbnail import Thumbnail, Thumbnails
from vggcli.output.report.page import Title, check_installed, write_page
from vggcli.output.report.spool import Spool
from vggcli.output.report.tally import Tally
from vggcli.output.sources import check_output_is_no_source
from vggcli.output.stream import check_file, is_regular, is_stdout

if TYPE_CHECKING:
    from vggcli.records import Provenance, Record

# What a page says of a run, by the names that its settings are kept under, in this order.
_SETTINGS = {
    "variant": "network",
    "weights": "weights",
    "weights_fingerprint": "fingerprint",
    "dialect": "key layout",
    "preprocessing": "recipe",
    "recipe_source": "recipe from",
    "engine": "engine",
    "device": "device",
    "precision": "precision",
    "precision_source": "because",
    "top_k": "classes each",
    "min_prob": "at least",
    "labels": "class names",
    "version": "vgg",
}


class Report:
    """A page in the making.  Use it as a context, which leaves nothing behind but the page.

    Args:
        path: of the page.
        thumbnails: what makes them; None for a page without.

    Attributes:
        tally: of the records taken.
    """

    def __init__(self, path: Path, thumbnails: Thumbnails | None) -> None:
        self.path, self.thumbnails, self.tally = path, thumbnails, Tally()
        files.remove_stale(path.parent)
        self._spool = Spool(path, thumbnails)

    def __enter__(self) -> Report:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what waits for the page's end."""
        self._spool.close()

    def take(self, record: Record, thumbnail: Thumbnail | None) -> None:
        """The next record; OutputError when the disk has no room."""
        self._spool.take(self.tally.row(record), thumbnail.encoded if thumbnail is not None else b"")

    def write(
        self, settings: Sequence[tuple[str, str]], say: Callable[[str], None], note: Callable[[str], None]
    ) -> None:
        """Put the page in its place.

        Args:
            settings: of the run, see `settings_of`.
            say: says what --quiet hides; note: what it does not.

        Raises:
            OutputError: it cannot be written; what was there is as before.
        """
        tally = self.tally
        notes = []
        if tally.missing:
            count = f"{tally.missing:,} image{'s' * (tally.missing != 1)}"
            notes.append(f"{count} could not be read again and {'have' if tally.missing != 1 else 'has'} no thumbnail")
        title = Title(_title(settings), settings, tuple(notes))
        written = write_page(self.path, self._spool, tally, title)
        for text in (*notes, *written.limits):
            note(f"{self.path}: {text}")
        say(f"{self.path} shows {tally.images:,} image{'s' * (tally.images != 1)} in {_megabytes(written.size)}")


def settings_of(kept: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what a page says of a run."""
    found = ((name, kept.get(key)) for key, name in _SETTINGS.items())
    return [(name, str(value)[:500]) for name, value in found if value not in (None, "", 0.0)]


def settings_of_run(provenance: Provenance) -> list[tuple[str, str]]:
    """The same of a run that this process has made."""
    return settings_of(asdict(provenance))


def check_page(path: Path, option: str, *, replace: bool, inputs: Sequence[str], sources: Sequence[Any]) -> None:
    """Refuse a page that could not be written, or that would take the place of something that is read.

    Args:
        option: that names it, for messages.
        replace: an existing file may be replaced.
        inputs, sources: see `check_output_is_no_source`.

    Raises:
        UsageError, OutputError: likewise; jinja2 is missing.
    """
    check_installed()
    another = f"Name another with {option}"
    if is_stdout(path) or not is_regular(path):
        raise UsageError("cannot write a report", str(path), "it needs a file that can be replaced", another)
    exists = path.exists()
    try:
        check_file(path, replace=replace)
        check_output_is_no_source(path, inputs, sources)
    except VggError as error:  # whose advice is about rows
        step = f"Add --overwrite, or name another with {option}" if exists and not replace else another
        raise type(error)(error.what, error.where, error.why, step) from error


def _title(settings: Sequence[tuple[str, str]]) -> str:
    known = dict(settings)
    names = [known[name] for name in ("network", "weights") if name in known]
    return ", ".join(dict.fromkeys(names)) or "Predictions"


def _megabytes(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 1_000_000 else f"{size / 1000:.0f} KB"
