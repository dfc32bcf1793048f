"""A run never writes over what it reads, whatever it is called there."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Vgg
from PIL import Image

from vggcli.errors import UsageError
from vggcli.output.parquet import journal_path
from vggcli.output.sidecar import sidecar_path
from vggcli.output.sources import check_output_is_no_source

Rename = Callable[[Path, Path], object]


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


RENAMES: tuple[Rename, ...] = (
    lambda original, other: other.symlink_to(original.name),
    lambda original, other: other.hardlink_to(original),
)


@pytest.mark.parametrize("link", RENAMES, ids=["symbolic", "hard"])
@pytest.mark.parametrize("role", ["input", "source"])
def test_a_link_to_what_is_read_is_refused(role: str, link: Rename, tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("a.png\n")
    link(tmp_path / "list.tsv", tmp_path / "out.tsv")
    named = {"input": ([str(tmp_path / "list.tsv")], []), "source": ([], [str(tmp_path / "list.tsv")])}

    with pytest.raises(UsageError, match=r"this run reads .*\. Name another output with -o\.$"):
        check_output_is_no_source(tmp_path / "out.tsv", *named[role])


@pytest.mark.parametrize("beside", [sidecar_path, journal_path])
def test_what_stands_beside_the_output_is_none_either(beside: Callable[[Path], Path], tmp_path: Path) -> None:
    labels = beside(tmp_path / "out.parquet")
    labels.write_text("cat\ndog\n")

    with pytest.raises(UsageError, match="this run reads"):
        check_output_is_no_source(tmp_path / "out.parquet", [], [labels])


def test_a_list_on_standard_input_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "list").write_text("a.png\n")
    with open(tmp_path / "list") as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        with pytest.raises(UsageError, match="this run reads"):
            check_output_is_no_source(tmp_path / "list", [], ["-"])


def test_an_image_is_never_replaced_though_nobody_knows_yet_that_a_list_names_it(photo: Path) -> None:
    photo = photo.rename(photo.with_name("photo"))

    with pytest.raises(UsageError, match="it is an image"):
        check_output_is_no_source(photo, [], [])


def test_an_output_that_its_own_run_would_find_as_an_image(photo: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    for folder in (tmp_path, tmp_path / "link", Path(os.path.relpath(tmp_path))):
        with pytest.raises(UsageError, match="would find it among its images"):
            check_output_is_no_source(tmp_path / "sub" / "out.png", [str(folder)], [])


def test_everything_else_is_an_output(photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("no descriptor"))
    out = tmp_path / "out.tsv"
    out.write_text("rows of a run before\n")
    sources = [tmp_path / "weights.pth", None, "-", "a\0b"]

    check_output_is_no_source(out, [str(photo), str(tmp_path), "none.png", "-", "a\0b"], sources)
    check_output_is_no_source(tmp_path / "new.tsv", [str(tmp_path)], sources)
    check_output_is_no_source(Path("-"), [str(photo)], sources)
    check_output_is_no_source(Path("/dev/null"), ["/dev/null"], ["/dev/null"])


@pytest.mark.parametrize("options", [(), ("--resume",), ("--overwrite",)], ids=str)
def test_a_name_longer_than_any_path_is_refused_in_words(options: tuple[str, ...], photo: Path, vgg: Vgg) -> None:
    output = vgg("predict", "--weights", "demo", "-f", "csv", "-o", "x" * 5000, *options, photo)

    assert (output.code, output.out) == (4, "")
    assert output.err.endswith("x: file name too long. Name another output with -o.\n")
