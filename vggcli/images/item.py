"""One image to be, and what was seen on the way to it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from vggcli.images.attempt import Attempt
    from vggcli.images.inputs import Content

# Endings of the formats that Pillow decodes, and of those that people would expect it to.
IMAGE_ENDINGS = frozenset(
    ".jpg .jpeg .jpe .jfif .jif .mpo .png .apng .webp .gif .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm .pfm .avif .avifs "
    ".jp2 .j2k .jpc .jpf .jpx .j2c .ico .icns .cur .tga .icb .vda .vst .pcx .dcx .dds .sgi .rgb .rgba .bw .psd .qoi "
    ".xbm .xpm .ras .blp .fits .fit .heic .heif .jxl".split()
)


class Reader(Protocol):
    """How the bytes of one input are had."""

    @property
    def is_stream(self) -> bool:
        """Whether they come from elsewhere than a disk, or cannot be had a second time without much reading."""

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """All bytes; more than `max_bytes` where there are more.  Begins the attempt's clock when they are here.

        Raises:
            UnreadableError: they cannot be had.
        """


@dataclass(frozen=True, slots=True)
class Input:
    """One image to be.

    Its `address` is enough to open it again, in another process too.  It may be pickled; what was read ahead for it is
    left behind then.

    Attributes:
        path: as given, or folder as given joined with the names found; `ARCHIVE::member`; an address without its
            credentials; None when only `content` was given.
        given: True when the user named it; False when it was found in a folder, bucket or archive.
        is_stdin: the image comes on standard input; a file may be called "-" too, in a list of paths.
        content: the image itself, see `vggcli.images.inputs.as_input`; None when it lies under `path`.
        reader: how its bytes are had, where that is known better than by its address.
        secret: the address with its credentials, where it has any.
    """

    path: str | None
    given: bool = True
    is_stdin: bool = False
    content: Content | None = field(default=None, repr=False, compare=False)
    reader: Reader | None = field(default=None, repr=False, compare=False)
    secret: str | None = field(default=None, repr=False)

    @property
    def address(self) -> str | None:
        """What opens it: the path, with its credentials where it has any.  Not for records or messages."""
        return self.secret or self.path

    @property
    def is_read_ahead(self) -> bool:
        """Whether its bytes are better fetched before they are asked for: they come over a network, or as a stream."""
        if self.reader is not None:
            return self.reader.is_stream
        return self.path is not None and "://" in self.path and not self.path.startswith("file://")

    @property
    def nbytes(self) -> int:
        """What was read ahead for it and takes memory, in bytes."""
        return getattr(self.reader, "nbytes", 0)

    def detached(self) -> Input:
        """The same input without what was read ahead for it, to be kept for long."""
        return replace(self, reader=None) if self.reader is not None and self.reader.is_stream else self

    @property
    def name(self) -> str:
        """What messages call it: its path, else "<bytes>", "<array>" or "<image>"."""
        if self.path is not None:
            return self.path
        if isinstance(self.content, bytes):
            return "<bytes>"
        return "<array>" if hasattr(self.content, "dtype") else "<image>"


@dataclass(frozen=True, slots=True)
class Archive(Input):
    """An archive in place of the images in it, for whoever opens it later; see `vggcli.images.sources.members`."""


@dataclass(slots=True)
class Tally:
    """How many there were, and the first of them."""

    count: int = 0
    example: str = ""

    def add(self, path: str) -> None:
        self.example = self.example or path
        self.count += 1


@dataclass(slots=True)
class Skipped:
    """What discovery saw in folders and did not take; hidden files and folders do not count.

    Attributes:
        files: neither named like an image nor beginning like one.
        folders: inside a folder, without `recursive`.
        empty_folders: given by the user, and nothing in them was taken.
    """

    files: Tally = field(default_factory=Tally)
    folders: Tally = field(default_factory=Tally)
    empty_folders: list[str] = field(default_factory=list)


def named(path: str, given: bool = True) -> Input:
    """The input of a path or address; its credentials, where it has any, are kept from its `path`."""
    if "://" not in path:
        return Input(path, given)
    from vggcli.web.credentials import without_credentials

    shown = without_credentials(path)
    return Input(shown, given, secret=None if shown == path else path)


def is_special(path: str) -> bool:
    """Whether a path may mean something else than a plain file of that name; `vggcli.images.addresses` knows."""
    return "::" in path or "://" in path


def local_name(path: str) -> str | None:
    """The name under which the system knows the file; None for addresses and members of archives."""
    if not is_special(path):
        return path
    from vggcli.images import addresses

    return addresses.local_name(path)


def file_of(path: str) -> str | None:
    """The file that is read for a path, for a member its archive; None where none on this machine is."""
    if not is_special(path):
        return path
    from vggcli.images import addresses

    return addresses.file_of(path)


def has_image_name(name: str) -> bool:
    """Whether a name found in a folder, bucket or archive is that of an image."""
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS
