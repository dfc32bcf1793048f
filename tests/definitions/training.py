"""Weights that look trained, and pictures: every layer, bias, statistic and pixel shows in the probabilities."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from definitions.definition import Definition
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.nn import functional

_SHARPNESS = 1.2  # deviation of the logits: no class is certain and none forgotten
_PICTURES = 3
_CENTRED = 0.2  # of each channel's mean is taken away; all of it, and depth turns the least noise into another answer


@cache
def picture(number: int = 0) -> Image.Image:
    """A landscape of smooth colours and sharp edges, 300x225, another for each number."""
    random = np.random.default_rng(number)
    y, x = np.mgrid[0:225, 0:300]
    pixels = np.zeros((225, 300, 3))
    for channel in range(3):
        wave = random.uniform(0.005, 0.05, 4)
        light, contrast = random.uniform(30, 225), random.uniform(20, 70)
        pixels[..., channel] = light + contrast * np.sin(x * wave[0] + y * wave[1] + 5 * wave[2] * channel) * np.cos(
            y * wave[3]
        )
    for _ in range(12):
        left, top, radius = random.integers(0, 300), random.integers(0, 225), random.integers(8, 50)
        inside = (x - left) ** 2 + (y - top) ** 2 < radius**2
        pixels[inside] = pixels[inside] * 0.3 + random.uniform(0, 255, 3) * 0.7
    pixels += random.normal(0, 6, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def picture_for(definition: Definition) -> Image.Image:
    """The picture that a definition's tests classify."""
    return ImageOps.grayscale(picture()) if definition.grey_picture else picture()


def trained(definition: Definition) -> nn.Module:
    """Its network in eval mode, as its users have it in memory before saving."""
    network = definition.network()
    random = torch.Generator().manual_seed(crc32(definition.name.encode()))
    batch = torch.stack([definition.see(picture(number)) for number in range(_PICTURES)])
    network.eval().requires_grad_(False)
    _settle(network, batch, random)
    network.requires_grad_(True)
    definition.finish(network)
    return network.eval()


def _settle(network: nn.Module, batch: Tensor, random: torch.Generator) -> None:
    """Give each layer, in the order of the forward pass, values of about 1 that differ between pictures."""
    last: tuple[nn.Module, Tensor, Tensor] | None = None
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            _draw(module, random)

    def settle(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        nonlocal last
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            return _settle_norm(module, inputs[0], random)
        mean, size = _statistics(output)
        output = _change(module, output, 1 / size, -_CENTRED * mean / size)
        last = module, inputs[0], output
        return output

    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d)
    hooks = [module.register_forward_hook(settle) for module in network.modules() if isinstance(module, kinds)]
    network(batch)
    for hook in hooks:
        hook.remove()
    assert last is not None
    _settle_last(*last)


def _draw(module: nn.Conv2d | nn.Linear, random: torch.Generator) -> None:
    """Random weights; kernels of 3x3 are smooth, as else the noise of a picture drowns what it shows."""
    nn.init.kaiming_normal_(module.weight, generator=random)
    if module.weight.shape[2:] == (3, 3):
        module.weight.mul_(0.4).add_(module.weight.mean((2, 3), keepdim=True) * 3)
    if module.bias is not None:
        nn.init.normal_(module.bias, 0, 0.1, generator=random)


def _settle_last(module: nn.Module, inputs: Tensor, logits: Tensor) -> None:
    """No class is ahead on the average of the pictures, and each is ahead on some."""
    deviation, mean = torch.std_mean(logits, 0)
    scale = _SHARPNESS / deviation.mean()
    if module.bias is None:
        usual = functional.normalize(inputs.mean(0).flatten(), dim=0)
        module.weight.sub_(torch.outer(module.weight.flatten(1) @ usual, usual).view_as(module.weight))
    _change(module, logits, scale.expand(len(mean)), -scale * mean.flatten())


def _statistics(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean of each channel, and its size: the deviation around the part of the mean that is left in."""
    values = values[..., ::4, ::4] if values.ndim == 4 and values.shape[-1] > 50 else values
    deviation, mean = torch.std_mean(values, [d for d in range(values.ndim) if d != 1])
    size = torch.hypot(deviation, (1 - _CENTRED) * mean)
    return mean, size.clamp_min(0.1 * float(size.max()))


def _change(module: nn.Module, output: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """The layer with its outputs scaled and shifted by channel, and what it gives then; without a bias only scaled."""
    if module.bias is None:
        scale, shift = scale.mean().expand(len(scale)), torch.zeros(len(scale))
    else:
        module.bias.mul_(scale).add_(shift)
    module.weight.mul_(scale.view(-1, *[1] * (module.weight.ndim - 1)))
    shape = (-1, *[1] * (output.ndim - 2))
    return torch.addcmul(shift.view(shape), output, scale.view(shape))


def _settle_norm(norm: nn.BatchNorm1d | nn.BatchNorm2d, values: Tensor, random: torch.Generator) -> Tensor:
    mean, size = _statistics(values)
    count = len(mean)
    norm.running_mean.copy_(_CENTRED * mean + 0.1 * size * torch.randn(count, generator=random))
    norm.running_var.copy_((size * (0.9 + 0.2 * torch.rand(count, generator=random))) ** 2)
    norm.weight.copy_(0.8 + 0.4 * torch.rand(count, generator=random))
    norm.bias.copy_(0.1 * torch.randn(count, generator=random))
    norm.num_batches_tracked.fill_(7)
    return functional.batch_norm(values, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps)


def write_picture(definition: Definition, folder: Path) -> Path:
    """As a PNG."""
    path = folder / ("grey.png" if definition.grey_picture else "picture.png")
    if not path.exists():
        picture_for(definition).save(path)
    return path
