"""Classified images sorted into one folder per label, as copies or links, without ever touching what is there.

A copy gets its name when it is whole.  Where the name is taken by another file it is `name~2.ending`, `name~3.ending`
and so on; where the very image lies there already, from an interrupted run or an earlier one, nothing is done.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

from vggcli import files
from vggcli.errors import InputError, OutputError, UsageError
from vggcli.images import discover
from vggcli.images.access import Access
from vggcli.images.attempt import Attempt
from vggcli.images.discover import STDIN
from vggcli.images.item import Input, file_of, local_name, named
from vggcli.images.open import open_bytes
from vggcli.text import escape

_BLOCK_BYTES = 1 << 20
_LONGEST_FOLDER = 200  # bytes; file systems allow 255
_LONGEST_NAME = 255  # bytes
_MODE = 0o666  # of what has no permissions of its own; the umask narrows it


def folder_of(label: str) -> str:
    r"""A label as the name of a folder: one level, no control characters, not hidden, never "." or "..".

    Escaped as in tsv, a slash is `\x2f`, a dot at the beginning `\x2e`, and an empty label `\empty`; a long one is cut
    and ends with `~` and the beginning of its hash.
    """
    name = escape(label).replace("/", "\\x2f") or "\\empty"
    if name.startswith("."):
        name = "\\x2e" + name[1:]
    if len(os.fsencode(name)) > _LONGEST_FOLDER:
        name = _cut(name, _LONGEST_FOLDER - 9) + "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
    return name


@dataclass(frozen=True, slots=True)
class _Image:
    """What is placed.

    Attributes:
        stream: its bytes.
        path: where they come from.
        label: the name that it gets.
        status: of its file; None where it is none of its own.
    """

    stream: IO[bytes]
    path: str
    label: str
    status: os.stat_result | None


def check_folder(folder: Path, inputs: Sequence[str], recursive: bool, what: str, made: str) -> None:
    """Refuse a folder into which files cannot be placed, or that the inputs are found in.

    Args:
        folder: it need not be there.
        inputs: as named on the command line.
        recursive: whether their subfolders are searched.
        what: the error's beginning, e.g. "cannot sort into".
        made: what would be placed, e.g. "the sorted images".

    Raises:
        UsageError: what is made would be among the inputs; the folder is a file or cannot be made.
    """
    real_folder = Path(os.path.realpath(folder))
    for path in inputs:
        name = file_of(path) if path != STDIN else None
        if name is None:
            continue
        real = Path(os.path.realpath(name)) if "\0" not in name else Path(name)
        holds = recursive and real in real_folder.parents
        if holds or real_folder in (real, *real.parents):
            why = f"{made} would be among the inputs in {path}"
            raise UsageError(what, str(folder), why, "Name a folder beside them")
    there = next(path for path in (real_folder, *real_folder.parents) if os.path.lexists(path))
    number = errno.ENOTDIR if not there.is_dir() else 0 if os.access(there, os.W_OK | os.X_OK) else errno.EACCES
    if number:
        raise UsageError(what, str(folder), os.strerror(number).lower(), "Name another folder")


class Sorter:
    """Puts images into folders by label.

    Args:
        folder: where the folders of the labels are, or will be; made when it is first needed.
        link: make symbolic links to the images instead of copies.
        dry_run: touch nothing.
        access: how archives and addresses are read.

    Attributes:
        placed: images put into their folders, or in a dry run those that would be.
    """

    def __init__(
        self, folder: Path, *, link: bool = False, dry_run: bool = False, access: Access | None = None
    ) -> None:
        self._folder, self._link, self._dry_run, self._access = folder, link, dry_run, access or Access()
        self._real_folder = Path(os.path.realpath(folder))
        self._ready: set[str] = set()  # folders of labels that are there, and clean
        # What is taken by an image of this run: device and inode in one number, in a dry run the path that it would be.
        self._taken: set[int | str] = set()
        self._first_open: dict[str, int] = {}  # by a name that came twice: the first number that is not taken
        self.placed = 0

    def check(self, inputs: Sequence[str], recursive: bool) -> None:
        """Refuse what cannot go well, before anything is done.

        Raises:
            UsageError: standard input is an input; images would be sorted into the folder that they are found in; the
                folder is a file or cannot be made.
        """
        for path in inputs:
            if path == STDIN:
                raise UsageError("cannot sort", "standard input", "it has no name", "Name files or folders")
            if self._link and (local_name(path) is None or discover.is_archive(path)):
                why = "it is no file of its own, so no link can lead to it"
                raise UsageError("cannot sort", named(path).name, why, "Sort copies, without --link")
        check_folder(self._folder, inputs, recursive, "cannot sort into", "the sorted images")

    def place(self, item: Input, label: str) -> str | None:
        """Put an image into the folder of its label.

        Returns:
            Its new path; None where it is there already.

        Raises:
            InputError: the image cannot be read any more, or has no file that a link could lead to.
            OutputError: no room, an input/output error; no unfinished file stays.
        """
        name = local_name(item.name)
        if name is not None and self._real_folder in Path(os.path.realpath(name)).parents:
            raise InputError("unreadable", item.name, f"it lies in {self._folder}, where the sorted images are")
        if name is None and self._link:
            raise InputError("unreadable", item.name, "it is no file of its own, so no link can lead to it")
        folder = self._folder / folder_of(label)
        with self._image(item, name) as image:
            target = self._put(image, folder)
        self.placed += target is not None
        return target

    @contextmanager
    def _image(self, item: Input, name: str | None) -> Iterator[_Image]:
        """What is to be placed: a file, or the bytes of a member or object under the last part of its name."""
        if name is not None:
            with _opened(name) as file:
                yield _Image(file, name, os.path.basename(name), os.fstat(file.fileno()))
            return
        from vggcli.images import addresses

        container, member = addresses.split(item.name)
        last = re.split("[?#]", container)[0] if member is None else member
        with open_bytes(item, self._access, Attempt()) as stream:
            yield _Image(stream, item.name, folder_of(last.replace("\\", "/").rstrip("/").rpartition("/")[2]), None)

    def _put(self, image: _Image, folder: Path) -> str | None:
        self._make_ready(folder)
        first = str(folder / image.label)
        number = first_open = self._first_open.get(first, 1)
        while True:
            target = numbered(first, number)
            there = _identity(target)
            is_free = there is None and target not in self._taken
            if is_free and self._make(image, target):
                break
            if there in self._taken or target in self._taken:
                first_open += number == first_open
            elif not is_free and self._is_there(image, target):
                break
            number += 1
        self._taken.add(_identity(target) or target)
        if number > 1:
            self._first_open[first] = first_open + (number == first_open)
        return target if is_free else None

    def _make(self, image: _Image, target: str) -> bool:
        """Make the copy or link; False where somebody has taken its name in this very moment."""
        status = image.status

        def write(file: BinaryIO) -> None:
            for block in _blocks(image.stream, image.path):
                file.write(block)
            file.flush()
            if status is not None:
                os.utime(file.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))

        with in_plain_words(target):
            try:
                if self._link and not self._dry_run:
                    os.symlink(os.path.abspath(image.path), target)
                elif not self._dry_run:
                    mode = _MODE if status is None else stat.S_IMODE(status.st_mode)
                    files.create_file(Path(target), write, mode)
            except FileExistsError:
                return False
        return True

    def _is_there(self, image: _Image, target: str) -> bool:
        """Whether the target is what this image was made into before; whatever the times say, the bytes decide."""
        status = os.lstat(target)
        if self._link:
            return stat.S_ISLNK(status.st_mode) and os.readlink(target) == os.path.abspath(image.path)
        if not stat.S_ISREG(status.st_mode) or status.st_size != image.stream.seek(0, os.SEEK_END):
            return False
        with in_plain_words(target), open(target, "rb") as other:
            return all(block == other.read(len(block)) for block in _blocks(image.stream, image.path))

    def _make_ready(self, folder: Path) -> None:
        if folder.name in self._ready:
            return
        if Path(os.path.realpath(folder)).parent != self._real_folder:
            step = "Remove it, or name another folder with --sort-into"
            raise OutputError("cannot sort into", str(folder), "it is a link to another place", step)
        if self._dry_run:
            return
        with in_plain_words(folder):
            folder.mkdir(parents=True, exist_ok=True)
        files.remove_stale(folder)
        self._ready.add(folder.name)


@contextmanager
def in_plain_words(target: Path | str, what: str = "cannot sort into") -> Iterator[None]:
    """Turn what the system says while a file is placed into an `OutputError`."""
    try:
        yield
    except OSError as error:
        step = "Make room and run the same command again" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise OutputError(what, str(target), (error.strerror or str(error)).lower(), step) from error


def _identity(path: str) -> int | None:
    """Device and inode of what has this name, in one number, since there is one of them per image."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status.st_dev << 64 | status.st_ino


def _opened(path: str) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = os.fdopen(descriptor, "rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise InputError("not-a-file", path, "it is no file any more")
    return file


def _blocks(source: IO[bytes], path: str) -> Iterator[bytes]:
    try:
        source.seek(0)
        while block := source.read(_BLOCK_BYTES):
            yield block
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: str, error: OSError) -> InputError:
    return InputError("unreadable", path, (error.strerror or str(error)).lower())


def numbered(path: str, number: int) -> str:
    """The name that the second, third, ... of a name gets: `name~2.ending`."""
    if number == 1:
        return path
    folder, name = os.path.split(path)
    stem, ending = os.path.splitext(name)
    suffix = f"~{number}{ending}"
    room = _LONGEST_NAME - len(os.fsencode(suffix))
    return os.path.join(folder, (_cut(stem, room) if room > 0 else "") + suffix)


def _cut(text: str, room: int) -> str:
    """The beginning of a text in at most so many bytes."""
    while len(os.fsencode(text)) > room:
        text = text[:-1]
    return text
