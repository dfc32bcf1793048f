"""Files of vectors from strangers: read as what they are, or refused in one sentence."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from vggcli.analysis.embeddings import EmbeddingFile
from vggcli.errors import UsageError

VECTORS = np.arange(6, dtype=np.float16).reshape(2, 3)
LINES = '{"path": "a.jpg", "status": "ok"}\n' * 2
SIDECAR: dict[str, Any] = {"records": "vectors", "dimensions": 3}


def saved(array: np.ndarray[Any, Any], version: tuple[int, int] | None = None) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    return file.getvalue()


def lay_out(folder: Path, content: bytes, lines: str | None = LINES, sidecar: str | None = None) -> Path:
    path = folder / "x.npy"
    path.write_bytes(content)
    if lines is not None:
        (folder / "x.npy.paths.jsonl").write_text(lines)
    (folder / "x.npy.vgg.json").write_text(json.dumps(SIDECAR) if sidecar is None else sidecar)
    return path


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_what_numpy_saves_is_mapped(dtype: str, version: tuple[int, int], tmp_path: Path) -> None:
    file = EmbeddingFile(lay_out(tmp_path, saved(VECTORS.astype(dtype), version)))

    assert isinstance(file.vectors, np.memmap)
    np.testing.assert_array_equal(file.vectors, VECTORS)
    assert (len(file), file.dimensions, file.vectors.dtype.str) == (2, 3, dtype)
    assert file.outcomes([1]) == [("a.jpg", None)]
    assert file.settings() == SIDECAR


def test_safetensors_are_mapped_by_their_name_or_as_the_only_tensor(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    (tmp_path / "x.safetensors.paths.jsonl").write_text(LINES)
    for tensors in ({"features": VECTORS, "other": VECTORS[:1]}, {"anything": VECTORS}):
        save_file(tensors, path)
        np.testing.assert_array_equal(EmbeddingFile(path).vectors, VECTORS)
    for tensors in ({"a": VECTORS, "b": VECTORS}, {"features": VECTORS[0]}, {"features": VECTORS.astype(np.int8)}):
        save_file(tensors, path)
        with pytest.raises(UsageError, match=r"several tensors|not rows of float16 or float32"):
            EmbeddingFile(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="cannot search"):
        EmbeddingFile(path)


def header(text: str, version: bytes = b"\x01\x00", length: int | None = None) -> bytes:
    return b"\x93NUMPY" + version + (len(text) if length is None else length).to_bytes(2, "little") + text.encode()


SHAPE = "{'descr': '<f2', 'fortran_order': False, 'shape': (%s), }"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no .npy file"),
        (b"\x93NUMPY\x09\x00" + bytes(100), "it is no .npy file"),
        (b"PK\x03\x04" + bytes(100), "it is no .npy file"),
        (header("__import__('os').abort()"), "not that of a plain array"),
        (header("(" * 60000), "not that of a plain array"),
        (header(SHAPE % "2, 3", length=65000), "not that of a plain array"),
        (saved(np.zeros((2, 3), object)), "not rows of float16 or float32"),
        (saved(VECTORS.astype(">f2")), "it holds >f2, 2 dimensions"),
        (saved(VECTORS.astype(np.float64)), "it holds <f8"),
        (saved(np.asfortranarray(VECTORS)), "in Fortran order"),
        (saved(VECTORS[0]), "1 dimensions"),
        (saved(VECTORS[:, :0]), "not rows"),
        (saved(VECTORS)[:-1], "it has 139 bytes, and its header tells of 140"),
        (saved(VECTORS) + b"x", "it has 141 bytes, and its header tells of 140"),
        (header(SHAPE % "99999999999999999, 999999999999999999"), "its header tells of"),
        (header(SHAPE % "9999999999999999999999, 3"), "not rows"),
    ],
)
def test_hostile_arrays_are_refused(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(why)):
        EmbeddingFile(lay_out(tmp_path, content))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (None, "no such file or directory"),
        ("", "it has 2 rows, and x.npy.paths.jsonl 0 lines"),
        (LINES + LINES, "it has 2 rows, and x.npy.paths.jsonl 3 lines or more"),
        (LINES[:-1], "x.npy.paths.jsonl 1 lines"),
    ],
)
def test_there_are_as_many_paths_as_rows(lines: str | None, why: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=why):
        EmbeddingFile(lay_out(tmp_path, saved(VECTORS), lines))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "[" * 5000,
        '{"path": 3, "status": "ok"}',
        '{"path": "a"}',
        '{"path": "a", "status": "error", "error": {}}',
    ],
)
def test_a_line_that_is_no_path_is_refused_with_its_number(line: str, tmp_path: Path) -> None:
    file = EmbeddingFile(lay_out(tmp_path, saved(VECTORS), f"{LINES[: len(LINES) // 2]}{line}\n"))

    assert file.outcomes([0]) == [("a.jpg", None)]
    with pytest.raises(UsageError, match="line 2 is not one that this tool wrote"):
        file.outcomes([1])


@pytest.mark.parametrize(
    ("sidecar", "why"),
    [
        ("{", "it is no JSON"),
        ("[]", "does not tell of vectors"),
        ("{}", "does not tell of vectors"),
        (json.dumps(SIDECAR | {"dimensions": "x" * 9999}), "dimensions, and it has 3"),
    ],
)
def test_a_sidecar_that_is_none_is_refused_when_it_is_needed(sidecar: str, why: str, tmp_path: Path) -> None:
    file = EmbeddingFile(lay_out(tmp_path, saved(VECTORS), sidecar=sidecar))

    with pytest.raises(UsageError, match=why) as refused:
        file.settings()
    assert len(str(refused.value)) < 600
