"""A careful OpenVINO script over an already converted model.

`openvino_handwritten.py [--batch N] [--precision auto|fp32|bf16] MODEL.xml FOLDER`
"""

from __future__ import annotations

import argparse
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

PRECISIONS = {"fp32": "f32", "bf16": "bf16"}
DECODERS = 2
REQUESTS = 2
BATCHES_AHEAD = 3  # decoded or being decoded, so that memory does not grow with the folder


def compile_model(path: str, precision: str) -> Any:
    """The model with uint8 NHWC images as its input; by default in bf16 on AMX, else in fp32, which is faster there."""
    core = openvino.Core()
    processor = PrePostProcessor(core.read_model(path))
    images = processor.input()
    images.tensor().set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
    images.model().set_layout(openvino.Layout("NCHW"))
    images.preprocess().convert_element_type(openvino.Type.f32).mean([123.675, 116.28, 103.53]).scale(
        [58.395, 57.12, 57.375]
    )
    fast = "bf16" if "amx_bf16" in Path("/proc/cpuinfo").read_text().split() else "fp32"
    hint = PRECISIONS[fast if precision == "auto" else precision]
    return core.compile_model(processor.build(), "CPU", {"INFERENCE_PRECISION_HINT": hint})


def decode(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))


def batches(paths: list[Path], size: int) -> Iterator[tuple[list[Path], NDArray[np.uint8]]]:
    rest = iter(paths)
    chunks = iter(lambda: list(islice(rest, size)), [])
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    compiled = compile_model(options.model, options.precision)
    free = [compiled.create_infer_request() for _ in range(REQUESTS)]
    running: deque[tuple[list[Path], Any]] = deque()
    for paths, images in batches(sorted(options.folder.iterdir()), options.batch):
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
    main()
