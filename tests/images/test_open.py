"""What the system says of a file that cannot be opened or read becomes a kind of failure; nothing is waited for."""

from __future__ import annotations

import io
import os
import socket
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from image_examples import failure, gradient, load, saved
from numpy.typing import NDArray
from PIL import Image

from vggcli.errors import InputError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input


def shown(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.resize((224, 224), Image.Resampling.BILINEAR))


def test_a_folder_that_may_not_be_read_is_a_matter_of_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failure(tmp_path).kind == "not-a-file"
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may read all
    assert failure(tmp_path).kind == "permission"


def test_what_is_not_there(tmp_path: Path) -> None:
    assert failure(tmp_path / "no.jpg").kind == "missing"
    assert failure(tmp_path / "no.jpg", given=False).kind == "vanished"
    assert failure(tmp_path / "no" / "no.jpg").kind == "missing"
    (tmp_path / "file").touch()
    assert failure(tmp_path / "file" / "no.jpg").kind == "missing"
    assert failure("").kind == "missing"
    assert failure("a\0b.jpg").kind == "missing"
    assert failure(tmp_path / ("x" * 300)).kind == "unreadable"


def test_links_that_lead_nowhere(tmp_path: Path) -> None:
    os.symlink("gone", tmp_path / "dangling.jpg")
    os.symlink("loop.jpg", tmp_path / "loop.jpg")
    for named in (True, False):
        error = failure(tmp_path / "dangling.jpg", given=named)
        assert (error.kind, error.why) == ("missing", "it is a link to a file that does not exist")
    assert failure(tmp_path / "loop.jpg").kind == "unreadable"


def test_what_is_no_regular_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.jpg")
    os.symlink("/dev/zero", tmp_path / "zero.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(tmp_path)  # a socket's address is short
        listener.bind("socket.jpg")
        os.chdir(here)
        for name, what in (("fifo.jpg", "FIFO"), ("zero.jpg", "device"), ("socket.jpg", "socket"), ("", "folder")):
            error = failure(tmp_path / name)
            assert error.kind == "not-a-file"
            assert what in error.why


def test_a_file_that_becomes_a_fifo_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").touch()
    before = os.stat(tmp_path / "b.jpg")
    monkeypatch.setattr("vggcli.images.open.os.stat", lambda path: before)
    assert failure(tmp_path / "a.jpg").kind == "not-a-file"


def test_a_file_without_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert failure(tmp_path / "a.jpg").kind == "empty"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_a_file_that_this_user_may_not_read() -> None:
    with tempfile.TemporaryDirectory() as top:
        os.chmod(top, 0o755)
        path = Path(top, "a.png")
        gradient().save(path)
        os.chmod(path, 0)
        os.seteuid(65534)
        try:
            assert failure(path).kind == "permission"
        finally:
            os.seteuid(0)


def stdin_of(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_standard_input_is_an_image_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin_of(saved(gradient(), "PNG"), monkeypatch)
    pixels = ImageLoader(Decoding()).load(Input("-", is_stdin=True)).pixels
    assert (pixels == shown(gradient())).all()


def test_standard_input_without_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin_of(b"", monkeypatch)
    with pytest.raises(InputError) as caught:
        ImageLoader(Decoding()).load(Input("-", is_stdin=True))
    assert caught.value.kind == "empty"


def test_a_file_may_be_called_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    gradient().save("-", "PNG")
    stdin_of(b"not this", monkeypatch)
    assert (load("-") == shown(gradient())).all()
