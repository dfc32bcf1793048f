"""How a program opens a classifier: keywords to settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from vggcli.classifier import Classifier
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, DEFAULT_TIMEOUT
from vggcli.images.recipe import Recipe
from vggcli.library.settings import Settings


def load(
    weights: str | os.PathLike[str] | None = None,
    *,
    arch: str | None = None,
    labels: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Recipe | None = None,
    size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    value_range: int | None = None,
    bgr: bool | None = None,
    resize: str | None = None,
    activation: str | None = None,
    calibration: str | os.PathLike[str] | None = None,
    exif: bool = True,
    allow_truncated: bool = False,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_bytes: int = DEFAULT_MAX_BYTES,
    fast_decode: bool = False,
    timeout: float = DEFAULT_TIMEOUT,
    allow_private: bool = False,
    device: str = "auto",
    engine: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    offline: bool = False,
    mirror: str | None = None,
) -> Classifier:
    """Open a model.

    The weights are found (and fetched, if they are published ones that are not in the cache), read and checked here.
    The network is compiled when it is first needed, so that images can be decoded meanwhile.

    Args:
        weights: a file, a model folder, the name of a variant or of a published file, or "demo"; None for `arch`'s
            ImageNet weights.
        arch: the variant that the weights must be; None for what they say, and vgg16_bn without weights.
        labels: a file of class names, one per line or as JSON; None for the checkpoint's own, those of a JSON document
            beside it, or ImageNet's for 1000 classes.
        recipe: how images are brought to the network: "imagenet", "caffe", "half", "unit", "cifar10", "cifar100", a
            JSON file, or a `Recipe`; None for what the weights or their neighbours say, else ImageNet's, with a warning
            in the log.
        size: side of the input in pixels; here and below None for the recipe's.
        mean: subtracted from the channels, in the range and order that the network sees; one number for all or each.
        std: what they are divided by then.
        value_range: what white is before that: 1 or 255.
        bgr: the network sees blue first.
        resize: "squash", "crop" or "letterbox", see `Recipe`.
        activation: "softmax", or "sigmoid" for labels that do not exclude each other; None for what the weights say.
        calibration: a file of `vgg evaluate --calibrate`, whose temperature the logits are divided by; it must be of
            these weights and this preprocessing.
        exif: apply the EXIF orientation to files, bytes and PIL images.
        allow_truncated: classify what there is of images that end early.
        max_pixels: refuse larger images.
        max_bytes: refuse larger image files.
        fast_decode: let large JPEGs decode at reduced scale, or on the GPU; probabilities change.
        timeout: seconds that one object behind an address may take, all tries together.
        allow_private: let http(s) addresses of images lead into this machine and its network.
        device: "auto", "cpu", "cuda", "cuda:N", "cuda:N,M" or "mps".
        engine: "auto", "torch" or "openvino".
        precision: "auto", "fp32", "bf16" or "fp16"; "int8" for weights of `vgg quantize`, where "auto" means it.
        threads: CPU cores that compute; None for as many as this process may use.
        batch_size: images per batch; None for what was measured to be best.
        workers: decoding threads; None for one per core, at least 2.
        offline: open no network connection.
        mirror: address to fetch weights from instead of the official server.

    Raises:
        UsageError: a value that does not exist or cannot be.
        WeightsError: the weights cannot be found, fetched or read, or are no VGG.
        DeviceError: the engine is not installed.
        TypeError: a value of another type.

    Examples:
        >>> import vggcli
        >>> with vggcli.load("demo") as vgg:
        ...     vgg.labels[:3]
        ('zero', 'one', 'two')
    """
    classifier = Classifier(
        Settings(
            weights=None if weights is None else os.fsdecode(weights),
            arch=arch,
            labels=None if labels is None else os.fsdecode(labels),
            recipe=recipe if recipe is None or isinstance(recipe, Recipe) else os.fsdecode(recipe),
            size=size,
            mean=None if mean is None else tuple(map(float, mean)),
            std=None if std is None else tuple(map(float, std)),
            value_range=value_range,
            bgr=bgr,
            resize=resize,
            activation=activation,
            calibration=None if calibration is None else os.fsdecode(calibration),
            exif=exif,
            allow_truncated=allow_truncated,
            max_pixels=max_pixels,
            max_bytes=max_bytes,
            fast_decode=fast_decode,
            timeout=timeout,
            allow_private=allow_private,
            device=device,
            engine=engine,
            precision=precision,
            threads=threads,
            batch_size=batch_size,
            workers=workers,
            offline=offline,
            mirror=mirror,
        )
    )
    if classifier.warning:
        logging.getLogger("vggcli").warning("%s", classifier.warning)
    return classifier
