"""What users do to a picture before the network, with Pillow and torch alone: none of it is vgg's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from definitions.definition import Seen
from PIL import Image, ImageOps
from torch import Tensor

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
CIFAR100_MEAN, CIFAR100_STD = (0.5070, 0.4865, 0.4409), (0.2673, 0.2564, 0.2761)
CAFFE_BGR = (103.939, 116.779, 123.68)
FACE_RGB = (129.1863, 104.7624, 93.5940)
BILINEAR = Image.Resampling.BILINEAR
BICUBIC = Image.Resampling.BICUBIC


def scaled(image: Image.Image) -> Tensor:
    """torchvision's ToTensor: (C, H, W) in [0, 1]."""
    pixels = np.asarray(image)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float() / 255


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """torchvision's Normalize."""
    return (pixels - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)


def squash(
    size: int = 224, mean: Sequence[float] = IMAGENET_MEAN, std: Sequence[float] = IMAGENET_STD, filter: int = BILINEAR
) -> Seen:
    """Resize((size, size)), ToTensor(), Normalize(mean, std)."""
    return lambda image: normalised(scaled(image.convert("RGB").resize((size, size), filter)), mean, std)


def crop(
    size: int = 224,
    shorter: int = 256,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    filter: int = BILINEAR,
) -> Seen:
    """Resize(shorter), CenterCrop(size), ToTensor(), Normalize(mean, std)."""

    def see(image: Image.Image) -> Tensor:
        width, height = image.size
        least = min(image.size)
        resized = image.convert("RGB").resize((int(shorter * width / least), int(shorter * height / least)), filter)
        left, top = round((resized.width - size) / 2), round((resized.height - size) / 2)
        return normalised(scaled(resized.crop((left, top, left + size, top + size))), mean, std)

    return see


def letterbox(size: int = 224) -> Seen:
    """The whole picture in the middle of a square of ImageNet's mean colour."""

    def see(image: Image.Image) -> Tensor:
        padded = ImageOps.pad(image.convert("RGB"), (size, size), BILINEAR, (124, 116, 104))
        return normalised(scaled(padded), IMAGENET_MEAN, IMAGENET_STD)

    return see


def unit(size: int) -> Seen:
    """Resize((size, size)), ToTensor()."""
    return squash(size, (0, 0, 0), (1, 1, 1))


def half(size: int) -> Seen:
    """Resize((size, size)), ToTensor(), Normalize of 0.5 and 0.5."""
    return squash(size, (0.5,) * 3, (0.5,) * 3)


def grey(size: int, mean: float = 0, std: float = 1) -> Seen:
    """Grayscale(), Resize((size, size)), ToTensor(), Normalize((mean,), (std,))."""
    return lambda image: normalised(scaled(image.convert("L").resize((size, size), BILINEAR)), (mean,), (std,))


def bytes_of(mean: Sequence[float], *, bgr: bool, size: int = 224) -> Seen:
    """Values in 0..255 less a mean, the mean in the order in which the network sees the channels."""

    def see(image: Image.Image) -> Tensor:
        pixels = np.asarray(image.convert("RGB").resize((size, size), BILINEAR), np.float32)
        pixels = pixels[:, :, ::-1] if bgr else pixels
        return torch.from_numpy((pixels - np.asarray(mean, np.float32)).transpose(2, 0, 1).copy())

    return see
