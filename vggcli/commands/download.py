"""Weights fetched ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vggcli.network import zoo
from vggcli.weights import store
from vggcli.weights.locate import locate


def download(names: Sequence[str], options: store.FetchOptions) -> list[Path]:
    """Fetch the weights of variants, or published files by name, into the cache; their paths.

    Raises:
        UsageError: no such variant; DownloadError: it cannot be fetched.
    """
    paths = []
    for name in names or [zoo.DEFAULT_VARIANT]:
        file = zoo.published(name)
        if file is not None:
            paths.append(store.fetch(file.url, file.sha256_prefix, options))
        else:
            paths.append(locate(None, name, options))
    return paths
