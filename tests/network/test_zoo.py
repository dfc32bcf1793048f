"""The zoo's table, held against what torchvision publishes about its own weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torchvision.models import get_model_weights

from vggcli.analysis.layer_table import rows
from vggcli.errors import UsageError
from vggcli.images.recipe import IMAGENET
from vggcli.network import zoo
from vggcli.network.architecture import vgg

NAMES = [f"vgg{depth}{end}" for depth in (11, 13, 16, 19) for end in ("", "_bn")]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def published(name: str) -> Any:
    """torchvision's weights entry for classification."""
    return get_model_weights(name)["IMAGENET1K_V1"]


def test_the_zoo_has_the_eight_variants_and_the_demo() -> None:
    assert list(zoo.VARIANTS) == [*NAMES, "demo"]


def test_weights_address_and_hash_are_torchvisions(name: str, published: Any) -> None:
    weights = zoo.VARIANTS[name].weights

    assert weights is not None
    assert weights.url == published.url
    assert f"{name}-{weights.sha256_prefix}.pth" == published.url.rsplit("/", 1)[1]


def test_published_figures_are_torchvisions(name: str, published: Any) -> None:
    row, meta = zoo.VARIANTS[name], published.meta

    assert {"acc@1": row.top1, "acc@5": row.top5} == meta["_metrics"]["ImageNet-1K"]
    assert row.size_mib == meta["_file_size"]
    assert row.architecture.parameters() == meta["num_params"]
    assert round(sum(layer.macs for layer in rows(row.architecture)) / 1e9, 3) == meta["_ops"]


def test_preprocessing_is_torchvisions(name: str, published: Any) -> None:
    theirs, ours = published.transforms(), replace(IMAGENET, resize="crop")

    assert theirs.crop_size == [ours.size]
    assert theirs.resize_size == [ours.side]
    assert (tuple(theirs.mean), tuple(theirs.std)) == (ours.mean, ours.std)
    assert theirs.interpolation.value == "bilinear"


def test_the_smallest_input_of_torchvision_is_ours(name: str, published: Any) -> None:
    assert published.meta["min_size"] == (32, 32)
    with pytest.raises(UsageError, match="at least 32"):
        rows(zoo.VARIANTS[name].architecture, 31)


def test_the_demo_is_vgg11_with_batch_norm_at_an_eighth_of_the_width() -> None:
    demo, whole = zoo.VARIANTS["demo"].architecture, zoo.VARIANTS["vgg11_bn"].architecture

    assert [[8 * width for width in stage] for stage in demo.stages] == [list(stage) for stage in whole.stages]
    assert demo.batch_norm
    assert demo.num_classes == 10
    assert 2 * demo.parameters() < 1_000_000  # bytes in fp16


@pytest.mark.parametrize("given", ["vgg16_bn", "VGG16_BN", "vgg16bn", "VGG-16-BN", "vgg-16_bn"])
def test_common_spellings_name_the_same_variant(given: str) -> None:
    assert zoo.variant(given) is zoo.VARIANTS["vgg16_bn"]


@pytest.mark.parametrize(
    ("given", "near"),
    [
        ("vgg17", "vgg19, vgg16, vgg13"),
        ("vgg16_nb", "vgg16_bn, vgg16, vgg19_bn"),
        ("resnet50", "vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn, demo"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(given: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        zoo.variant(given)

    assert str(caught.value) == f"unknown architecture {given}: no such variant. The nearest names are {near}."


@pytest.mark.parametrize("end", ["", ".pth"])
def test_older_files_are_known_by_name(end: str) -> None:
    for old, variant in {"vgg11-bbd30ac9": "vgg11", "vgg13-c768596a": "vgg13"}.items():
        file = zoo.published(old + end)
        assert file is not None
        assert (file.name, file.variant, file.refusal) == (f"{old}.pth", variant, "")
        assert file.sha256_prefix == old.rsplit("-", 1)[1]


def test_the_file_without_a_classifier_is_known_with_its_refusal() -> None:
    file = zoo.published("vgg16_features-amdegroot-88682ab5.pth")

    assert file is not None
    assert file.sha256_prefix == "88682ab5"
    assert file.refusal.startswith("its classifier holds no usable weights")
    assert file.url == get_model_weights("vgg16")["IMAGENET1K_FEATURES"].url


def test_a_name_of_the_users_own_is_no_published_file() -> None:
    assert zoo.published("vgg16-mine.pth") is None


def test_an_architecture_finds_its_row_whatever_its_classifier(name: str) -> None:
    row = zoo.VARIANTS[name]
    batch_norm = row.architecture.batch_norm
    changed = vgg(row.architecture.stages, batch_norm=batch_norm, conv_bias=False, hidden=(64, 32), num_classes=2)

    assert zoo.of_architecture(row.architecture) is row
    assert (zoo.of_architecture(changed) is row) == (name != "demo")  # a narrow VGG-11 of one's own is no demo
    assert zoo.of_architecture(vgg(((1,),))) is None
