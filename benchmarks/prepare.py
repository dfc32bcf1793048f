"""Makes one thing that the benchmarks need: `prepare.py VERB ARGUMENTS... OUTPUT`.

A process of its own, so that what it loads is not counted to any contestant.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ARCH = "vgg16_bn"
SEED = 20261120
PHOTO_SIZE = (500, 375)  # width and height of a typical ImageNet photo
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def photos(count: str, output: Path) -> None:
    """A folder of JPEGs: smooth colours under noise at several scales, so that they compress as photos do."""
    random = np.random.default_rng(SEED)
    output.mkdir()
    width, height = PHOTO_SIZE
    for number in range(int(count)):
        picture = np.zeros((height, width, 3))
        for cell, weight in ((125, 0.6), (25, 0.25), (5, 0.15)):
            noise = random.integers(0, 256, (height // cell, width // cell, 3), np.uint8)
            picture += weight * np.asarray(Image.fromarray(noise).resize(PHOTO_SIZE, Image.Resampling.BICUBIC))
        Image.fromarray(picture.astype(np.uint8)).save(output / f"{number:04d}.jpg", quality=90)


def weights(folder: str, output: Path) -> None:
    """A vgg16_bn with random convolutions and a fitted last layer, as torch.save writes it today.

    Every photo of the folder gets a class of its own with a probability near 1, so that a contestant that reads
    images or weights in another way is seen to answer differently.
    """
    import torch

    from vggcli.network import zoo
    from vggcli.network.module import VGG

    torch.manual_seed(SEED)
    network = VGG(zoo.variant(ARCH).architecture)
    images = [_pixels(path) for path in sorted(Path(folder).iterdir())]
    with torch.inference_mode():
        _fit(network, [torch.stack(images[start : start + 16]) for start in range(0, len(images), 16)])
    torch.save(network.state_dict(), output)


def _pixels(path: Path) -> Tensor:
    """(3, 224, 224), normalised."""
    import torch

    picture = Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    values = (np.asarray(picture, np.float32) / 255 - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return torch.from_numpy(values).permute(2, 0, 1)


def _fit(network: Any, batches: list[Tensor]) -> None:
    """Set batch norm's statistics to those of the batches and solve for the linear layers."""
    import torch

    for module in network.features:
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the plain average over all batches
    network.features.train()
    for batch in batches:
        network.features(batch)
    network.eval()
    features = torch.cat([network.avgpool(network.features(batch)).flatten(1) for batch in batches])
    first, second, last = (module for module in network.classifier if isinstance(module, torch.nn.Linear))
    hidden = _spread_out(second, _spread_out(first, features)).double()
    count = len(hidden)
    # Ridge regression onto 10 for the photo's own class and -4 for all others, which is a softmax near 1.
    wanted = torch.full((count, last.out_features), -4.0, dtype=torch.double)
    wanted[torch.arange(count), torch.arange(count) * 7 % last.out_features] = 10.0
    design = torch.cat([hidden, torch.ones(count, 1, dtype=torch.double)], dim=1)
    gram = design @ design.T + 1e-2 * torch.eye(count, dtype=torch.double)
    solution = (design.T @ torch.linalg.solve(gram, wanted)).T.float()
    last.weight.copy_(solution[:, :-1])
    last.bias.copy_(solution[:, -1])


def _spread_out(layer: torch.nn.Linear, inputs: Tensor) -> Tensor:
    """Random weights on standardised inputs: deep random features of different photos are nearly parallel else."""
    import torch

    mean, std = inputs.mean(0), inputs.std(0, correction=0) + 1e-2
    layer.weight.copy_(torch.randn(layer.weight.shape) * (2 / layer.in_features) ** 0.5 / std)
    layer.bias.copy_(-(layer.weight @ mean))
    return torch.relu(layer(inputs))


def ir(checkpoint: str, output: Path) -> None:
    """OpenVINO's own format, fp32, any batch size: a folder with model.xml and model.bin."""
    import openvino
    import torch
    from torchvision import models

    network = models.get_model(ARCH)
    network.load_state_dict(torch.load(checkpoint))
    network.eval()
    converted = openvino.convert_model(network, input=[-1, 3, 224, 224], example_input=torch.zeros(1, 3, 224, 224))
    output.mkdir()
    openvino.save_model(converted, output / "model.xml", compress_to_fp16=False)


def transformers(checkpoint: str, output: Path) -> None:
    """A local model folder of transformers' timm wrapper: config.json and model.safetensors."""
    import timm
    from safetensors.torch import save_file

    network = timm.create_model(ARCH, pretrained=True, pretrained_cfg_overlay={"file": checkpoint})
    recipe = {"input_size": [3, 224, 224], "mean": MEAN, "std": STD, "interpolation": "bilinear"}
    classes = network.num_classes
    config = {
        "architectures": ["TimmWrapperForImageClassification"],
        "architecture": ARCH,
        "model_type": "timm_wrapper",
        "num_classes": classes,
        "num_features": network.num_features,
        "label_names": [f"class {index}" for index in range(classes)],
        "pretrained_cfg": {**recipe, "crop_mode": "squash", "crop_pct": 1.0, "num_classes": classes},
    }
    output.mkdir()
    (output / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), output / "model.safetensors", metadata={"format": "pt"})


def resave(format: str, checkpoint: str, output: Path) -> None:
    """The same state_dict in the other file format: "zip" or "legacy", torch's stream format until 2020."""
    import torch

    torch.save(torch.load(checkpoint), output, _use_new_zipfile_serialization=format == "zip")


VERBS: dict[str, Callable[..., None]] = {verb.__name__: verb for verb in (photos, weights, ir, transformers, resave)}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:-1], Path(sys.argv[-1]))
