"""Where weights come from: the cache, which is torch hub's own, else a verified download into it.

Files that torchvision has already fetched are used, and torchvision uses what is fetched here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from vggcli.errors import AbsentError, DownloadError, WeightsError

if TYPE_CHECKING:
    from vggcli.weights.download.progress import Progress

MIRROR_VARIABLE = "VGG_MIRROR"
_HASHED_WHOLE_BYTES = 16 << 20  # about 10 ms of hashing
_SAMPLES, _SAMPLE_BYTES = 64, 16 << 10


class FetchOptions(NamedTuple):
    """How weights may be fetched.

    Attributes:
        offline: open no socket; what is not in the cache is an error.
        mirror: URL that holds the weights files by their names, used instead of the official server; None means the
            environment's VGG_MIRROR, if set. Plain HTTP is allowed here because the person chose it.
        progress: makes, from a file's name, what is told how its download goes (`download.progress.Progress`); None
            logs the notes to the logger "vggcli".
    """

    offline: bool = False
    mirror: str | None = None
    progress: Callable[[str], Progress] | None = None


def cache_folder() -> Path:
    """Torch hub's folder of checkpoints, found without torch; it need not exist.

    `$TORCH_HOME`, else `$XDG_CACHE_HOME/torch`, else `~/.cache/torch`; in it `hub/checkpoints`.
    """
    chosen = os.environ.get("TORCH_HOME")
    home = Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return home.expanduser() / "hub" / "checkpoints"


def cached(file_name: str) -> Path | None:
    """The weights file of this name in the cache; None when it is absent, empty or not a regular file."""
    path = cache_folder() / file_name
    try:
        return path if path.is_file() and path.stat().st_size > 0 else None
    except OSError:
        return None


def fetch(url: str, sha256_prefix: str, options: FetchOptions | None = None) -> Path:
    """The weights file of this URL: from the cache, else downloaded into it.

    A cached file is not hashed again, which would cost seconds at every start: its hash was checked before it got its
    name. `verify` checks on request.

    Args:
        url: official address; its last part is the file's name in the cache and on a mirror.
        sha256_prefix: hexadecimal digits that the file's SHA-256 begins with.
        options: offline, mirror, progress.

    Raises:
        DownloadError: it is not cached and cannot be fetched; names the URL and where a file fetched by hand belongs.
        UsageError: the mirror is not an HTTP(S) URL.
    """
    options = options or FetchOptions()
    name = urlsplit(url).path.rpartition("/")[2]
    found = cached(name)
    if found is not None:
        return found
    from vggcli.web.urls import on_mirror, redacted

    target = cache_folder() / name
    mirror = options.mirror or os.environ.get(MIRROR_VARIABLE)
    sources = on_mirror(mirror, url) if mirror else [url]
    if options.offline:
        raise DownloadError(
            "cannot download",
            redacted(sources[0]),
            "--offline forbids it, and the file is not in the cache",
            f"Leave --offline out, or fetch the file in another way and save it as {target}",
        )
    if not mirror and not url.startswith("https://"):
        raise DownloadError(
            "cannot download",
            redacted(url),
            "plain HTTP can be changed by anyone on the way, so it is used only for a --mirror that says http://",
            f"Fetch the file in another way and save it as {target}",
        )
    from vggcli.weights.download.transfer import download

    absent: list[AbsentError] = []
    for source in sources:
        try:
            return download(source, target, sha256_prefix, progress=options.progress)
        except AbsentError as error:
            absent.append(error)
    raise absent[0]


def sha256_prefix_of(file_name: str) -> str | None:
    """The beginning of the SHA-256 that a published file carries in its name: "vgg16_bn-6c64b313.pth" -> "6c64b313".

    Digits alone are taken for a date or a step: model-20240101.pth.
    """
    found = re.search(r"-([0-9a-f]{8,64})\.[a-z]+$", file_name)
    return found.group(1) if found and not found.group(1).isdigit() else None


def _unreadable(path: Path, error: OSError) -> WeightsError:
    from vggcli.web.urls import shown

    return WeightsError("cannot read weights", shown(str(path)), error.strerror or str(error), "Check the path")


def verify(path: Path, sha256_prefix: str | None = None) -> str:
    """The file's SHA-256 in hexadecimal, checked against the prefix when one is given.

    Raises:
        WeightsError: the file cannot be read, or its hash begins differently.
    """
    import hashlib

    sha256 = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
    except OSError as error:
        raise _unreadable(path, error) from error
    digest = sha256.hexdigest()
    if sha256_prefix is not None and not digest.startswith(sha256_prefix.lower()):
        raise WeightsError(
            "wrong weights file",
            str(path),
            f"its SHA-256 begins with {digest[: len(sha256_prefix)]}, not {sha256_prefix}: damaged, or another file",
            "If it was downloaded, fetch it again",
        )
    return digest


def fingerprint(path: Path) -> str:
    """What tells one weights file from another: "sha256:..." of a small file, "sampled:..." of a large one.

    Hashing half a GB would take longer than classifying a hundred images, so of a large file the hash covers its size,
    its ends and 64 blocks spread over it; that tells different trainings apart, not every deliberate forgery.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        size = path.stat().st_size
        if size <= _HASHED_WHOLE_BYTES:
            return f"sha256:{verify(path)}"
        import hashlib

        sha256 = hashlib.sha256(str(size).encode())
        with open(path, "rb") as file:
            for part in range(_SAMPLES + 1):
                file.seek(part * (size - _SAMPLE_BYTES) // _SAMPLES)
                sha256.update(file.read(_SAMPLE_BYTES))
    except OSError as error:
        raise _unreadable(path, error) from error
    return f"sampled:{sha256.hexdigest()}"
