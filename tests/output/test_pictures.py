"""Pictures in a folder: names that never leave it and never collide, and nothing lost that lies there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vggcli.errors import OutputError
from vggcli.output.pictures import PictureFolder, parts_of


def place(folder: PictureFolder, path: str, data: bytes, raw: bytes | None = None, index: int = 3) -> str:
    contents = {".png": data} | ({".npy": raw} if raw is not None else {})
    return folder.place(path, index, contents)[".png"]


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "../../up.jpg",
        "a/../b.jpg",
        "./here.jpg",
        "https://example.org//x/y.jpg?z=/../..",
        "photos.tar::../inside.jpg",
        "-",
        "..",
        "/",
        "",
        ".hidden",
        "new\nline/\x1b[31m.jpg",
        "\udcff.jpg",
        "x" * 250 + ".jpg",
        "C:\\windows\\x.jpg",
    ],
)
def test_a_picture_lies_in_its_folder_whatever_its_image_is_called(path: str, tmp_path: Path) -> None:
    target = Path(place(PictureFolder(tmp_path / "in" / "maps"), path, b"picture"))

    assert target.read_bytes() == b"picture"
    assert tmp_path / "in" / "maps" in Path(os.path.normpath(target)).parents
    assert Path(os.path.realpath(target)) == target
    assert target.name.endswith(".3.png")
    assert not any(part.startswith(".") for part in target.relative_to(tmp_path).parts)


def test_paths_that_differ_have_names_that_differ() -> None:
    paths = ["a/b.jpg", "a\\b.jpg", "a//b.jpg", "../a/b.jpg", "a/\\x2e./b.jpg", "a/../b.jpg", "A/b.jpg", "a::b.jpg"]

    assert len({tuple(parts_of(path)) for path in paths}) == len(paths) - 1  # a//b.jpg is a/b.jpg


def test_another_picture_of_the_name_is_left_alone_and_the_same_one_shared(tmp_path: Path) -> None:
    first = PictureFolder(tmp_path)
    names = [place(first, "cat.jpg", data) for data in (b"one", b"two", b"one", b"three")]
    again = place(PictureFolder(tmp_path), "cat.jpg", b"two")

    assert [Path(name).name for name in names] == [
        "cat.jpg.3.png",
        "cat.jpg.3~2.png",
        "cat.jpg.3.png",
        "cat.jpg.3~3.png",
    ]
    assert again == names[1]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "cat.jpg.3.png": b"one",
        "cat.jpg.3~2.png": b"two",
        "cat.jpg.3~3.png": b"three",
    }


def test_overwriting_replaces_what_an_earlier_run_left_and_nothing_of_its_own(tmp_path: Path) -> None:
    place(PictureFolder(tmp_path), "cat.jpg", b"old")
    folder = PictureFolder(tmp_path, overwrite=True)
    names = [Path(place(folder, "cat.jpg", data)).name for data in (b"new", b"newer", b"new")]

    assert names == ["cat.jpg.3.png", "cat.jpg.3~2.png", "cat.jpg.3.png"]
    assert (tmp_path / "cat.jpg.3.png").read_bytes() == b"new"
    assert (tmp_path / "cat.jpg.3~2.png").read_bytes() == b"newer"


def test_a_map_has_its_pictures_name(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg.3.npy").write_bytes(b"somebody's")
    target = place(PictureFolder(tmp_path), "cat.jpg", b"picture", b"map")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.jpg.3.npy", "cat.jpg.3~2.npy", "cat.jpg.3~2.png"]
    assert Path(target).name == "cat.jpg.3~2.png"
    assert (tmp_path / "cat.jpg.3.npy").read_bytes() == b"somebody's"


def test_links_and_files_in_the_place_of_folders_lead_nowhere(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "maps"
    outside.mkdir()
    folder.mkdir()
    (folder / "linked").symlink_to(outside)
    (folder / "cat.jpg.3.png").symlink_to(outside / "target")
    (folder / "file").write_bytes(b"")
    pictures = PictureFolder(folder, overwrite=True)
    names = [place(pictures, path, b"picture") for path in ("linked/cat.jpg", "cat.jpg", "file/cat.jpg")]

    assert list(outside.iterdir()) == []
    assert [os.path.relpath(name, folder) for name in names] == [
        "linked~2/cat.jpg.3.png",
        "cat.jpg.3~2.png",
        "file~2/cat.jpg.3.png",
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match=r"cannot write .*: permission denied"):
        place(PictureFolder(tmp_path), "cat.jpg", b"picture")
