"""Files that are no classifier of ours: each is refused in one sentence that says what it is or where it breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from definitions.layers import GRID, HIDDEN, LAST, PLAIN, chain, features, row, three, torchvision_like
from definitions.saving import momentum, prefixed, safetensors_file, state
from torch import Tensor, nn

_MILLION = 1_000_000


@dataclass(frozen=True)
class Refused:
    """One file.

    Attributes:
        name: of the test.
        save: writes it in a folder and returns its path.
        mentions: patterns that the sentence must contain, whatever their case.
        opens: whether `inspect` and `summary` take it all the same: a network, only no classifier.
    """

    name: str
    save: Callable[[Path], Path]
    mentions: tuple[str, ...]
    opens: bool = False


def _file(content: Callable[[], object], name: str = "model.pth") -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        torch.save(content(), folder / name)
        return folder / name

    return save


def _bytes(content: bytes, name: str) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return save


def hollow(**shapes: tuple[int, ...]) -> dict[str, Tensor]:
    """Tensors of any size in a few bytes: each repeats one number. `__` stands for a dot."""
    return {name.replace("__", "."): torch.full((), 0.5).expand(shape) for name, shape in shapes.items()}


def plain(variant: str = "vgg16") -> nn.Sequential:
    return features(row(variant), PLAIN)


def lpips() -> dict[str, Tensor]:
    """Slices of VGG16, and a 1x1 convolution on each."""
    heads = {f"lin{n}.model.1.weight": torch.ones(1, w, 1, 1) for n, w in enumerate((6, 8, 12, 16, 16))}
    slices = ((0, 4), (4, 9), (9, 16), (16, 23), (23, 30))
    weights = {}
    for number, (start, end) in enumerate(slices, 1):
        for key, tensor in state(plain()).items():
            if start <= int(key.split(".")[0]) < end:
                weights[f"net.slice{number}.{key}"] = tensor
    return (
        {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}
        | weights
        | heads
    )


def ssd() -> dict[str, Tensor]:
    """VGG16 with dilated fc6 and fc7 in its row, extra layers, and convolutions for places and classes."""
    more = hollow(
        vgg__31__weight=(32, 16, 3, 3),
        vgg__31__bias=(32,),
        vgg__33__weight=(32, 32, 1, 1),
        vgg__33__bias=(32,),
        L2Norm__weight=(16,),
        extras__0__weight=(8, 32, 1, 1),
        extras__0__bias=(8,),
        extras__1__weight=(16, 8, 3, 3),
        extras__1__bias=(16,),
        loc__0__weight=(16, 16, 3, 3),
        loc__0__bias=(16,),
        loc__1__weight=(24, 32, 3, 3),
        loc__1__bias=(24,),
        conf__0__weight=(84, 16, 3, 3),
        conf__0__bias=(84,),
        conf__1__weight=(126, 32, 3, 3),
        conf__1__bias=(126,),
    )
    return prefixed("vgg.", plain()) | more


def fcn() -> dict[str, Tensor]:
    """FCN-8s: scores of three depths, each enlarged by a transposed convolution."""
    more = hollow(
        fc6__weight=(HIDDEN, LAST, 7, 7),
        fc6__bias=(HIDDEN,),
        fc7__weight=(HIDDEN, HIDDEN, 1, 1),
        fc7__bias=(HIDDEN,),
        score_fr__weight=(21, HIDDEN, 1, 1),
        score_fr__bias=(21,),
        score_pool3__weight=(21, 12, 1, 1),
        score_pool3__bias=(21,),
        score_pool4__weight=(21, 16, 1, 1),
        score_pool4__bias=(21,),
        upscore2__weight=(21, 21, 4, 4),
        upscore8__weight=(21, 21, 16, 16),
        upscore_pool4__weight=(21, 21, 4, 4),
    )
    return prefixed("features.", plain()) | more


def unet() -> dict[str, Tensor]:
    """A VGG as encoder, transposed convolutions and joined maps as decoder."""
    more = hollow(
        decoder__0__up__weight=(16, 16, 2, 2),
        decoder__0__up__bias=(16,),
        decoder__0__conv__weight=(16, 32, 3, 3),
        decoder__0__conv__bias=(16,),
        decoder__1__up__weight=(16, 12, 2, 2),
        decoder__1__up__bias=(12,),
        decoder__1__conv__weight=(12, 24, 3, 3),
        decoder__1__conv__bias=(12,),
        final__weight=(2, 12, 1, 1),
        final__bias=(2,),
    )
    return prefixed("encoder.", features(row("vgg11"))) | more


def resnet() -> dict[str, Tensor]:
    """The beginning of a ResNet."""
    return hollow(
        conv1__weight=(8, 3, 7, 7),
        bn1__weight=(8,),
        bn1__bias=(8,),
        bn1__running_mean=(8,),
        bn1__running_var=(8,),
        layer1__0__conv1__weight=(8, 8, 3, 3),
        layer1__0__conv2__weight=(8, 8, 3, 3),
        layer2__0__conv1__weight=(16, 8, 3, 3),
        layer2__0__conv2__weight=(16, 16, 3, 3),
        layer2__0__downsample__0__weight=(16, 8, 1, 1),
        fc__weight=(10, 16),
        fc__bias=(10,),
    )


def alexnet() -> dict[str, Tensor]:
    return hollow(
        features__0__weight=(8, 3, 11, 11),
        features__0__bias=(8,),
        features__3__weight=(16, 8, 5, 5),
        features__3__bias=(16,),
        features__6__weight=(24, 16, 3, 3),
        features__6__bias=(24,),
        classifier__1__weight=(32, 24 * 36),
        classifier__1__bias=(32,),
        classifier__4__weight=(32, 32),
        classifier__4__bias=(32,),
        classifier__6__weight=(10, 32),
        classifier__6__bias=(10,),
    )


def two_heads() -> dict[str, Tensor]:
    """Age and gender on the same features."""
    network = chain(features=plain(), age_head=nn.Linear(GRID, 101), gender_head=nn.Linear(GRID, 2))
    return state(network)


def broken_head() -> dict[str, Tensor]:
    """fc2 of one network behind fc1 of another."""
    full = features(row("vgg16", (64, 128, 256, 512, 512)), PLAIN)
    shapes = {f"features.{key}": tuple(t.shape) for key, t in full.to("meta").state_dict().items()}
    head = {"fc1.weight": (256, 25088), "fc1.bias": (256,), "fc2.weight": (4096, 4096), "fc2.bias": (4096,)}
    last = {"fc3.weight": (10, 4096), "fc3.bias": (10,)}
    return hollow(**{key.replace(".", "__"): shape for key, shape in (shapes | head | last).items()})


def broken_features() -> dict[str, Tensor]:
    """A convolution that takes more channels than the one before it gives."""
    weights = state(torchvision_like(plain(), three(GRID, 10)))
    weights["features.10.weight"] = torch.zeros(12, 13, 3, 3)
    return weights


def four_channels() -> dict[str, Tensor]:
    """Colour and depth."""
    return state(torchvision_like(features(row("vgg16"), PLAIN, channels=4), three(GRID, 10)))


def student_and_teacher() -> dict[str, Tensor]:
    """Distillation: two whole networks side by side, and nothing says which is meant."""
    student = torchvision_like(plain("vgg11"), three(GRID, 10))
    return prefixed("student.", student) | prefixed("teacher.", torchvision_like(plain("vgg19"), three(GRID, 10)))


def student_and_teacher_apart() -> dict[str, object]:
    """Distillation again: each in a dict of its own."""
    networks = {name: torchvision_like(plain(name), three(GRID, 10)) for name in ("vgg11", "vgg19")}
    return {"student": state(networks["vgg11"]), "teacher": state(networks["vgg19"]), "epoch": 3}


def folds() -> dict[str, object]:
    """Cross-validation: as many networks as folds."""
    return {f"fold{number}": {"state_dict": state(torchvision_like(plain(), three(GRID, 10)))} for number in range(3)}


def without_classes() -> dict[str, Tensor]:
    """What gives the features of fc7: the layer of classes was taken off."""
    return state(torchvision_like(plain(), nn.Sequential(*[*three(GRID, 10)][:-1])))


def squeeze_and_excitation(kind: str) -> dict[str, Tensor]:
    """What weighs the channels of the last map: linears or convolutions that would fit in front of the classifier."""
    make = {"linear": nn.Linear, "convolution": lambda one, other: nn.Conv2d(one, other, 1)}[kind]
    block = nn.Sequential(make(LAST, 4), nn.ReLU(), make(4, LAST), nn.Sigmoid())
    return state(chain(features=plain(), se=chain(fc=block), classifier=nn.Linear(LAST, 5)))


def dropouts_as_wide_as_pools() -> dict[str, Tensor]:
    """A dropout where another has a pool: gaps of one width, which six pools would leave as well."""
    layers: list[nn.Module] = []
    for one, other in pairwise((3, 6, 6, 8, 8, 12, 12)):
        block = [nn.Conv2d(one, other, 3, padding=1), nn.BatchNorm2d(other), nn.ReLU()]
        layers += [*block, nn.Dropout() if one != other else nn.MaxPool2d(2)]
    return state(chain(features=nn.Sequential(*layers), classifier=nn.Linear(12 * 16, 10)))


def enormous() -> dict[str, Tensor]:
    """A head of a billion times a billion, in a few kilobytes."""
    network = prefixed("features.", plain())
    return network | hollow(
        classifier__0__weight=(10**9, GRID), classifier__0__bias=(10**9,), classifier__3__weight=(10, 10**9)
    )


def cycle() -> dict[str, object]:
    """A dict that holds itself where the weights should be."""
    content: dict[str, object] = {"epoch": 3}
    content["state_dict"] = content
    return content


def cyclic_beside() -> dict[str, object]:
    """Two that hold each other, several levels down."""
    trainer: dict[str, object] = {"epoch": 3}
    trainer["history"] = [{"trainer": trainer}]
    return {"model": trainer, "trainer": trainer}


def million() -> dict[str, Tensor]:
    """As many keys as no network has, all of one tensor."""
    one = torch.zeros(1)
    return {f"layer{n}.weight": one for n in range(_MILLION)}


def features_file(folder: Path) -> Path:
    """torch.save(vgg19.features.state_dict())."""
    return _file(lambda: state(features(row("vgg19"), PLAIN)), "vgg19-features.pth")(folder)


REFUSED = {
    case.name: case
    for case in (
        Refused("lpips", _file(lpips), ("LPIPS",)),
        Refused("ssd", _file(ssd), ("SSD|detect",)),
        Refused("fcn", _file(fcn), ("FCN|segment",)),
        Refused("u-net", _file(unet), ("U-Net|segment|decoder",)),
        Refused("resnet", _file(resnet), ("ResNet",)),
        Refused("alexnet", _file(alexnet), ("AlexNet|11x11|11, 11",)),
        Refused("two-heads", _file(two_heads), ("age_head", "gender_head")),
        Refused("student-and-teacher", _file(student_and_teacher), ("student", "teacher")),
        Refused("student-and-teacher-apart", _file(student_and_teacher_apart), ("2 networks", "student", "teacher")),
        Refused("folds", _file(folds), ("3 networks", "fold0/state_dict", "Save the one that is meant")),
        Refused(
            "without-classes", _file(without_classes), (r"classifier\.3", "40 features and no classes", "--labels")
        ),
        Refused("attention-of-linears", _file(lambda: squeeze_and_excitation("linear")), ("se.fc.0", "attention")),
        Refused(
            "attention-of-convolutions", _file(lambda: squeeze_and_excitation("convolution")), ("se.fc.0", "attention")
        ),
        Refused("dropouts-as-wide-as-pools", _file(dropouts_as_wide_as_pools), ("leave open where the pools are",)),
        Refused("broken-head", _file(broken_head), ("fc2 takes 4096 where fc1 gives 256",)),
        Refused(
            "broken-features", _file(broken_features), (r"features\.10 takes 13 where features\.7 gives 8|conv3-1",)
        ),
        Refused("four-channels", _file(four_channels), ("4 (input )?channels|channels.*4",)),
        Refused("enormous", _file(enormous), ("classifier.0|too large|memory|GB|TB",)),
        Refused("empty-dict", _file(dict), ("no tensors|no named tensors|empty",)),
        Refused("empty-file", _bytes(b"", "empty.pth"), ("empty",)),
        Refused("cycle", _file(cycle), ("itself|cycle|no tensors|no named tensors",)),
        Refused("cycle-beside", _file(cyclic_beside), ("itself|cycle|no tensors|no named tensors",)),
        Refused("million-keys", _file(million), ("1,?000,?000|million|more than|keys",)),
        Refused(
            "optimizer-only",
            _file(lambda: momentum(torchvision_like(plain(), three(GRID, 10)))),
            ("optimi[sz]er|no named tensors|no tensors",),
        ),
        Refused("features-only", features_file, ("classifier",), opens=True),
        Refused(
            "features-only-safetensors",
            lambda folder: safetensors_file(features(row("vgg16")), folder / "features.safetensors", None, "features."),
            ("classifier",),
            opens=True,
        ),
        Refused("onnx", _bytes(b"\x08\x07\x12\x07pytorch\x1a\x052.1.0:\xff\x01" + bytes(200), "vgg16.onnx"), ("ONNX",)),
        Refused("caffemodel", _bytes(b"\x0a\x07VGG_ILSVRC" + bytes(200), "VGG_16.caffemodel"), ("Caffe",)),
        Refused("keras", _bytes(b"\x89HDF\r\n\x1a\n" + bytes(200), "vgg16_weights.h5"), ("Keras|HDF5",)),
        Refused(
            "lua-torch",
            _bytes(b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1\r\0\0\0nn.Sequential", "VGG_FACE.t7"),
            ("Torch7|Lua",),
        ),
        Refused(
            "matlab",
            _bytes(b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\1IM", "vgg-face.mat"),
            ("MATLAB|MatConvNet",),
        ),
    )
}
