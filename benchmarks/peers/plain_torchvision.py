"""The script that people copy from tutorials: one image at a time, fp32: `plain_torchvision.py WEIGHTS FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from PIL import Image
from torchvision import models, transforms


def main(weights: str, folder: str) -> None:
    model = models.vgg16_bn()
    model.load_state_dict(torch.load(weights))
    model.eval()
    transform = transforms.Compose(
        [
            transforms.Resize((224, 224)),
            transforms.ToTensor(),
            transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ]
    )
    for path in sorted(Path(folder).iterdir()):
        image = transform(Image.open(path).convert("RGB")).unsqueeze(0)
        with torch.no_grad():
            probabilities = torch.softmax(model(image)[0], dim=0)
        probability, index = probabilities.max(dim=0)
        print(f"{path}\t{index.item()}\t{probability.item():.6f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
