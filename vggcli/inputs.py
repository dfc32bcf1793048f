"""Which inputs a command line means: files, folders in name order, lists of paths, standard input.

Everything is lazy: a folder of a million entries costs one listing, and the first path is out before any file is
opened.  Paths are `str` with undecodable bytes as surrogate escapes, so that they name the same file again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from vggcli.errors import UsageError

STDIN = "-"

# Endings of the formats that Pillow decodes, and of those that people would expect it to.
IMAGE_ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .jif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .pfm .avif .avifs "
    ".jp2 .j2k .jpc .jpf .jpx .j2c .ico .icns .cur .tga .icb .vda .vst .pcx .dcx .dds .sgi .rgb .rgba .bw .psd .qoi "
    ".xbm .xpm .ras .blp .fits .fit .heic .heif .jxl".split()
)

# First bytes of the formats that people rename: enough to find a photo under a foreign name.
IMAGE_MAGIC = (
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"II*\0",
    b"MM\0*",
    b"\0\0\0\x0cjP  ",
    b"qoif",
    b"8BPS",
)


@dataclass(frozen=True, slots=True)
class Input:
    """One image to be.

    Attributes:
        path: as given, or folder as given joined with the names found.
        given: True when the user named it; False when it was found in a folder.
    """

    path: str
    given: bool = True


@dataclass(slots=True)
class PassedOver:
    """What discovery saw in folders and did not take: counted, with the first name as an example."""

    count: int = 0
    example: str = ""
    empty_folders: list[str] = field(default_factory=list)

    def add(self, path: str) -> None:
        self.example = self.example or path
        self.count += 1


def discover(
    inputs: Sequence[str],
    passed_over: PassedOver,
    *,
    recursive: bool = False,
    files_from: str | None = None,
    null: bool = False,
) -> Iterator[Input]:
    """Every input once, in the order of the command line, then of `files_from`.

    Args:
        inputs: files, folders, or "-" for one image on standard input.
        passed_over: filled while iterating.
        recursive: descend into the folders of folders; loops of links end.
        files_from: a file with one path a line, or "-" for standard input.
        null: the paths in `files_from` end with a zero byte instead of a newline.

    Raises:
        UsageError: nothing is asked for, or standard input is asked for twice.
    """
    check(inputs, files_from, null)
    return _discover(inputs, passed_over, recursive, files_from, null)


def check(inputs: Sequence[str], files_from: str | None, null: bool) -> None:
    """Refuse a command line whose inputs contradict themselves, before anything is opened."""
    if not inputs and files_from is None:
        raise UsageError("nothing to classify", "", "no image or folder was named", "Name some, or use --files-from")
    if [*inputs, files_from].count(STDIN) > 1:
        raise UsageError("cannot read", "standard input", "it was asked for twice", "Use `-` once")
    if STDIN in inputs and sys.stdin.isatty():
        raise UsageError("cannot read an image from", "-", "standard input is a terminal", "Pipe an image into vgg")
    if null and files_from is None:
        raise UsageError("--null", "", "it describes the list of --files-from, and there is none", "Add --files-from")


def _discover(
    inputs: Sequence[str], passed_over: PassedOver, recursive: bool, files_from: str | None, null: bool
) -> Iterator[Input]:
    for path in inputs:
        yield from _expand(path, recursive, passed_over)
    if files_from == STDIN:
        for path in read_list(sys.stdin.buffer, null):
            yield from _expand(path, recursive, passed_over)
    elif files_from is not None:
        with open_list(files_from) as stream:
            for path in read_list(stream, null):
                yield from _expand(path, recursive, passed_over)


def open_list(path: str) -> BinaryIO:
    """The list of paths as a byte stream; UsageError when it cannot be read."""
    try:
        return open(path, "rb")
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise UsageError("cannot read the list of inputs", path, why, "Give --files-from a readable file") from error


def read_list(stream: BinaryIO, null: bool) -> Iterator[str]:
    """Paths separated by newlines or zero bytes, as they arrive; empty ones are no paths."""
    if not null:
        for line in stream:
            if path := line.rstrip(b"\n"):
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


def _expand(path: str, recursive: bool, passed_over: PassedOver) -> Iterator[Input]:
    if path != STDIN and "\0" not in path and os.path.isdir(path):
        found = False
        for entry in _walk(path, recursive, passed_over, ancestors=()):
            found = True
            yield entry
        if not found:
            passed_over.empty_folders.append(path)
    else:
        yield Input(path)


def _walk(
    folder: str, recursive: bool, passed_over: PassedOver, ancestors: tuple[tuple[int, int], ...]
) -> Iterator[Input]:
    try:
        status = os.stat(folder)
        names, folders, links = _listing(folder)
    except OSError:
        yield Input(folder, given=False)  # opening it as an image says why
        return
    identity = (status.st_dev, status.st_ino)
    if identity in ancestors:
        return  # a link back to a folder that we are in
    for name in names:
        path = os.path.join(folder, name)
        if name in folders or (name in links and os.path.isdir(path)):
            if recursive and not name.startswith("."):
                yield from _walk(path, recursive, passed_over, (*ancestors, identity))
        elif not name.startswith(".") and is_image_like(path):
            yield Input(path, given=False)
        else:
            passed_over.add(path)


def _listing(folder: str) -> tuple[list[str], set[str], set[str]]:
    """Names in order, and which of them are folders and links; no file is opened or stat'ed."""
    names, folders, links = [], set(), set()
    with os.scandir(folder) as entries:
        for entry in entries:
            names.append(entry.name)
            if entry.is_symlink():
                links.add(entry.name)
            elif entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
    names.sort()
    return names, folders, links


def is_image_like(path: str) -> bool:
    """Whether a file found in a folder is an input: it is named like an image, or it begins like one."""
    if os.path.splitext(path)[1].lower() in IMAGE_ENDINGS:
        return True
    try:
        # O_NONBLOCK: a FIFO without a writer must not stop the walk.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError:
        return False
    try:
        head = os.read(descriptor, 16)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return head.startswith(IMAGE_MAGIC) or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
