"""The images that a command line names, looked at before anything is fetched for them."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from vggcli.errors import DownloadError, UsageError
from vggcli.images import discover
from vggcli.images.access import Access
from vggcli.images.item import file_of
from vggcli.library.settings import Settings
from vggcli.weights.locate import locate
from vggcli.weights.store import FetchOptions


@dataclass(frozen=True)
class NamedImages:
    """What the requests of verbs share that take images; the fields have the names of the options.

    Attributes:
        inputs: files, folders, archives, addresses; "-" for one image on standard input.
        recursive: descend into subfolders.
        files_from: a list of paths, or a table of them.
        null: its paths end with a zero byte.
        column: of a table.
        allow_empty: that there are none is no failure.
    """

    inputs: tuple[str, ...] = ()
    recursive: bool = False
    files_from: str | None = None
    null: bool = False
    column: str | None = None
    allow_empty: bool = False

    def check_named(self) -> None:
        """UsageError where nothing is named, or what cannot be together; see `discover.check`."""
        discover.check(self.inputs, self.files_from, self.null, self.column)

    def find(
        self, skipped: discover.Skipped, access: Access | None = None, *, opens_archives: bool = True
    ) -> Iterator[discover.Input]:
        """The inputs, lazily; see `discover.discover`."""
        return discover.discover(
            self.inputs,
            skipped,
            recursive=self.recursive,
            files_from=self.files_from,
            null=self.null,
            column=self.column,
            access=access,
            opens_archives=opens_archives,
        )

    def count(self) -> Iterator[int]:
        """The number of inputs found so far; see `counting.count`."""
        from vggcli.images import counting

        return counting.count(
            self.inputs, self.files_from, recursive=self.recursive, null=self.null, column=self.column
        )

    def come_to_nothing(self) -> bool:
        """Whether all that was named comes to no image at all; False where only a pipe or a server could tell.

        Raises:
            UsageError: it was mistyped: none of the files and folders exists.
        """
        if discover.STDIN in (*self.inputs, self.files_from) or not (
            self.files_from is None or _is_file(self.files_from)
        ):
            return False
        if any("://" in path and file_of(path) is None for path in self.inputs):
            return False
        missing: str | None = None
        skipped = discover.Skipped()
        for item in self.find(skipped):
            file = None if item.path is None else file_of(item.path)
            if file is None or ("\0" not in file and os.path.lexists(file)):
                return False
            missing = missing or item.path
        if missing is not None and not skipped.empty_folders:
            hint = discover.hint(missing) or "check the spelling"
            raise UsageError("cannot find", missing, "there is no such file or folder", hint[0].upper() + hint[1:])
        return True

    def fetch_would_be_vain(self, *settings: Settings) -> bool:
        """Whether weights would have to be fetched, and for no image at all; see `come_to_nothing`."""
        return not self.allow_empty and any(map(_must_fetch, settings)) and self.come_to_nothing()


def access_of(settings: Settings, *, keeps: bool = False) -> Access:
    """How archives and addresses are read.

    Args:
        keeps: see `Access.keeps`.
    """
    return Access(settings.max_bytes, settings.timeout, settings.allow_private, keeps=keeps)


def exhaust(found: Iterator[discover.Input]) -> None:
    """Go to the end of what comes to nothing: then it is known what was skipped."""
    deque(found, maxlen=0)


def nothing_to(verb: str) -> str:
    """What is said where there is no image."""
    return f"there was nothing to {verb}; with --allow-empty that is no failure"


def say_skipped(skipped: discover.Skipped, note: Callable[[str], None], say: Callable[[str], None]) -> None:
    """Say what was passed over, and with `note`, which --quiet does not hide, that there was nothing at all."""
    files, folders = skipped.files, skipped.folders
    if files.count:
        count = f"{files.count} file{'s' * (files.count > 1)}"
        say(f"passed over {count} not named as images and without an image's first bytes, e.g. {files.example}")
    if folders.count:
        count = f"{folders.count} folder{'s' * (folders.count > 1)}"
        say(f"passed over {count} inside those named, e.g. {folders.example}; --recursive descends into them")
    for folder in skipped.empty_folders:
        note(f"no images in {folder}")


def say_nothing(text: str) -> None:
    """Say it to nobody."""


def _must_fetch(settings: Settings) -> bool:
    """Whether the weights are not on this machine yet; VggError where they cannot be had at all."""
    try:
        locate(settings.weights, settings.arch, FetchOptions(offline=True, mirror=settings.mirror))
    except DownloadError:
        return True
    return False


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
