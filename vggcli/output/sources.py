"""What a run reads is never what it writes: an output that is a source is refused before anything is touched."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from vggcli.errors import UsageError
from vggcli.images.discover import STDIN, is_image_like
from vggcli.images.item import file_of
from vggcli.output.parquet import journal_path
from vggcli.output.sidecar import sidecar_path
from vggcli.output.stream import is_regular, is_stdout


def check_output_is_no_source(output: Path, inputs: Sequence[str], sources: Iterable[str | Path | None]) -> None:
    """Refuse an output under which something lies that the run reads, by whatever name or link.

    Args:
        output: the file of `-o`; what a run keeps beside it (sidecar, journal) is looked at as well.
        inputs: images and folders as named, or "-".
        sources: the other files that the run reads: weights, labels, the list of inputs ("-" for standard input).

    Raises:
        UsageError: the output is one of them, or an image, or would be found as one in a folder that is named.
    """
    if is_stdout(output) or not is_regular(output):
        return
    target = Path(os.path.realpath(output))
    read = [status for path in (*inputs, *sources) if path is not None and (status := _status(path)) is not None]
    for path in (target, sidecar_path(target), journal_path(target)):
        written = _status(path)
        if written is not None and any(os.path.samestat(written, status) for status in read):
            raise UsageError("cannot write", str(output), f"this run reads {path}", "Name another output with -o")
    # Lists and folders are read while the output is written, so what they will name cannot be compared beforehand.
    if _holds_bytes(target) and is_image_like(str(target)):
        raise UsageError("will not overwrite", str(output), "it is an image", "Name another output with -o")
    if any(_would_be_found(target, folder) for folder in inputs):
        why = "this run would find it among its images"
        raise UsageError("cannot write", str(output), why, "Name another output with -o")


def _status(path: str | Path) -> os.stat_result | None:
    """What regular file this is; None for all else, also for a pipe on standard input."""
    try:
        status = os.fstat(sys.stdin.fileno()) if str(path) == STDIN else os.stat(file_of(str(path)) or "")
    except (OSError, ValueError, AttributeError):  # no such file; a name with a zero byte; no standard input
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _holds_bytes(path: Path) -> bool:
    status = _status(path)
    return status is not None and status.st_size > 0


def _would_be_found(target: Path, folder: str) -> bool:
    """Whether a folder that is named holds the output and would give it as an image; its subfolders count always."""
    folder = file_of(folder) or ""
    if folder == STDIN or "\0" in folder or not os.path.isdir(folder):
        return False
    return Path(os.path.realpath(folder)) in target.parents and is_image_like(str(target))
