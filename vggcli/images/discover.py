"""Which inputs a command line means: files, folders in name order, lists of paths, standard input.

Everything is lazy: a folder of a million entries costs one listing, and the first path is out before any file is
opened.  Paths are `str` with undecodable bytes as surrogate escapes, so that they name the same file again.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

from vggcli.errors import UsageError
from vggcli.images import signatures
from vggcli.images.access import Access
from vggcli.images.item import Input, Skipped, Tally, has_image_name, is_special

__all__ = ["STDIN", "Input", "Skipped", "Tally", "check", "discover", "expand_path", "hint", "is_image_like"]

STDIN = "-"
_ARCHIVES = (".tar", ".tgz", ".zip", ".tar.gz")  # see `vggcli.images.addresses`


def discover(
    inputs: Sequence[str],
    skipped: Skipped,
    *,
    recursive: bool = False,
    files_from: str | None = None,
    null: bool = False,
    column: str | None = None,
    access: Access | None = None,
    opens_archives: bool = True,
) -> Iterator[Input]:
    """Every input as often as it is named, in the order of the command line, then of `files_from`.

    Args:
        inputs: files, folders, archives, addresses, or "-" for one image on standard input.
        skipped: filled while iterating.
        recursive: descend into the folders of folders; loops of links end, and a folder is entered by a link once.
        files_from: a file with one path a line, or "-" for standard input.
        null: the paths in `files_from` end with a zero byte instead of a newline.
        column: the list is a table, see `vggcli.images.columns`, and the paths are in this column.
        access: how archives and addresses are read.
        opens_archives: else each is one `Archive`.

    Raises:
        UsageError: nothing is asked for, standard input is asked for twice or is closed, or `files_from` cannot be
            read; a list that fails halfway raises it while iterating.
    """
    check(inputs, files_from, null, column)
    # Opened here, so that a wrong name is found before anything else is done.
    listed = iter(()) if files_from is None else open_paths(files_from, null, column)
    expand = partial(expand_path, recursive=recursive, skipped=skipped, access=access, opens_archives=opens_archives)
    return _discover(inputs, listed, expand)


def check(inputs: Sequence[str], files_from: str | None, null: bool, column: str | None = None) -> None:
    """Refuse a command line whose inputs contradict themselves, before anything is opened."""
    if not inputs and files_from is None:
        raise UsageError("nothing to classify", "", "no image or folder was named", "Name some, or use --files-from")
    if [*inputs, files_from].count(STDIN) > 1:
        raise UsageError("cannot read", "standard input", "it was asked for twice", "Use `-` once")
    if STDIN in [*inputs, files_from] and sys.stdin is None:
        raise UsageError("cannot read", "standard input", "it is closed", "Give it something to read, or name files")
    if STDIN in inputs and sys.stdin.isatty():
        raise UsageError("cannot read an image from", "-", "standard input is a terminal", "Pipe an image into vgg")
    if null and files_from is None:
        raise UsageError("--null", "", "it describes the list of --files-from, and there is none", "Add --files-from")
    if column is not None and files_from is None:
        raise UsageError(
            "--column", "", "it is one of the table of --files-from, and there is none", "Add --files-from"
        )
    if column is not None and null:
        raise UsageError("--column and --null", "", "they contradict each other", "Choose one")


def _discover(
    inputs: Sequence[str], listed: Iterator[str], expand: Callable[[str], Iterator[Input]]
) -> Iterator[Input]:
    for path in inputs:
        if path == STDIN:
            yield Input(path, is_stdin=True)
        else:
            yield from expand(path)
    for path in listed:
        yield from expand(path)


def open_paths(files_from: str, null: bool, column: str | None) -> Iterator[str]:
    """The paths of a list or table as they are read; UsageError at once when it cannot be."""
    if column is not None:
        from vggcli.images import columns

        return columns.open_column(files_from, column)
    return _listed(sys.stdin.buffer if files_from == STDIN else open_list(files_from), files_from, null)


def open_list(path: str) -> BinaryIO:
    """The list of paths as a byte stream; UsageError when it cannot be read."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise _unreadable_list(path, error) from error


def _listed(stream: BinaryIO, where: str, null: bool) -> Iterator[str]:
    try:
        yield from read_list(stream, null)
    except OSError as error:
        raise _unreadable_list("standard input" if where == STDIN else where, error) from error
    finally:
        if where != STDIN:
            stream.close()


def _unreadable_list(where: str, error: OSError) -> UsageError:
    why = (error.strerror or str(error)).lower()
    return UsageError("cannot read the list of inputs", where, why, "Give --files-from a readable file")


def read_list(stream: BinaryIO, null: bool) -> Iterator[str]:
    """Paths separated by newlines or zero bytes, as they arrive; empty ones are no paths."""
    if not null:
        for line in stream:
            path = line.rstrip(b"\n")
            if path.endswith(b"\r") and not os.path.lexists(path):
                path = path[:-1]  # a list from Windows
            if path:
                yield os.fsdecode(path)
        return
    rest = b""
    # read1 hands over what a pipe holds now instead of waiting for a full buffer.
    read = getattr(stream, "read1", stream.read)
    while block := read(1 << 16):
        *paths, rest = (rest + block).split(b"\0")
        yield from (os.fsdecode(path) for path in paths if path)
    if rest:
        yield os.fsdecode(rest)


def hint(path: str) -> str:
    """What a person may have meant by a path under which there is nothing, a clause; empty when nothing is known."""
    if path.startswith("#"):
        return "every line of --files-from is a path, so leave comments out of it"
    if path.startswith("~"):
        return "the shell takes ~ for a home only without quotes, and no list does"
    if any(character in path for character in "*?["):
        return "the shell replaces a pattern only without quotes and if it matches"
    return ""


def expand_path(
    path: str, recursive: bool, skipped: Skipped, access: Access | None = None, opens_archives: bool = True
) -> Iterator[Input]:
    """A path as it is, or the images in the folder, archive or bucket that it names; see `discover`."""
    folder, prefix = path, ""
    if is_no_plain_path(path):
        from vggcli.images import addresses, sources

        folder, prefix = addresses.local_name(path) or "", "file://" * (addresses.protocol(path) == "file")
        if "\0" in folder or not os.path.isdir(folder):
            yield from sources.expand(path, access or Access(), skipped, recursive, opens_archives=opens_archives)
            return
    if "\0" in path or not os.path.isdir(folder):
        yield Input(path)
        return
    found = False
    for entry in _walk(folder, recursive, skipped):
        found = True
        yield Input(prefix + _escaped(entry), given=False)
    if not found:
        skipped.empty_folders.append(path)


def is_no_plain_path(path: str) -> bool:
    """Whether a path may name something else than a file or folder under that name."""
    return is_special(path) or path.lower().endswith(_ARCHIVES)


def is_archive(path: str) -> bool:
    """Whether a path names an archive, and not a folder of such a name."""
    from vggcli.images import addresses

    container, member = addresses.split(path)
    return member is None and addresses.is_archive(container) and not os.path.isdir(addresses.local_name(path) or "")


def _escaped(name: str) -> str:
    """The name of a file as a path."""
    if "::" not in name:
        return name
    from vggcli.images import addresses

    return addresses.escaped(name)


def _walk(root: str, recursive: bool, skipped: Skipped) -> Iterator[str]:
    """The names of the images in a folder, and of folders that cannot be listed."""
    # What is left of each folder that we are in, innermost last.  No recursion: folders can be nested deeper than
    # Python's calls.
    rest: list[Iterator[tuple[str, bool]]] = [iter([(root, True)])]
    identities: list[tuple[int, int]] = []
    linked: set[tuple[int, int]] = set()
    while rest:
        path, is_folder = next(rest[-1], ("", False))
        if not path:
            rest.pop()
            identities = identities[: len(rest) - 1]
        elif is_folder and identities and not recursive:
            skipped.folders.add(path)
        elif is_folder:
            try:
                status = os.stat(path)
                identity = (status.st_dev, status.st_ino)
                is_link = os.path.islink(path)
                if identity in identities or (is_link and identity in linked):
                    continue  # a link back to a folder that we are in, or to one that a link has led to already
                rest.append(_entries(path, _listing(path)))
            except OSError:
                yield path  # opening it as an image says why
            else:
                identities.append(identity)
                linked.update([identity] * is_link)
        elif is_image_like(path):
            yield path
        else:
            skipped.files.add(path)


def _entries(folder: str, listing: list[tuple[str, bool | None]]) -> Iterator[tuple[str, bool]]:
    """Path and whether it is a folder; where a link leads is looked up when it is its turn."""
    for name, is_folder in listing:
        path = os.path.join(folder, name)
        yield path, os.path.isdir(path) if is_folder is None else is_folder


def _listing(folder: str) -> list[tuple[str, bool | None]]:
    """Names in order and whether each is a folder, None for links; hidden ones are left out, nothing is stat'ed."""
    with os.scandir(folder) as entries:
        return sorted(
            ((entry.name, None if entry.is_symlink() else entry.is_dir()) for entry in entries if entry.name[0] != "."),
            key=lambda found: found[0],
        )


def is_image_like(path: str) -> bool:
    """Whether a file found in a folder is an input: it is named like an image, or it begins like one."""
    if has_image_name(path):
        return True
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return False  # opening a device can do things, reading a FIFO takes what is meant for somebody else
        # O_NONBLOCK: it may have become a FIFO since.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        head = os.read(descriptor, signatures.HEAD_BYTES)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return signatures.is_image(head)
