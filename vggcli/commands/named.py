"""What was named on the command line, looked at before anything is fetched for it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from vggcli.errors import DownloadError, UsageError
from vggcli.images import discover
from vggcli.images.access import Access
from vggcli.images.item import file_of
from vggcli.settings import Settings
from vggcli.weights.locate import locate
from vggcli.weights.store import FetchOptions


def access_of(settings: Settings, *, keeps: bool = False) -> Access:
    """How archives and addresses are read.

    Args:
        keeps: see `Access.keeps`.
    """
    return Access(settings.max_bytes, settings.timeout, settings.allow_private, keeps=keeps)


def must_fetch(settings: Settings) -> bool:
    """Whether the weights are not on this machine yet.

    Raises:
        VggError: they cannot be had at all.
    """
    try:
        locate(settings.weights, settings.arch, FetchOptions(offline=True, mirror=settings.mirror))
    except DownloadError:
        return True
    return False


def nothing_is_there(
    inputs: tuple[str, ...], recursive: bool, files_from: str | None, null: bool, column: str | None = None
) -> bool:
    """Whether all that was named comes to no image at all; False where only a pipe or a server could tell.

    Raises:
        UsageError: it was mistyped: none of the files and folders exists.
    """
    if discover.STDIN in (*inputs, files_from) or (files_from is not None and not _is_file(files_from)):
        return False
    if any("://" in path and file_of(path) is None for path in inputs):
        return False
    missing: str | None = None
    skipped = discover.Skipped()
    for item in discover.discover(
        inputs, skipped, recursive=recursive, files_from=files_from, null=null, column=column
    ):
        file = None if item.path is None else file_of(item.path)
        if file is None or ("\0" not in file and os.path.lexists(file)):
            return False
        missing = missing or item.path
    if missing is not None and not skipped.empty_folders:
        hint = discover.hint(missing) or "check the spelling"
        raise UsageError("cannot find", missing, "there is no such file or folder", hint[0].upper() + hint[1:])
    return True


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


def _is_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False
