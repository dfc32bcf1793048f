"""What timm's own inference script does, with timm's model, transforms and loader: `timm_script.py WEIGHTS FOLDER`."""

from __future__ import annotations

import sys

import timm
import torch
from hardware import fast_dtype
from timm.data import create_dataset, create_loader, resolve_data_config

BATCH_SIZE = 8
WORKERS = 2


def main(weights: str, folder: str) -> None:
    dtype = fast_dtype()
    # A local file as the pretrained one: timm renames torchvision's keys on the way.
    model = timm.create_model("vgg16_bn", pretrained=True, pretrained_cfg_overlay={"file": weights})
    model = model.eval().to(dtype=dtype, memory_format=torch.channels_last)
    config = resolve_data_config({"crop_mode": "squash", "crop_pct": 1.0}, model=model)
    dataset = create_dataset("", root=folder)
    loader = create_loader(
        dataset, batch_size=BATCH_SIZE, num_workers=WORKERS, device=torch.device("cpu"), img_dtype=dtype, **config
    )
    paths = iter(dataset.filenames(absolute=True))
    with torch.inference_mode():
        for batch, _ in loader:
            logits = model(batch.contiguous(memory_format=torch.channels_last))
            probabilities, indices = torch.softmax(logits.float(), dim=1).max(dim=1)
            for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True):
                print(f"{next(paths)}\t{index}\t{probability:.6f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
