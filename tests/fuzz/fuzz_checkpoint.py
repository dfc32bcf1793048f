"""Fuzz the checkpoint reader with atheris: every input ends in a result or an error for people, at a bounded price.

    pip install atheris
    python tests/fuzz/fuzz_checkpoint.py --seconds 1200
    python tests/fuzz/fuzz_checkpoint.py --runs 100000 CORPUS_FOLDER
    python tests/fuzz/fuzz_checkpoint.py crash-0123456789      (one input again)

Starts from small files of the three formats, made here without torch. Inputs that crash are written to the current
folder. Not part of the normal test suite.
"""

from __future__ import annotations

import json
import struct
import tempfile
import zipfile
from contextlib import closing, suppress
from pathlib import Path

from harness import Target, fuzz

FLOATS = struct.pack("<6f", 0, 1, 2, 3, 4, 5)
ID = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x06tQ"
TENSOR = (
    b"ctorch._utils\n_rebuild_tensor_v2\n(" + ID + b"K\0K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
)
PICKLE = (
    b"\x80\x02}q\0(X\x01\0\0\0w"
    + TENSOR
    + b"X\x05\0\0\0epochK\x03X\x04\0\0\0lossG?\xe0\0\0\0\0\0\0X\x01\0\0\0l]q\x01K\x01au."
)
FRAMED = (
    b"\x80\x04\x95\x20\0\0\0\0\0\0\0}\x94(\x8c\x01a\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93)R}b"
    b"\x8c\x01b\x8f(K\x01\x90\x8c\x01t" + TENSOR + b"u."
)
ATTACK = b"(lp0\ncos\nsystem\n(S'true'\ntR(ios\nsystem\n\x82\x01\x92."
WORDS = [
    b"PK\\x03\\x04",
    b"PK\\x01\\x02",
    b"PK\\x05\\x06",
    b"PK\\x06\\x06",
    b"PK\\x06\\x07",
    b"data.pkl",
    b"byteorder",
]


def whole_network() -> bytes:
    """The pickle of a network of the zoo with names of its classes; every tensor repeats one number."""
    from vggcli.network import zoo

    made = b"\x80\x02}(X\x0a\0\0\0state_dict}("
    for key, shape in zoo.VARIANTS[zoo.DEMO].architecture.tensors().items():
        made += b"X" + struct.pack("<I", len(key)) + key.encode()
        sizes = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in shape) + b"t"
        strides = b"(" + b"K\0" * len(shape) + b"t"
        made += b"ctorch._utils\n_rebuild_tensor_v2\n(" + ID + b"K\0" + sizes + strides
        made += b"\x89ccollections\nOrderedDict\n)RtR"
    names = b"".join(b"X\x03\0\0\0cat" for _ in range(10))
    return made + b"uX\x07\0\0\0classes](" + names + b"eu."


def seeds() -> list[bytes]:
    """Small well-formed files."""
    made = [ATTACK, b"<!DOCTYPE html>", b"version https://git-lfs.github.com/spec/v1\n"]
    for pickle in (PICKLE, FRAMED, whole_network()):
        with tempfile.TemporaryFile() as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("a/data.pkl", pickle)
                archive.writestr("a/byteorder", b"little")
                archive.writestr("a/data/0", FLOATS)
            file.seek(0)
            made.append(file.read())
        head = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
        legacy = pickle.replace(ID, ID[:-2] + b"NtQ")
        made.append(head + legacy + b"\x80\x02]X\x01\0\0\x000a." + struct.pack("<q", 6) + FLOATS)
    header = {
        "__metadata__": {"format": "pt"},
        "w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [2], "data_offsets": [24, 28]},
    }
    text = json.dumps(header).encode()
    made.append(struct.pack("<Q", len(text)) + text + bytes(28))
    return made


def read_everything(path: str) -> None:
    """Do with the file what `inspect --stats`, `summary` and `predict` do with one."""
    from vggcli.analysis.inspection import inspect
    from vggcli.errors import VggError
    from vggcli.weights.opening import open_model

    with suppress(VggError):
        inspect(path, stats=True)
    try:
        model = open_model(Path(path))
    except VggError:
        return
    with closing(model), suppress(VggError):
        model.check_numbers()
        model.arrays()


if __name__ == "__main__":
    fuzz(
        Target(
            doc=__doc__ or "",
            modules=("vggcli.analysis.inspection", "vggcli.weights.checkpoint", "vggcli.weights.opening"),
            packages=("vggcli",),
            seeds=seeds,
            words=WORDS,
            input_mb=200,
            input_seconds=15,
        ),
        lambda: read_everything,
    )
