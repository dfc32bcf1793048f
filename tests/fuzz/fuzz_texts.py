"""Fuzz the readers of small texts with atheris: each input ends in a value or an error for people.

    pip install atheris
    python tests/fuzz/fuzz_texts.py --seconds 1200
    python tests/fuzz/fuzz_texts.py --runs 100000 CORPUS_FOLDER
    python tests/fuzz/fuzz_texts.py crash-0123456789      (one input again)

The first byte of an input says which reader gets the rest: the settings beside an output, an output read back, a file
of class names, names and metadata in a checkpoint, the note of an unfinished download, the headers of a server, a URL.
Not part of the normal test suite.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from harness import Target, fuzz

TOP_K = 2
RECORDS = [
    b'{"path": "a.jpg", "status": "ok", "predictions": [{"rank": 1, "index": 258, "label": "Samoyed", "probability":'
    b' 0.8732}, {"rank": 2, "index": 1, "label": "\\u00e4", "probability": 0.1}]}\n',
    b'{"path": "b\\udcff.jpg", "status": "error", "error": {"kind": "truncated", "message": "m"}, "predictions": []}\n',
    b"a.jpg\t1\t258\tSamoyed\t0.873200\t\na.jpg\t2\t1\tcat\t0.100000\t\nb\\xff.jpg\t\t\t\t\ttruncated: m\n",
    b'path,rank,index,label,probability,error\r\n"a,b.jpg",1,258,"\'=Samoyed",0.873200,\r\n"a,b.jpg",2,1,x,0.1,\r\n',
]
SETTINGS = {
    "version": "0.1.0",
    "weights": "w.pth",
    "weights_fingerprint": "sha256:00",
    "variant": "vgg16_bn",
    "dialect": "torchvision",
    "preprocessing": "squash 224",
    "labels": "0123456789ab",
    "engine": "openvino",
    "device": "cpu",
    "precision": "fp32",
    "top_k": TOP_K,
}
WORDS = [
    b"\\xef\\xbb\\xbf",
    b"NaN",
    b"Infinity",
    b'"status"',
    b'"path"',
    b"[[[[[[[[",
    b'{\\"a\\":',
    b"\\\\udcff",
    b"1e999",
]


def sidecar(path: Path, data: bytes) -> None:
    from vggcli.output.sidecar import compare_sidecar, sidecar_path
    from vggcli.records import Provenance

    output = path.with_name("out.tsv")
    sidecar_path(output).write_bytes(data)
    compare_sidecar(output, "tsv", "predictions", Provenance(**SETTINGS))  # type: ignore[arg-type]


def written(format: str) -> Callable[[Path, bytes], None]:
    def read(path: Path, data: bytes) -> None:
        from vggcli.output.predictions import PredictionCodec
        from vggcli.output.readback import header_end, read_back

        path.write_bytes(data)
        codec = PredictionCodec(TOP_K)
        with path.open("rb") as file:
            file.seek(header_end(file, format, codec, "out"))
            end = 0
            for record in read_back(file, format, codec, "out"):
                assert end <= record.start < record.end <= len(data)
                end = record.end

    return read


def names(path: Path, data: bytes) -> None:
    from vggcli.network import labels

    path.write_bytes(data)
    found = labels.for_model(2, str(path), None)
    assert len(found) == 2
    assert len(labels.digest(found)) == 12


def metadata(path: Path, data: bytes) -> None:
    from vggcli.network import labels

    text = data.decode("utf-8", "replace")
    for key in ("classes", "id2label"):
        with suppress(labels.UnusableError):
            found = labels.in_checkpoint({}, {key: text})
            assert found is None or all(isinstance(name, str) for name in found)


def safetensors(path: Path, data: bytes) -> None:
    from vggcli.analysis.inspection import inspect

    path.write_bytes(struct.pack("<Q", len(data)) + data + bytes(24))
    inspect(path, stats=True)


def note(path: Path, data: bytes) -> None:
    from vggcli.weights.download.partial import PartialFile

    target = path.with_name("w.pth")
    target.with_name("w.pth.part").write_bytes(b"part")
    target.with_name("w.pth.part.json").write_bytes(data)
    with PartialFile(target) as partial:
        assert partial.size in (0, 4)
        assert partial.total is None or isinstance(partial.total, int)


def headers(path: Path, data: bytes) -> None:
    import httpx

    from vggcli.web import headers as answers

    names = ("Content-Range", "Content-Length", "ETag", "Last-Modified", "Retry-After")
    response = httpx.Response(206, headers=[(name.encode(), data) for name in names])
    span = answers.content_range(response)
    assert span is None or 0 <= span.first <= span.last < span.total
    assert (answers.content_length(response) or 0) >= 0
    assert (answers.unsatisfied_length(response) or 0) >= 0
    assert (answers.retry_after(response) or 0) >= 0
    answers.validator(response)


def address(path: Path, data: bytes) -> None:
    from vggcli.web.urls import on_mirror, redacted

    text = data.decode("utf-8", "surrogateescape")
    assert redacted(text).isprintable() or " " in redacted(text) or not text.isprintable()
    on_mirror(text, "https://host.example/models/w-01234567.pth")


READERS: list[Callable[[Path, bytes], None]] = [
    sidecar,
    written("tsv"),
    written("csv"),
    written("jsonl"),
    names,
    metadata,
    safetensors,
    note,
    headers,
    address,
]


def seeds() -> list[bytes]:
    """One well-formed text for each reader, and one that is nested deeply for those of JSON."""
    settings = json.dumps({"format": "tsv", **SETTINGS}, indent=2).encode()
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    texts = [
        (sidecar, settings),
        (READERS[1], RECORDS[2]),
        (READERS[2], RECORDS[3]),
        (READERS[3], RECORDS[0] + RECORDS[1]),
        (names, "\N{BYTE ORDER MARK}cat\r\ndög\r\n".encode()),
        (metadata, b'["cat", "dog"]'),
        (metadata, b'{"0": "cat", "1": "dog"}'),
        (safetensors, header),
        (note, b'{"total": 4, "validator": "\\"etag\\""}'),
        (headers, b"bytes 0-9/10"),
        (headers, b"Wed, 04 Jan 2017 10:00:00 GMT"),
        (address, b"https://user:secret@host.example:80/models?key=1"),
    ]
    deep = [(reader, b"[" * 30_000) for reader in READERS] + [(reader, b'{"a":' * 10_000) for reader in READERS]
    return [bytes([READERS.index(reader)]) + text for reader, text in texts + deep]


def start() -> Callable[[str], None]:
    from vggcli.errors import VggError

    def read(given: str) -> None:
        path = Path(given)
        data = path.read_bytes()
        if data:
            with suppress(VggError):
                READERS[data[0] % len(READERS)](path, data[1:])

    return read


if __name__ == "__main__":
    fuzz(
        Target(
            doc=__doc__ or "",
            modules=(
                "json.decoder",
                "vggcli.analysis.inspection",
                "vggcli.network.labels",
                "vggcli.output.predictions",
                "vggcli.output.readback",
                "vggcli.output.sidecar",
                "vggcli.web.headers",
                "vggcli.weights.download.partial",
            ),
            packages=("vggcli", "json"),
            seeds=seeds,
            words=WORDS,
            input_mb=100,
            input_seconds=10,
        ),
        start,
    )
