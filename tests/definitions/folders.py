"""Folders, and files with a neighbour or metadata: those that state their recipe need no option."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from definitions.definition import IMAGENET, Definition, Saver
from definitions.heads import ALL_LABELS, PETS
from definitions.layers import GRID, HIDDEN, LAST, PLAIN, chain, features, pooled, row, three, torchvision_like
from definitions.preprocessing import BICUBIC, crop, half, squash
from definitions.saving import safetensors_file, state
from torch import nn

HALF, IMAGENET_MEAN, IMAGENET_STD = [0.5, 0.5, 0.5], [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def timm_vgg(variant: str, classes: int) -> nn.Module:
    """timm's VGG: the first two linears are convolutions under `pre_logits`."""
    first = [("fc1", nn.Conv2d(LAST, HIDDEN, 7)), ("act1", nn.ReLU()), ("drop", nn.Dropout(0.0))]
    second = [("fc2", nn.Conv2d(HIDDEN, HIDDEN, 1)), ("act2", nn.ReLU())]
    last = chain(global_pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(HIDDEN, classes))
    return chain(features=features(row(variant)), pre_logits=chain([*first, *second]), head=last)


def folder(documents: Mapping[str, object], prefix: str = "", *, binary: bool = False) -> Saver:
    """A folder of weights and JSON documents, as hubs lay it out."""

    def save(network: nn.Module, where: Path) -> Path:
        path = where / "model"
        path.mkdir()
        for name, document in documents.items():
            (path / name).write_text(json.dumps(document, indent=2), "utf-8")
        if binary:
            torch.save({prefix + key: t for key, t in state(network).items()}, path / "pytorch_model.bin")
        else:
            safetensors_file(network, path / "model.safetensors", {"format": "pt"}, prefix)
        return path

    return save


def beside(name: str, document: object) -> Saver:
    """A bare state_dict with a JSON document as its neighbour."""

    def save(network: nn.Module, where: Path) -> Path:
        (where / name).write_text(json.dumps(document, indent=4), "utf-8")
        torch.save(state(network), where / "vgg16Net.pth")
        return where / "vgg16Net.pth"

    return save


def timm_config(classes: int, **cfg: object) -> dict[str, object]:
    """timm's config.json."""
    said = {
        "tag": "pets",
        "input_size": [3, 224, 224],
        "fixed_input_size": False,
        "interpolation": "bilinear",
        "crop_pct": 0.875,
        "crop_mode": "center",
        "mean": IMAGENET_MEAN,
        "std": IMAGENET_STD,
        "num_classes": classes,
        "pool_size": [7, 7],
        "first_conv": "features.0",
        "classifier": "head.fc",
    }
    return {"architecture": "vgg13_bn", "num_classes": classes, "num_features": HIDDEN, "pretrained_cfg": said | cfg}


def preprocessor(**more: object) -> dict[str, object]:
    """Hugging Face's preprocessor_config.json."""
    said = {
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_processor_type": "ViTImageProcessor",
        "image_std": IMAGENET_STD,
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": 224, "width": 224},
    }
    return said | more


def id2label(names: tuple[str, ...]) -> dict[str, str]:
    """With strings for numbers, as JSON has it."""
    return {str(index): name for index, name in enumerate(names)}


DEFINITIONS = (
    Definition(
        name="timm-folder",
        source="timm on a hub",
        difference="`pre_logits.fc1`, `head.fc`; shorter side to 224 / 0.875, bicubic",
        network=lambda: timm_vgg("vgg13", 5),
        see=crop(filter=BICUBIC),
        saved="folder: config.json, model.safetensors",
        save=folder(
            {"config.json": timm_config(5, interpolation="bicubic") | {"label_names": list(PETS)}},
        ),
        read="names: `label_names`; recipe: `pretrained_cfg`",
        names=PETS,
    ),
    Definition(
        name="timm-folder-half",
        source="timm on a hub, whole pictures and 0.5",
        difference="crop_pct 1 with crop_mode squash, mean and deviation 0.5, pytorch_model.bin",
        network=lambda: timm_vgg("vgg13", 5),
        see=half(224),
        saved="folder: config.json, pytorch_model.bin",
        save=folder(
            {
                "config.json": timm_config(
                    5, mean=HALF, std=HALF, crop_pct=1.0, crop_mode="squash", label_names=list(PETS)
                )
            },
            binary=True,
        ),
        read="names: `pretrained_cfg.label_names`; recipe: `pretrained_cfg`",
        names=PETS,
    ),
    Definition(
        name="timm-wrapper-folder",
        source="Hugging Face's TimmWrapperForImageClassification",
        difference="`timm_model.` before every key",
        network=lambda: timm_vgg("vgg13", 5),
        see=crop(),
        saved="folder: config.json, model.safetensors",
        save=folder(
            {
                "config.json": timm_config(5)
                | {
                    "architectures": ["TimmWrapperForImageClassification"],
                    "model_type": "timm_wrapper",
                    "label_names": list(PETS),
                }
            },
            "timm_model.",
        ),
        read="names: `label_names`; recipe: `pretrained_cfg`",
        names=PETS,
    ),
    Definition(
        name="hugging-face-folder",
        source="a VGG of one's own with Hugging Face's save_pretrained",
        difference="`vgg.features.N`; whole pictures, 0.5",
        network=lambda: torchvision_like(features(row("vgg16")), three(GRID, 5)),
        see=half(224),
        saved="folder: config.json, preprocessor_config.json, model.safetensors",
        save=folder(
            {
                "config.json": {"model_type": "vgg", "architectures": ["VggForImageClassification"]}
                | {"id2label": id2label(PETS), "label2id": {name: i for i, name in enumerate(PETS)}},
                "preprocessor_config.json": preprocessor(image_mean=HALF, image_std=HALF),
            },
            "vgg.",
        ),
        read="names: `id2label`; recipe: preprocessor_config.json",
        names=PETS,
    ),
    Definition(
        name="hugging-face-folder-crop",
        source="a VGG of one's own with Hugging Face's ConvNext-like processor",
        difference="shortest_edge 256, center crop of 224, bicubic",
        network=lambda: torchvision_like(features(row("vgg11"), PLAIN), three(GRID, 5)),
        see=crop(filter=BICUBIC),
        saved="folder: config.json, preprocessor_config.json, pytorch_model.bin",
        save=folder(
            {
                "config.json": {"model_type": "vgg", "id2label": id2label(PETS)},
                "preprocessor_config.json": preprocessor(
                    image_processor_type="BitImageProcessor",
                    size={"shortest_edge": 256},
                    do_center_crop=True,
                    crop_size={"height": 224, "width": 224},
                    resample=3,
                ),
            },
            binary=True,
        ),
        read="names: `id2label`; recipe: preprocessor_config.json",
        names=PETS,
    ),
    Definition(
        name="hugging-face-several-labels",
        source="Hugging Face with problem_type multi_label_classification",
        difference="global average pooling at 224 pixels by the processor; sigmoid",
        network=lambda: pooled(features(row("vgg16")), nn.Linear(LAST, 4)),
        see=squash(),
        saved="folder: config.json, preprocessor_config.json, model.safetensors",
        save=folder(
            {
                "config.json": {
                    "model_type": "vgg",
                    "problem_type": "multi_label_classification",
                    "id2label": id2label(("cat", "dog", "hat", "sofa")),
                },
                "preprocessor_config.json": preprocessor(),
            }
        ),
        read="names: `id2label`; recipe: preprocessor_config.json; sigmoid: `problem_type`",
        names=("cat", "dog", "hat", "sofa"),
        activation="sigmoid",
        rest=ALL_LABELS,
    ),
    Definition(
        name="class-indices-beside",
        source="WZMIAOMIAO deep-learning-for-image-processing",
        difference="mean and deviation 0.5; names in a neighbour",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), three(GRID, 5)),
        see=half(224),
        saved="bare state_dict, class_indices.json beside it",
        save=beside("class_indices.json", id2label(("daisy", "dandelion", "roses", "sunflowers", "tulips"))),
        read="names: class_indices.json",
        names=("daisy", "dandelion", "roses", "sunflowers", "tulips"),
        says=("--recipe", "half"),
    ),
    Definition(
        name="config-beside",
        source="a bare file downloaded with its config.json",
        difference="size, mean and deviation in a neighbour",
        network=lambda: torchvision_like(features(row("vgg13")), three(GRID, 5)),
        see=half(224),
        saved="bare state_dict, config.json beside it",
        save=beside(
            "config.json",
            timm_config(5, mean=HALF, std=HALF, crop_pct=1.0, crop_mode="squash", label_names=list(PETS)),
        ),
        read="names: `pretrained_cfg.label_names`; recipe: `pretrained_cfg`",
        names=PETS,
    ),
    Definition(
        name="config-beside-of-another",
        source="a bare file that lies beside another network's config.json",
        difference="the config speaks of 37 classes and another network: it is ignored, with a note",
        network=lambda: torchvision_like(features(row("vgg13")), three(GRID, 5)),
        see=squash(),
        saved="bare state_dict, a foreign config.json beside it",
        save=beside("config.json", timm_config(37, mean=HALF, std=HALF, label_names=[f"breed {n}" for n in range(37)])),
        says=IMAGENET,
    ),
    Definition(
        name="safetensors-metadata",
        source="safetensors files with their names as JSON in the metadata",
        difference="names in the header",
        network=lambda: torchvision_like(features(row("vgg16")), three(GRID, 5)),
        see=squash(),
        saved="safetensors with metadata",
        save=lambda network, where: safetensors_file(
            network, where / "pets.safetensors", {"format": "pt", "id2label": json.dumps(id2label(PETS))}
        ),
        read="names: metadata `id2label`",
        names=PETS,
        says=IMAGENET,
    ),
)
