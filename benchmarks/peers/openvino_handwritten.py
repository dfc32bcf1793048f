"""A careful OpenVINO script over an already converted model: `openvino_handwritten.py MODEL.xml FOLDER`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from numpy.typing import NDArray
from openvino.preprocess import PrePostProcessor
from PIL import Image

BATCH_SIZE = 8
DECODERS = 2
REQUESTS = 2
BATCHES_AHEAD = 3  # decoded or being decoded, so that memory does not grow with the folder


def compile_model(path: str) -> Any:
    """The model with uint8 NHWC images as its input; precision is left to OpenVINO (bf16 where the CPU has it)."""
    core = openvino.Core()
    processor = PrePostProcessor(core.read_model(path))
    images = processor.input()
    images.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    images.model().set_layout(openvino.Layout("NCHW"))
    images.preprocess().convert_element_type(openvino.Type.f32).mean([123.675, 116.28, 103.53]).scale(
        [58.395, 57.12, 57.375]
    )
    return core.compile_model(processor.build(), "CPU")


def decode(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def batches(paths: list[Path]) -> Iterator[tuple[list[Path], NDArray[np.uint8]]]:
    rest = iter(paths)
    chunks = iter(lambda: list(islice(rest, BATCH_SIZE)), [])
    with ThreadPoolExecutor(DECODERS) as pool:
        ahead = deque((chunk, [pool.submit(decode, path) for path in chunk]) for chunk in islice(chunks, BATCHES_AHEAD))
        while ahead:
            chunk, images = ahead.popleft()
            for following in islice(chunks, 1):
                ahead.append((following, [pool.submit(decode, path) for path in following]))
            yield chunk, np.stack([image.result() for image in images])


def show(paths: list[Path], request: Any) -> None:
    request.wait()
    logits = request.get_output_tensor(0).data
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponents / exponents.sum(axis=1, keepdims=True)
    for path, row in zip(paths, probabilities, strict=True):
        print(f"{path}\t{row.argmax()}\t{row.max():.6f}", flush=True)


def main(model: str, folder: str) -> None:
    compiled = compile_model(model)
    free = [compiled.create_infer_request() for _ in range(REQUESTS)]
    running: deque[tuple[list[Path], Any]] = deque()
    for paths, images in batches(sorted(Path(folder).iterdir())):
        if not free:
            finished_paths, finished = running.popleft()
            show(finished_paths, finished)
            free.append(finished)
        request = free.pop()
        request.start_async({0: images})
        running.append((paths, request))
    for paths, request in running:
        show(paths, request)


if __name__ == "__main__":
    main(*sys.argv[1:])
