"""Inputs cut into blocks and kept: what a run means is settled once, whatever becomes of its folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scale.scale_examples import PATHS, spooled

from vggcli.errors import UsageError
from vggcli.images.item import Archive, Input
from vggcli.scale.blocks import block_name, cut, kept_blocks, read_block
from vggcli.scale.storage import Folder


@pytest.mark.parametrize("size", [1, 3, 5, 10, 11])
def test_blocks_are_consecutive_inputs(size: int, tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooler = spooled(storage, size=size)

    kept = [read_block(storage, number) for number in range(spooler.blocks)]
    assert [item.path for block in kept for item in block.items] == PATHS
    assert [len(block.items) for block in kept[:-1]] == [size] * (spooler.blocks - 1)
    assert (spooler.blocks, spooler.inputs) == kept_blocks(storage) == (-(-len(PATHS) // size), len(PATHS))
    assert all(item.given for block in kept for item in block.items)
    with pytest.raises(FileNotFoundError):
        read_block(storage, spooler.blocks)


def test_an_archive_is_a_block() -> None:
    items = [Input("a"), Archive("x.tar"), Archive("y.tar", given=False), Input("b"), Input("c"), Input("d")]
    blocks = list(cut(items, 2))

    assert [[item.path for item in block.items] for block in blocks] == [["a"], ["x.tar"], ["y.tar"], ["b", "c"], ["d"]]
    assert [block.is_archive for block in blocks] == [False, True, True, False, False]


def test_kept_archives_are_archives(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    from vggcli.scale.blocks import Block, write_block

    block = Block((Archive("x.tar", given=False),))
    write_block(storage, 7, block)
    assert read_block(storage, 7) == block
    assert read_block(storage, 7).is_archive


@pytest.mark.parametrize("item", [Input("-", is_stdin=True), Input(None, content=b"x")])
def test_what_no_node_can_read_is_refused(item: Input) -> None:
    with pytest.raises(UsageError, match="the nodes of a cluster cannot read it"):
        list(cut([Input("a"), item], 2))


def test_credentials_are_kept_in_no_file() -> None:
    with pytest.raises(UsageError, match="credentials") as refused:
        list(cut([Input("https://host/a.jpg", secret="https://me:secret@host/a.jpg")], 2))
    assert "secret@" not in str(refused.value)


def test_inputs_are_walked_once(tmp_path: Path) -> None:
    """A run that is gone on with means what it meant, also when its list says other things by now."""
    storage = Folder(str(tmp_path))
    spooled(storage)

    again = spooled(storage, paths=["something", "else"])
    assert (again.blocks, again.inputs) == (4, len(PATHS))
    assert read_block(storage, 3).items == (Input("e.jpg"),)


@pytest.mark.parametrize("left", [0, 1, 2, 4])
def test_a_walk_that_was_killed_is_walked_again_and_compared(left: int, tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    expected = {path.name: path.read_bytes() for path in (tmp_path / "blocks").iterdir()}
    os.unlink(tmp_path / "blocks" / "end.json")
    for number in range(left, 4):
        os.unlink(tmp_path / block_name(number))

    spooled(storage)
    assert {path.name: path.read_bytes() for path in (tmp_path / "blocks").iterdir()} == expected


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        (["0.jpg", *PATHS], "input 1 of its block 0 is 'a.jpg', this run's is '0.jpg'"),
        (PATHS[:4] + PATHS[5:], "input 2 of its block 1 is 'a.jpg', this run's is 'flaky,1.jpg'"),
        (PATHS[:3], "input 1 of its block 1 is 'é.*, this run's is none"),
    ],
)
def test_a_folder_that_changed_during_a_killed_walk_is_refused(paths: list[str], why: str, tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    os.unlink(tmp_path / "blocks" / "end.json")

    with pytest.raises(UsageError, match=why):
        spooled(storage, paths)


def test_another_list_in_the_place_of_a_block_is_said(tmp_path: Path) -> None:
    storage = Folder(str(tmp_path))
    spooled(storage)
    for text in (b"{}\n", b"no json\n", b'["a", 1]\n', b"[null, true]\n"):
        (tmp_path / block_name(0)).write_bytes(text)
        with pytest.raises(UsageError, match="not one that this tool wrote"):
            read_block(storage, 0)
