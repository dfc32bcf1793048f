"""transformers' image classification pipeline over a local timm model: `transformers_pipeline.py MODEL FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from hardware import fast_dtype
from transformers import pipeline

BATCH_SIZE = 8


def main(model: str, folder: str) -> None:
    classify = pipeline("image-classification", model=model, device="cpu", dtype=fast_dtype())
    index_of = {name: index for index, name in classify.model.config.id2label.items()}
    paths = [str(path) for path in sorted(Path(folder).iterdir())]
    results = classify((path for path in paths), batch_size=BATCH_SIZE, top_k=1)
    for path, result in zip(paths, results, strict=True):
        best = result[0]
        print(f"{path}\t{index_of[best['label']]}\t{best['score']:.6f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
