"""A careful torch script: batches, workers, channels_last, bf16 where it helps: `batched_torch.py WEIGHTS FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from hardware import fast_dtype
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

BATCH_SIZE = 8
WORKERS = 2


class Photos(Dataset[torch.Tensor]):
    """Preprocessed images (3, 224, 224), float32."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.transform = transforms.Compose(
            [
                transforms.Resize((224, 224)),
                transforms.ToTensor(),
                transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        image: torch.Tensor = self.transform(Image.open(self.paths[index]).convert("RGB"))
        return image


def main(weights: str, folder: str) -> None:
    dtype = fast_dtype()
    with torch.device("meta"):  # no time lost on initial weights that are about to be replaced
        model = models.vgg16_bn()
    model.load_state_dict(torch.load(weights), assign=True)
    model.eval().to(dtype=dtype, memory_format=torch.channels_last)
    paths = sorted(Path(folder).iterdir())
    done = iter(paths)
    with torch.inference_mode():
        for batch in DataLoader(Photos(paths), BATCH_SIZE, num_workers=WORKERS):
            images = batch.to(dtype=dtype, memory_format=torch.channels_last)
            probabilities, indices = torch.softmax(model(images).float(), dim=1).max(dim=1)
            for index, probability in zip(indices.tolist(), probabilities.tolist(), strict=True):
                print(f"{next(done)}\t{index}\t{probability:.6f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
