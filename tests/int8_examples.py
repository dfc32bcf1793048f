"""Models in int8 made in memory, and the arithmetic of integers that an engine is held against."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Any

import numpy as np
import torch
from engine_examples import opened
from numpy.typing import NDArray
from torch.nn import functional

from vggcli.analysis.calibration import Calibration, Extents
from vggcli.engines import int8
from vggcli.network.layers import Activation, AdaptiveAvgPool, BatchNorm, Conv2d, Linear, Pool
from vggcli.weights import int8 as weights
from vggcli.weights.model import Model


def in_int8(model: Model, images: NDArray[np.uint8], criterion: str = "max") -> Model:
    """The model calibrated on these images."""
    calibration = calibrated(model, images)
    means, input_factors = calibration.means(), calibration.input_factors
    layers, biases = weights.quantized(model.architecture, model.array, means, input_factors)
    steps = calibration.steps(criterion)
    scaled = {key: layer.with_step(steps[key]) for key, layer in layers.items()}
    return model.quantized(weights.Quantization({}, scaled), biases)


def calibrated(model: Model, images: NDArray[np.uint8]) -> Calibration:
    """What the layers see of these images."""
    extents = Extents(model.architecture)
    with closing(opened("openvino", model, outputs=extents.outputs)) as running:
        outputs = running.start(images)()
    extents.add(images, outputs)
    factors = extents.factors(model.array)
    calibration = Calibration(model.architecture, model.recipe, factors, extents.limits(factors))
    calibration.add(images, outputs)
    return calibration


def emulated(model: Model, pixels: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float64]]:
    """What every layer gives in int8, in double precision and without any of the engine's own graph.

    In front of each layer with weights, values become the nearest of 256 levels.
    """
    recipe = model.recipe
    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / (255 // recipe.value_range)
    x = (x - torch.tensor(recipe.mean).view(1, -1, 1, 1)) / torch.tensor(recipe.std).view(1, -1, 1, 1)
    seen: dict[str, NDArray[np.float64]] = {}
    unsigned = int8.unsigned(model.architecture)
    for layer in model.architecture.layers():
        if isinstance(layer, Conv2d | Linear):
            tensor = model.int8_tensor(layer.key)
            low = 0 if layer.key in unsigned else -128
            x = x if isinstance(layer, Conv2d) else x.flatten(1)
            scales = torch.from_numpy(tensor.input_scales()).double().view(1, -1, *[1] * (x.ndim - 2))
            x = torch.clamp(torch.round(x / scales), low, low + 255) * scales
            weight = torch.from_numpy(tensor.float32()).double()
            bias = torch.from_numpy(model.array(f"{layer.key}.bias")).double() if layer.bias else None
            if isinstance(layer, Conv2d):
                x = functional.conv2d(x, weight, bias, padding=layer.kernel // 2)
            else:
                x = functional.linear(x, weight, bias)
        elif isinstance(layer, BatchNorm):
            names = ("running_mean", "running_var", "weight", "bias")
            numbers: Any = [torch.from_numpy(model.array(f"{layer.key}.{name}")).double() for name in names]
            x = functional.batch_norm(x, *numbers, eps=layer.eps)
        elif isinstance(layer, Activation):
            x = functional.leaky_relu(x, layer.alpha) if layer.function == "leaky_relu" else functional.relu(x)
        elif isinstance(layer, Pool):
            x = functional.avg_pool2d(x, 2) if layer.average else functional.max_pool2d(x, 2)
        elif isinstance(layer, AdaptiveAvgPool):
            x = functional.adaptive_avg_pool2d(x, layer.size)
        seen[layer.name] = x.numpy()
    return seen
