r"""How inputs are written: plain paths, addresses (`s3://...`), members of archives (`ARCHIVE::member`).

What stands before the first `::` is an archive where it ends like one (`.tar`, `.tar.gz`, `.tgz`, `.zip`); the rest is
the member's name, as it is.  Where a file's own name looks like that, its `::` is written `\::`, and a backslash before
that one `\\::`.  All other names, whatever colons and backslashes they hold, are written as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SEPARATOR = "::"
ARCHIVE_ENDINGS = (".tar", ".tar.gz", ".tgz", ".zip")

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # two letters at least: one is a drive
_SEPARATOR = re.compile(r"(\\*)::")
_BRACES = re.compile(r"\{(?:(\d{1,18})\.\.(\d{1,18})|([^{},]*(?:,[^{},]*)+))\}")


def protocol(path: str) -> str:
    """What stands before `://`, in lower case; empty for a path of this machine."""
    found = _SCHEME.match(path)
    return found[1].lower() if found else ""


def is_archive(path: str) -> bool:
    """Whether the name, of a URL the path in it, ends like that of an archive that is opened when it is named."""
    return _name(path).endswith(ARCHIVE_ENDINGS)


def is_zip(path: str) -> bool:
    """Whether it ends like a zip's."""
    return _name(path).endswith(".zip")


def _name(path: str) -> str:
    if protocol(path) in ("http", "https"):
        path = re.split("[?#]", path, maxsplit=1)[0]
    return path.lower()


def split(path: str) -> tuple[str, str | None]:
    r"""The file or object, without escapes, and the member in it, None where none is named.

    >>> split("a.tar::b/c.jpg"), split("a.tar\\::b.jpg"), split("a::b.jpg")
    (('a.tar', 'b/c.jpg'), ('a.tar::b.jpg', None), ('a::b.jpg', None))
    """
    name, last = "", 0
    for found in _SEPARATOR.finditer(path):
        name += path[last : found.start()]
        last = found.end()
        if not is_archive(name):
            name += found[0]
        elif not found[1]:
            return name, path[last:]
        else:
            name += found[0][1:]
    return name + path[last:], None


def escaped(name: str) -> str:
    r"""The name of a file, as a path that means it.

    >>> escaped("a.tar::b.jpg"), escaped("a::b.jpg")
    ('a.tar\\::b.jpg', 'a::b.jpg')
    """
    if SEPARATOR not in name:
        return name
    return _SEPARATOR.sub(lambda found: ("\\" if is_archive(name[: found.start()]) else "") + found[0], name)


def local_name(path: str) -> str | None:
    """The name under which the system knows the file; None for addresses and members of archives."""
    if SEPARATOR in path:
        path, member = split(path)
        if member is not None:
            return None
    known = protocol(path)
    if known == "file":
        return path[len("file://") :]
    return None if known else path


def file_of(path: str) -> str | None:
    """The file that is read for a path, for a member its archive; None where none on this machine is."""
    container, member = split(path)
    return local_name(path if member is None else escaped(container))


def shards(path: str) -> Iterator[str]:
    """The archives that braces stand for, `photos-{000..099}.tar` and `{train,val}.tar`, in the order of a shell.

    >>> list(shards("{a,b}-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b-08.tar', 'b-09.tar', 'b-10.tar']
    """
    found = _BRACES.search(path)
    if found is None:
        yield path
        return
    for choice in _choices(found):
        for rest in shards(path[found.end() :]):
            yield path[: found.start()] + choice + rest


def _choices(found: re.Match[str]) -> Iterator[str]:
    first, last, words = found.groups()
    if words is not None:
        yield from words.split(",")
        return
    is_padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
    width = max(len(first), len(last)) if is_padded else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield str(number).zfill(width)
