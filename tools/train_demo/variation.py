"""Digits as people draw and photograph them, made from the ones in the data."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def varied(ink: Tensor, size: int, variety: float) -> Tensor:
    """Ink (N, 1, H, W) in [0, 1] to RGB (N, 3, size, size) in [0, 1], as people draw and photograph digits.

    Each image gets a strength of its own between 0 (the image as it is) and `variety`, at most 1: turned, sheared,
    moved, smaller or larger, sharper and thinner or thicker strokes, other colours, uneven light, noise.  Two in five
    become light on dark, whatever the strength.
    """
    count = len(ink)
    strength = torch.rand(count, 1, 1, 1) * variety

    def between(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.empty(count, channels, 1, 1).uniform_(low, high)

    grid = functional.affine_grid(_placements(strength.flatten()), [count, 1, size, size], align_corners=False)
    ink = functional.grid_sample(ink, grid, align_corners=False)
    sharp = torch.sigmoid((ink - between(0.3, 0.7)) * between(8, 40))
    ink = torch.where(torch.rand(count, 1, 1, 1) < strength, sharp, ink)

    paper = 1 - strength * between(0, 0.5) * between(0.7, 1, channels=3)
    pen = strength * between(0, 0.4) * between(0.3, 1, channels=3)
    slope = torch.linspace(-0.5, 0.5, size)
    light = 1 + strength * (
        between(-0.3, 0.3) * slope.view(1, 1, 1, size) + between(-0.3, 0.3) * slope.view(1, 1, size, 1)
    )
    pixels = (paper + (pen - paper) * ink) * light
    pixels = torch.where(torch.rand(count, 1, 1, 1) < 0.4, 1 - pixels, pixels)
    noise = torch.randn(count, 1, size, size) * strength * between(0, 0.06)
    return (pixels + noise).clamp(0, 1)


def _placements(strength: Tensor) -> Tensor:
    """Random affine maps (N, 2, 3), from output to input coordinates, the milder the smaller the strength (N,)."""

    def spread(limit: float) -> Tensor:
        return torch.empty_like(strength).uniform_(-limit, limit) * strength

    angle, shear = spread(math.radians(15)), spread(0.2)
    zoom = torch.exp(strength * torch.empty_like(strength).uniform_(-0.15, 0.7))  # over 1: a smaller digit
    stretch = torch.exp(spread(0.15))
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    room = (zoom - 0.75).clamp(min=0.05)  # so far may the digit move and stay in the image
    return torch.stack(
        [
            torch.stack([cos * stretch, sin + shear, spread(0.8) * room], dim=1),
            torch.stack([-sin, cos / stretch, spread(0.8) * room], dim=1),
        ],
        dim=1,
    )
