"""Maps by products of matrices and by our autograd, against torch's own autograd on the network as it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import int8_examples
import networks
import numpy as np
import pytest
import torch
from engine_examples import Array, distance, opened
from numpy.typing import NDArray
from torch import Tensor, nn

import vggcli
from vggcli.analysis.saliency.autograd import AutogradEngine
from vggcli.analysis.saliency.grad_cam import MAPS, Choose, GradCamEngine
from vggcli.analysis.saliency.head import Head, outputs_needed
from vggcli.analysis.saliency.layers import target
from vggcli.errors import UsageError
from vggcli.images.recipe import RECIPES, Recipe
from vggcli.network.architecture import Architecture, numbered, vgg
from vggcli.network.layers import Activation, BatchNorm, ConcatPool, Conv2d, Dropout, Layer, Linear, Pool
from vggcli.network.module import VGG, with_weights

CLASSES, LEFT, TOLERANCE = 6, 3, 1e-5
STAGES = ((8,), (12, 16))
PIXELS = np.random.default_rng(3).integers(0, 256, (5, 40, 40, 3), np.uint8)
BOTH = np.array([[1, 4], [0, 2], [5, 3], [2, 1], [4, 0]])


@dataclass
class Weights:
    """As much of a model as the engines need."""

    architecture: Architecture
    tensors: Mapping[str, Array]
    recipe: Recipe
    variant: str = "drawn"
    quantization: None = None

    def array(self, key: str) -> Array:
        return self.tensors[key]

    def arrays(self) -> Mapping[str, Array]:
        return self.tensors

    def forget_pages(self) -> None:
        """They lie in no file."""


def drawn(architecture: Architecture, size: int) -> Any:
    """A model with random weights, for images of this size."""
    network = networks.randomised(VGG(architecture))
    tensors = {key: value.numpy() for key, value in network.state_dict().items()}
    return Weights(architecture, tensors, replace(RECIPES["imagenet"], size=size))


def both(logits: Array) -> tuple[NDArray[np.intp], Array]:
    """Two classes of each image, which differ from image to image: here by its largest logit."""
    first = int(logits.argmax())
    return np.array([first, (first + LEFT) % len(logits)]), np.ones(2, np.float32)


def layers_with(*behind: Layer) -> Architecture:
    """Two stages and another end."""
    spatial = [Conv2d("", "", 3, 8), Activation("", ""), Pool("", ""), Conv2d("", "", 8, 16), Activation("", "")]
    return numbered([*spatial, *behind])


def by_hand(model: Any, pixels: NDArray[np.uint8], layer: str, method: str = "grad-cam") -> Array:
    """The maps of the classes that `both` chooses, (N, 2, height, width), by nothing of the package but the module."""
    network = with_weights(model.architecture, model.arrays())
    kept: list[Tensor] = []

    def keep(module: nn.Module, given: Any, output: Tensor) -> Tensor:
        output.retain_grad()
        kept.append(output)
        return output.clone()  # what follows may work in place

    x = networks.normalised(pixels).requires_grad_()
    if method != "gradient":
        network.get_submodule(target(model.architecture, layer).key).register_forward_hook(keep)
    logits = network(x)
    found = []
    for rank in range(2):
        chosen = torch.stack([row[both(row.detach().numpy())[0][rank]] for row in logits])
        x.grad = None
        for output in kept:
            output.grad = None
        chosen.sum().backward(retain_graph=True)
        if method == "gradient":
            assert x.grad is not None
            found.append(x.grad.abs().amax(1))
            continue
        (output,) = kept
        assert output.grad is not None
        g = output.grad
        weights = g.mean((2, 3), keepdim=True)
        if method == "grad-cam++":
            shares = g**2 / (2 * g**2 + output.sum((2, 3), keepdim=True) * g**3 + 1e-6)
            weights = (torch.where(g != 0, shares, 0) * g.relu()).sum((2, 3), keepdim=True)
        found.append((weights * output).sum(1).relu().detach())
    return torch.stack(found, 1).numpy()


def by_products(
    model: Any, pixels: NDArray[np.uint8], kind: str = "torch", precision: str = "fp32", choose: Choose = both
) -> Array:
    last = target(model.architecture)
    needed = outputs_needed(model.architecture, last)
    assert needed is not None
    engine = opened(kind, model, precision, (last.name, *needed))
    explaining = GradCamEngine(engine, Head(model, last), last.name, needed[-1], choose)
    maps = explaining.start(pixels)()[MAPS]
    engine.close()
    return maps


NETWORKS = {
    "paper": (vgg(STAGES, hidden=(20, 24), pool=2, num_classes=CLASSES), 40),
    "batch norm": (vgg(STAGES, hidden=(20, 24), pool=7, num_classes=CLASSES, batch_norm=True), 40),
    "native size": (vgg(STAGES, hidden=(20,), pool=7, num_classes=CLASSES), 28),
    "odd sizes": (vgg(STAGES, hidden=(20,), pool=7, num_classes=CLASSES), 39),
    "no adaptive pool": (vgg(STAGES, hidden=(20,), pool=7, num_classes=CLASSES, adaptive=False), 29),
    "norm in the head": (vgg(STAGES, hidden=(20, 24), pool=2, num_classes=CLASSES, classifier_norm=True), 40),
    "one linear layer": (vgg(STAGES, hidden=(), pool=7, num_classes=CLASSES), 40),
    "global average": (vgg(STAGES, hidden=(), pool=1, num_classes=CLASSES, dropout=None), 40),
    "average pools": (
        layers_with(
            Pool("", "", average=True), Linear("", "", 16 * 100, 12), Activation("", ""), Linear("", "", 12, 6)
        ),
        40,
    ),
    "norm behind the ReLU": (
        layers_with(BatchNorm("", "", 16, spatial=True), Pool("", ""), Linear("", "", 16 * 100, CLASSES)),
        40,
    ),
    "no pool": (layers_with(Linear("", "", 16 * 400, CLASSES)), 40),
    "as fastai pools": (
        layers_with(
            Pool("", ""),
            ConcatPool("", ""),
            BatchNorm("", "", 32, spatial=False),
            Dropout("", "", 0.5),
            Linear("", "", 32, 20),
            Activation("", ""),
            BatchNorm("", "", 20, spatial=False),
            Linear("", "", 20, CLASSES),
        ),
        40,
    ),
}


@pytest.mark.parametrize(("architecture", "size"), NETWORKS.values(), ids=NETWORKS)
def test_products_of_matrices_are_the_gradient_of_every_head(architecture: Architecture, size: int) -> None:
    model, pixels = drawn(architecture, size), PIXELS[:, :size, :size].copy()
    expected = by_hand(model, pixels, target(architecture).name)

    assert expected.max() > 0
    assert distance(by_products(model, pixels), expected) < TOLERANCE


@pytest.mark.parametrize(
    "architecture",
    [
        layers_with(Linear("", "", 6400, 20), Activation("", "", "leaky_relu", 0.1), Linear("", "", 20, CLASSES)),
        layers_with(Pool("", ""), Activation("", "", "gelu"), Linear("", "", 1600, CLASSES)),
    ],
    ids=["another activation", "one more in front"],
)
def test_what_is_more_than_products_is_left_to_autograd(architecture: Architecture) -> None:
    model = drawn(architecture, 40)
    last = target(architecture)

    assert outputs_needed(architecture, last) is None
    found = AutogradEngine(model, "grad-cam", last, both, "cpu", 1).start(PIXELS)()[MAPS]
    assert distance(found, by_hand(model, PIXELS, last.name)) < TOLERANCE


@pytest.mark.parametrize(
    ("layer", "method"),
    # Where maps have both signs, as behind batch norm, Grad-CAM++ divides by sums that cancel, and rounding shows.
    [(layer, "grad-cam") for layer in ("conv1-1", "bn2-1", "pool1", "relu2_2")]
    + [(layer, "grad-cam++") for layer in ("conv1-1", "pool1", "relu2_2")]
    + [("relu2_2", "gradient")],
)
def test_autograd_at_any_layer_by_any_method(layer: str, method: str) -> None:
    model = drawn(NETWORKS["batch norm"][0], 40)
    engine = AutogradEngine(model, method, target(model.architecture, layer), both, "cpu", 1)
    outputs = engine.start(PIXELS)()
    expected = by_hand(model, PIXELS, layer, method)
    engine.close()

    assert outputs[MAPS].dtype == np.float32
    assert outputs[MAPS].shape == expected.shape
    assert distance(outputs[MAPS], expected) < TOLERANCE
    assert (engine.name, engine.device, engine.precision) == ("torch", "cpu", "fp32")


@pytest.mark.parametrize("layer", ["relu1-1", "relu2-1", "relu2-2"])
@pytest.mark.parametrize("method", ["grad-cam", "grad-cam++"])
def test_pytorch_grad_cam_says_the_same(layer: str, method: str) -> None:
    theirs: Any = pytest.importorskip("pytorch_grad_cam", reason="pip install grad-cam")
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    model = drawn(NETWORKS["batch norm"][0], 40)
    network = with_weights(model.architecture, model.arrays())
    for module in network.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    layers = [network.get_submodule(target(model.architecture, layer).key)]
    make: Callable[..., Any] = theirs.GradCAM if method == "grad-cam" else theirs.GradCAMPlusPlus
    images = networks.normalised(PIXELS)
    with torch.no_grad():
        logits = network(images).numpy()
    ours = AutogradEngine(model, method, target(model.architecture, layer), both, "cpu", 1).start(PIXELS)()[MAPS]

    for rank in range(2):
        targets = [ClassifierOutputTarget(int(both(row)[0][rank])) for row in logits]
        with make(model=network, target_layers=layers) as cam:
            cam(input_tensor=images, targets=targets)
            kept = cam.activations_and_grads
            arrays = kept.activations[0].numpy(), kept.gradients[0].numpy()
            found = np.maximum(cam.get_cam_image(images, layers[0], targets, *arrays), 0)  # before it is normalised
        assert distance(ours[:, rank], found) < TOLERANCE
    if layer == "relu2-2" and method == "grad-cam":
        assert distance(by_products(model, PIXELS)[:, 1], found) < TOLERANCE


def test_an_image_has_the_same_map_to_the_bit_in_every_batch_and_beside_every_class() -> None:
    model = drawn(NETWORKS["paper"][0], 40)
    pixels = np.concatenate([PIXELS, PIXELS[::-1], PIXELS, PIXELS])  # more rows than one product takes
    together = by_products(model, pixels, "openvino")

    assert (by_products(model, pixels[:1], "openvino")[0] == together[0]).all()
    assert (together[:5] == together[5:10][::-1]).all()
    assert (together[:5] == together[-5:]).all()
    alone = by_products(model, pixels, "openvino", choose=lambda logits: tuple(part[:1] for part in both(logits)))
    assert (alone[:, 0] == together[:, 0]).all()


def test_weights_in_int8_find_much_the_same(narrow_file: Path) -> None:
    with vggcli.load(narrow_file, size=64) as exact:
        pixels = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), np.uint8)
        quantized = int8_examples.in_int8(exact.model, pixels)
        found = by_products(quantized, pixels, "openvino", "int8")
        expected = by_products(exact.model, pixels)

    assert found.shape == expected.shape
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_a_name_means_what_stands_behind_the_convolution() -> None:
    norm, plain = (vgg(STAGES, num_classes=CLASSES, batch_norm=has_norm) for has_norm in (True, False))
    bare = numbered([Conv2d("", "", 3, 8), Pool("", ""), Linear("", "", 8 * 400, 4)])

    assert [target(norm, name).name for name in (None, "conv1-1", "conv2_1", "bn2-1", "pool1")] == [
        "relu2-2",
        "relu1-1",
        "relu2-1",
        "bn2-1",
        "pool1",
    ]
    assert target(plain, "conv2-2") == target(plain, "relu2-2") == target(plain)
    assert target(bare).name == "conv1-1"
    dropping = numbered([Conv2d("", "", 3, 8), Dropout("", "", 0.1), Activation("", ""), Linear("", "", 8 * 1600, 4)])
    assert target(dropping).name == "relu1-1"


@pytest.mark.parametrize(
    ("name", "why"),
    [("conv9-9", "the network has none of that name"), ("fc7", "it gives no map"), ("avgpool", "it gives no map")],
)
def test_a_layer_that_has_no_map_is_told_those_that_have(name: str, why: str) -> None:
    with pytest.raises(UsageError) as error:
        target(vgg(STAGES), name)

    assert str(error.value) == (
        f"cannot explain by the layer {name}: {why}. Those with maps are conv1-1, conv2-1, conv2-2, pool1, pool2."
    )
