"""Weights that came out of Caffe and MatConvNet: values in 0..255 less a mean, mostly BGR; and Cadene's names."""

from __future__ import annotations

from definitions.cifar import numbers
from definitions.definition import IMAGENET, Definition
from definitions.layers import (
    GRID,
    HIDDEN,
    PLAIN,
    caffe_head,
    chain,
    features,
    head,
    named,
    row,
    three,
    torchvision_like,
)
from definitions.preprocessing import CAFFE_BGR, FACE_RGB, bytes_of, squash
from definitions.saving import BARE, renamed, state, torch_file
from torch import nn

CAFFE = ("--recipe", "caffe")
FACE_BGR = FACE_RGB[::-1]
DAG_RGB = (129.186279296875, 104.76238250732422, 93.59396362304688)


def cadene(variant: str, classes: int) -> nn.Module:
    """torchvision's layers under pretrainedmodels' names."""
    names = ("linear0", "relu0", "dropout0", "linear1", "relu1", "dropout1", "last_linear")
    return chain(
        [("_features", features(row(variant), PLAIN)), ("flatten", nn.Flatten())],
        **dict(zip(names, three(GRID, classes), strict=True)),
    )


DEFINITIONS = (
    Definition(
        name="caffe-vgg16",
        source="conversions of VGG_ILSVRC_16_layers.caffemodel",
        difference="`conv1_1` to `fc8`; BGR in 0..255",
        network=lambda: chain([*named("vgg16", "conv{0}_{1}"), *caffe_head(15)]),
        see=bytes_of(CAFFE_BGR, bgr=True),
        saved="bare state_dict",
        save=torch_file(state, "vgg16_caffe.pth"),
        says=CAFFE,
    ),
    Definition(
        name="caffe-vgg19-torchvision-keys",
        source="Caffe weights under torchvision's keys (ruotianluo, style transfer)",
        difference="BGR in 0..255",
        network=lambda: torchvision_like(features(row("vgg19"), PLAIN), three(GRID, 15)),
        see=bytes_of(CAFFE_BGR, bgr=True),
        saved="bare state_dict, legacy format",
        save=torch_file(state, "vgg19_caffe.pth", legacy=True),
        says=CAFFE,
    ),
    Definition(
        name="jcjohnson",
        source="jcjohnson pytorch-vgg",
        difference="linears at 1, 4 and 6 of the classifier; BGR in 0..255",
        network=lambda: torchvision_like(
            features(row("vgg16"), PLAIN),
            head(nn.Identity(), (GRID, HIDDEN), "relu", "drop", (HIDDEN, HIDDEN), "relu", (HIDDEN, 15)),
        ),
        see=bytes_of(CAFFE_BGR, bgr=True),
        saved="bare state_dict",
        save=torch_file(state, "vgg16-converted.pth"),
        says=CAFFE,
    ),
    Definition(
        name="vggface-dag",
        source="albanie's vgg_face_dag",
        difference="`conv1_1` to `fc8`; RGB in 0..255 less a mean",
        network=lambda: chain([*named("vgg16", "conv{0}_{1}"), *caffe_head(26)]),
        see=bytes_of(DAG_RGB, bgr=False),
        saved="bare state_dict",
        save=torch_file(state, "vgg_face_dag.pth"),
        says=("--value-range", "255", "--mean", numbers(DAG_RGB), "--std", "1,1,1"),
    ),
    Definition(
        name="vggface-prlz77",
        source="prlz77 vgg-face.pytorch",
        difference="`conv_1_1` to `fc8`; BGR, less the means in the order of RGB, as published",
        network=lambda: chain([*named("vgg16", "conv_{0}_{1}"), *caffe_head(26)]),
        see=bytes_of(FACE_RGB, bgr=True),
        saved="bare state_dict",
        save=torch_file(state, "vgg_face.pth"),
        says=(*CAFFE, "--mean", numbers(FACE_RGB)),
    ),
    Definition(
        name="vggface-module-dict",
        source="chi0tzp PyVGGFace",
        difference="`features.conv_1_1` and `fc.fc6`; BGR in 0..255",
        network=lambda: chain(
            features=chain(named("vgg16", "conv_{0}_{1}")), flatten=nn.Flatten(), fc=chain(caffe_head(26)[1:])
        ),
        see=bytes_of(FACE_BGR, bgr=True),
        saved='{"state_dict"}',
        save=torch_file(lambda n: {"state_dict": state(n)}, "vggface.pth"),
        says=(*CAFFE, "--mean", numbers(FACE_BGR)),
    ),
    Definition(
        name="vggface-numbered",
        source="VGGFace under torchvision's keys",
        difference="BGR in 0..255",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), three(GRID, 26)),
        see=bytes_of(FACE_BGR, bgr=True),
        saved="bare state_dict",
        save=BARE,
        says=("--bgr", "--value-range", "255", "--mean", numbers(FACE_BGR), "--std", "1,1,1"),
    ),
    Definition(
        name="cadene",
        source="Cadene pretrained-models.pytorch",
        difference="`_features.N`, `linear0`, `linear1`, `last_linear`",
        network=lambda: cadene("vgg16", 11),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="cadene-dataparallel",
        source="Cadene pretrained-models.pytorch, trained with DataParallel",
        difference="`module._features.N`, `module.last_linear`",
        network=lambda: cadene("vgg19", 11),
        see=squash(),
        saved='{"state_dict", "epoch"}',
        save=torch_file(lambda n: {"state_dict": renamed(n, ("", "module.")), "epoch": 3}),
        says=IMAGENET,
    ),
)
