"""A batch that cannot fit is refused before the system kills the process over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vggcli.engines import memory
from vggcli.errors import UsageError

GB = 10**9


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine with 4,000,000 kB of memory to spare; files in the folder are those of its container."""
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemFree:  100 kB\nMemAvailable:  4000000 kB\n")
    monkeypatch.setattr(memory, "Path", {"/proc/meminfo": meminfo}.__getitem__)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    return tmp_path


def test_without_a_container_it_is_what_the_machine_can_spare(machine: Path) -> None:
    assert memory.available() == 4_000_000 * 1024


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max", 4_000_000 * 1024), (str(3 * GB), 2 * GB), (str(100 * GB), 4_000_000 * 1024), ("?", 4_000_000 * 1024)],
)
def test_the_tighter_of_machine_and_container_counts(machine: Path, limit: str, expected: int) -> None:
    (machine / "memory.max").write_text(f"{limit}\n")
    (machine / "memory.current").write_text(f"{GB}\n")

    assert memory.available() == expected


def test_files_that_a_container_holds_in_memory_are_room(machine: Path) -> None:
    (machine / "memory.max").write_text(f"{3 * GB}\n")
    (machine / "memory.current").write_text(f"{2 * GB}\n")
    (machine / "memory.stat").write_text(f"anon {GB}\nactive_file {GB // 4}\ninactive_file {GB // 2}\n")

    assert memory.available() == GB + GB // 4 + GB // 2


@pytest.mark.parametrize("text", [None, "", "MemAvailable: much\n"])
def test_where_nobody_says_nothing_is_refused(machine: Path, text: str | None) -> None:
    (machine / "meminfo").unlink()
    if text is not None:
        (machine / "meminfo").write_text(text)

    assert memory.available() is None
    memory.check_batch(10**9, 10**9)


def test_a_batch_is_refused_from_the_first_byte_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 800)
    memory.check_batch(8, 100)

    with pytest.raises(UsageError):
        memory.check_batch(8, 101)


def test_the_refusal_names_the_sizes_and_a_batch_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: GB)
    with pytest.raises(UsageError) as caught:
        memory.check_batch(1000, 20_000_000)

    assert caught.value.exit_code == 2
    assert str(caught.value) == (
        "cannot use a batch of 1000 images: it needs about 20.0 GB of memory and 1.0 GB are free. "
        "Use --batch-size 25 or less; about 8 is fastest on a CPU."
    )
    memory.check_batch(25, 20_000_000)


def test_one_image_is_always_worth_a_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 10)
    with pytest.raises(UsageError, match="Use --batch-size 1 or less"):
        memory.check_batch(2, 100)
