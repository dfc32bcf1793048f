"""Open a checkpoint of any format: the one place where problems become errors for people."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

from vggcli.errors import CheckpointError, ForbiddenError
from vggcli.weights.checkpoint.problems import Forbidden, Unreadable
from vggcli.weights.checkpoint.recognise import recognise
from vggcli.weights.checkpoint.source import WHAT, FileSource, Source


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The structure of a weights file. As a context manager it closes the file at the end.

    Attributes:
        path: path or URL.
        format: "zip", "legacy" or "safetensors".
        size: bytes of the file.
        root: nested dicts, lists, tuples, sets, numbers, texts and bytes with `Tensor` and `Opaque` leaves, in the
            order saved; at most `limits.DEPTH` deep, without cycles. safetensors: one dict in the header's order.
        metadata: safetensors' own texts; empty for the other formats.
    """

    path: str
    format: str
    size: int
    root: object
    metadata: dict[str, str]
    source: Source = field(repr=False)

    def close(self) -> None:
        """Close the file; no further numbers can be read, arrays made before stay valid."""
        if isinstance(self.source, FileSource):
            self.source.close()

    def forget_pages(self) -> None:
        """Give back the memory of numbers that were read; see `FileSource.forget_pages`."""
        if isinstance(self.source, FileSource):
            self.source.forget_pages()

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read the structure of a weights file on disk; a few kilobytes are touched, the numbers only when asked for.

    Raises:
        ForbiddenError: it asks for code or classes; nothing was executed.
        CheckpointError: it is not a readable checkpoint.
    """
    source = FileSource(path)
    try:
        return _read(source, thorough=True)
    except BaseException:
        source.close()
        raise


def read_checkpoint(source: Source) -> Checkpoint:
    """Read the structure of a weights file from anywhere, with as few reads as possible.

    The lengths written before each storage are not compared. Tensors of anything but a `FileSource` have no numbers:
    their `numpy` raises.

    Raises:
        ForbiddenError: it asks for code or classes; nothing was executed.
        CheckpointError: it is not a readable checkpoint.
    """
    return _read(source, thorough=False)


def _read(source: Source, thorough: bool) -> Checkpoint:
    metadata: dict[str, str] = {}
    with _plain_words(source.name):
        kind = recognise(source)
        root: object
        # Only the reader that is needed is imported: each brings modules of its own, and a first answer waits for them.
        if kind == "zip":
            from vggcli.weights.checkpoint.torch_zip import read_zip

            root = read_zip(source, thorough)
        elif kind == "legacy":
            from vggcli.weights.checkpoint.torch_legacy import read_legacy

            root = read_legacy(source, thorough)
        else:
            from vggcli.weights.checkpoint.safetensors import read_safetensors

            root, metadata = read_safetensors(source)
    return Checkpoint(source.name, kind, source.size, root, metadata, source)


@contextmanager
def _plain_words(name: str) -> Iterator[None]:
    """Turn problems into errors with the file's name."""
    try:
        yield
    except Forbidden as problem:
        raise ForbiddenError(WHAT, name, problem.why, problem.next_step, problem.names) from None
    except Unreadable as problem:
        raise CheckpointError(WHAT, name, problem.why, problem.next_step) from problem
