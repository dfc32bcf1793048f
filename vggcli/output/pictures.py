"""Pictures in a folder, under the names of the images that they were made of, without ever touching what is there."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from vggcli import files
from vggcli.output.sorting import check_folder, folder_of, in_plain_words, numbered

_WHAT = "cannot write"


class PictureFolder:
    """Puts pictures, and what belongs to them, into a folder.

    Args:
        folder: where they are, or will be; made when it is first needed.
        overwrite: replace what an earlier run has left under their names.

    Attributes:
        placed: pictures that are there now, whether this run has made them or not.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        self._folder, self._overwrite = folder, overwrite
        self._ready: dict[tuple[str, ...], Path] = {}  # folders that are there, and clean
        self._taken: set[str] = set()  # what this run has made, where it might replace it
        self.placed = 0

    def check(self, inputs: Sequence[str], recursive: bool) -> None:
        """Refuse what cannot go well, before anything is done; see `check_folder`."""
        check_folder(self._folder, inputs, recursive, "cannot write into", "the pictures")

    def place(self, path: str, index: int, contents: Mapping[str, bytes]) -> dict[str, str]:
        """Put what was made of one class of one image into the folder, each file when it is whole.

        Args:
            path: of the image.
            index: of the class.
            contents: by ending (".png"); all get one name but for it.

        Returns:
            The paths, by ending.  Where a file of the name is there and another, it is `name~2.ending`, and so on.

        Raises:
            OutputError: no room, an input/output error; no unfinished file stays.
        """
        *folders, name = parts_of(path)
        with in_plain_words(self._folder, _WHAT):
            folder = self._made_ready(tuple(folders))
        number = 1
        while True:
            base = str(folder / f"{name}.{index}")
            targets = {ending: numbered(base + ending, number) for ending in contents}
            with in_plain_words(folder / name, _WHAT):
                if all(self._may_have(targets[ending], data) for ending, data in contents.items()) and all(
                    self._put(targets[ending], data) for ending, data in contents.items()
                ):
                    self.placed += 1
                    return targets
            number += 1

    def _may_have(self, target: str, data: bytes) -> bool:
        """Whether the name is free for these bytes: nothing has it, or they have, or what has it may be replaced."""
        try:
            status = os.lstat(target)
        except FileNotFoundError:
            return True
        if not stat.S_ISREG(status.st_mode):
            return False
        return (self._overwrite and target not in self._taken) or _holds(target, data)

    def _put(self, target: str, data: bytes) -> bool:
        """Write a file; False where another has taken its name in this very moment."""
        if not (os.path.lexists(target) and _holds(target, data)):
            write = partial(_write, data)
            try:
                (files.replace_file if self._overwrite else files.create_file)(Path(target), write)
            except FileExistsError:
                return False
        if self._overwrite:
            self._taken.add(target)
        return True

    def _made_ready(self, parts: tuple[str, ...]) -> Path:
        """The folder of these names; one whose name is a file's or a link's has another: no link leads elsewhere."""
        if parts in self._ready:
            return self._ready[parts]
        if not parts:
            folder = self._folder
            folder.mkdir(parents=True, exist_ok=True)
        else:
            wanted, number = str(self._made_ready(parts[:-1]) / parts[-1]), 1
            while not _is_folder(numbered(wanted, number)):
                number += 1
            folder = Path(numbered(wanted, number))
        files.remove_stale(folder)
        self._ready[parts] = folder
        return folder


def parts_of(path: str) -> list[str]:
    r"""The names under which what is made of an image lies in a folder: never absolute, ".", ".." or hidden.

    Each is escaped as the folder of a label is: ".." is `\x2e.`, a tab `\t`.

    Examples:
        >>> parts_of("/data/../cat.jpg"), parts_of("https://example.org/a.tar::b/cat.jpg")
        (['data', '\\x2e.', 'cat.jpg'], ['https:', 'example.org', 'a.tar::b', 'cat.jpg'])
    """
    return [folder_of(part) for part in path.split("/") if part not in ("", ".")] or [folder_of("")]


def _is_folder(path: str) -> bool:
    """Whether it is one, made where nothing has the name."""
    try:
        os.mkdir(path)
    except FileExistsError:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    return True


def _holds(path: str, data: bytes) -> bool:
    with open(path, "rb") as file:
        return os.fstat(file.fileno()).st_size == len(data) and file.read() == data


def _write(data: bytes, file: BinaryIO) -> None:
    file.write(data)
