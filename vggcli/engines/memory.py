"""How much memory there is, asked before it is taken."""

from __future__ import annotations

from pathlib import Path

from vggcli.errors import UsageError

_CGROUP = Path("/sys/fs/cgroup")


def available() -> int | None:
    """Bytes that this process may still take, by the machine and by its container; None where nobody says."""
    found = [size for size in (_of_machine(), _of_container()) if size is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass  # not Linux
    return None


def _of_container() -> int | None:
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        if limit == "max":
            return None
        return int(limit) - int((_CGROUP / "memory.current").read_text()) + _page_cache()
    except (OSError, ValueError):
        return None


def _page_cache() -> int:
    """What the container counts as used and gives back when asked: files, the mapped weights among them."""
    try:
        counts = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return int(counts["active_file"]) + int(counts["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 0


def check_batch(batch_size: int, image_bytes: int) -> None:
    """Refuse a batch that cannot fit, before the system kills the process over it.

    Args:
        batch_size: images.
        image_bytes: what one image takes on its way through the network.

    Raises:
        UsageError: it needs more than there is.
    """
    free = available()
    needed = batch_size * image_bytes
    if free is not None and needed > free:
        fitting = max(1, free // image_bytes // 2)
        raise UsageError(
            "cannot use a batch of",
            f"{batch_size} images",
            f"it needs about {needed / 1e9:.1f} GB of memory and {free / 1e9:.1f} GB are free",
            f"Use --batch-size {fitting} or less; about 8 is fastest on a CPU",
        )
