"""The network is torchvision's: the same keys, the same numbers to the bit, the same beginning from one seed."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import vgg as theirs

from vggcli.network.architecture import vgg
from vggcli.network.module import VGG, module_of
from vggcli.network.zoo import VARIANTS

NAMES = [name for name in VARIANTS if name != "demo"]
CONFIGURATIONS = {11: "A", 13: "B", 16: "D", 19: "E"}


def torchvisions(name: str, **options: int) -> nn.Module:
    network: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    return network


def randomise_statistics(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, 0, 0.1)


@pytest.mark.parametrize("name", NAMES)
def test_keys_order_and_shapes_are_torchvisions(name: str) -> None:
    with torch.device("meta"):
        ours, reference = VGG(VARIANTS[name].architecture, initialise=False), torchvisions(name)

    assert [(key, t.shape) for key, t in ours.state_dict().items()] == [
        (key, t.shape) for key, t in reference.state_dict().items()
    ]
    assert list(VARIANTS[name].architecture.tensors().items()) == [
        (key, tuple(t.shape)) for key, t in reference.state_dict().items()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_modules_are_torchvisions_to_the_last_setting(name: str) -> None:
    with torch.device("meta"):
        ours, reference = VGG(VARIANTS[name].architecture.with_classes(7)), torchvisions(name, num_classes=7)

    # MaxPool2d and AdaptiveAvgPool2d take numbers or pairs for the same thing.
    assert str(ours).replace("output_size=7", "output_size=(7, 7)") == str(reference)


@pytest.mark.parametrize("name", NAMES)
def test_logits_of_the_convolutions_equal_torchvisions_to_the_bit(name: str) -> None:
    """Real convolutions and batch norms of every variant; the classifier, the same for all, is in the next test."""
    batch_norm = name.endswith("_bn")
    torch.manual_seed(1)
    reference = theirs.make_layers(theirs.cfgs[CONFIGURATIONS[int(name[3:5])]], batch_norm=batch_norm)
    randomise_statistics(reference)
    ours = VGG(vgg(VARIANTS[name].architecture.stages, batch_norm=batch_norm, hidden=(8, 8)), initialise=False)
    ours.features.load_state_dict(reference.state_dict())
    x = torch.randn(1, 3, 40, 48)
    with torch.inference_mode():
        expected, got = reference.eval()(x), ours.eval().features(x)

    assert expected.std() > 0
    assert torch.equal(got, expected)


def test_one_seed_gives_torchvisions_weights_and_they_give_its_logits_to_the_bit() -> None:
    torch.manual_seed(7)
    reference = torchvisions("vgg11_bn", num_classes=5)
    after = torch.rand(4)
    torch.manual_seed(7)
    ours = VGG(VARIANTS["vgg11_bn"].architecture.with_classes(5))
    assert torch.equal(torch.rand(4), after)

    pairs = list(zip(ours.state_dict().items(), reference.state_dict().items(), strict=True))
    assert all(key == other and torch.equal(value, same) for (key, value), (other, same) in pairs)

    randomise_statistics(reference)
    ours.load_state_dict(reference.state_dict())
    x = torch.randn(2, 3, 100, 64)
    with torch.inference_mode():
        expected, got = reference.eval()(x), ours.eval()(x)
    assert not torch.equal(expected[0], expected[1])
    assert torch.equal(got, expected)


def test_without_initialisation_nothing_is_drawn_twice() -> None:
    row = vgg(((4,), (4,)), hidden=(4, 4), pool=1, num_classes=2)
    torch.manual_seed(0)
    default = nn.Conv2d(3, 4, 3, padding=1).weight
    torch.manual_seed(0)
    network = VGG(row, initialise=False)

    assert torch.equal(network.features[0].weight, default)


def test_initial_weights_have_the_published_spread() -> None:
    torch.manual_seed(0)
    network = VGG(vgg(((64, 64),), hidden=(256, 256), pool=1, num_classes=10))
    convolution, linear = network.features[2], network.classifier[3]

    assert convolution.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not convolution.bias.any()
    assert not linear.bias.any()


def test_the_classifier_may_have_batch_norm_and_no_dropout() -> None:
    options = {"classifier_norm": True, "dropout": None, "adaptive": False}
    row = vgg(((4,),), batch_norm=True, conv_bias=False, hidden=(6, 5), pool=1, num_classes=3, **options)
    network = VGG(row).eval()

    kinds = [type(module).__name__ for module in network.classifier]
    assert kinds == "Linear BatchNorm1d ReLU Linear BatchNorm1d ReLU Linear".split()
    assert network.features[0].bias is None
    assert network(torch.randn(2, 3, 2, 2)).shape == (2, 3)


def test_what_is_no_layer_has_no_module() -> None:
    with pytest.raises(TypeError, match="no module for"):
        module_of("conv1-1")  # type: ignore[arg-type]
