"""One small network in files that people arrange in their own way: parts, lists, averages and teachers beside it."""

from __future__ import annotations

from collections.abc import Callable

from definitions.cifar import cifar10
from definitions.definition import IMAGENET, Definition
from definitions.heads import PETS
from definitions.layers import GRID, LAST, chain, features, flat, row, three, torchvision_like
from definitions.preprocessing import CIFAR10_MEAN, CIFAR10_STD, half, squash
from definitions.saving import adam, moved, prefixed, renamed, state, torch_file
from torch import nn


def _small() -> nn.Module:
    return torchvision_like(features(row("vgg11")), three(GRID, 5))


def _arranged(
    name: str, source: str, difference: str, saved: str, content: Callable[[nn.Module], object]
) -> Definition:
    return Definition(
        name=name,
        source=source,
        difference=difference,
        network=_small,
        see=squash(),
        saved=saved,
        save=torch_file(content),
        says=IMAGENET,
    )


DEFINITIONS = (
    _arranged(
        "features-and-classifier-apart",
        "fine-tuning scripts that save the parts of a network one by one",
        "two state_dicts, put together",
        '{"features", "classifier", "epoch"}',
        lambda n: {"features": state(n.features), "classifier": state(n.classifier), "epoch": 3},
    ),
    _arranged(
        "pair",
        "torch.save((model.state_dict(), epoch, names))",
        "the weights are an item of a tuple",
        "tuple",
        lambda n: (state(n), 12, PETS),
    ),
    _arranged(
        "optimizer-by-names",
        "optimizers that keep their averages by the names of parameters",
        "a second tensor for each of the model's, first in the file: the model is meant",
        '{"optim": {"state", "exp_avg"}, "exp_avg", "params"}',
        lambda n: {"optim": adam(n), "exp_avg": moved(state(n), 0.3), "params": state(n)},
    ),
    _arranged(
        "shadow",
        "moving averages called shadows",
        "an average beside the model, first in the file: the model is meant",
        '{"shadow_params", "model_state"}',
        lambda n: {"shadow_params": moved(state(n)), "model_state": state(n)},
    ),
    _arranged(
        "fsdp",
        "FSDP's local state_dicts",
        "`_fsdp_wrapped_module.` in front of keys and between",
        "bare state_dict",
        lambda n: renamed(
            n,
            ("features.", "_fsdp_wrapped_module.features._fsdp_wrapped_module."),
            ("classifier.", "_fsdp_wrapped_module.classifier."),
        ),
    ),
    _arranged(
        "model-module",
        "DataParallel inside a module of one's own",
        "`model.module.` before every key",
        "bare state_dict",
        lambda n: prefixed("model.module.", n),
    ),
    Definition(
        name="settings-with-statistics",
        source="programs that keep mean, deviation and size among their settings",
        difference="`config` says what CIFAR-10's images are brought to",
        network=lambda: flat(features(row("vgg16")), nn.Linear(LAST, 10)),
        see=cifar10,
        saved='{"model", "config": {"mean", "std", "image_size"}}',
        save=torch_file(
            lambda n: {"model": state(n), "config": {"mean": CIFAR10_MEAN, "std": CIFAR10_STD, "image_size": 32}}
        ),
        read="recipe: `config`",
    ),
    Definition(
        name="hyper-parameters-with-statistics",
        source="PyTorch Lightning with mean and deviation among its hyper-parameters",
        difference="mean and deviation 0.5",
        network=_small,
        see=half(224),
        saved=".ckpt: state_dict, hyper_parameters",
        save=torch_file(
            lambda n: {
                "state_dict": prefixed("net.", n),
                "hyper_parameters": {"mean": [0.5] * 3, "std": [0.5] * 3, "img_size": [224, 224], "lr": 0.01},
            }
        ),
        read="recipe: `hyper_parameters`",
    ),
    Definition(
        name="backbone-and-head-apart",
        source="frozen backbones with a head trained on them",
        difference="two state_dicts, put together; keys of numbers, `weight` and `bias`",
        network=lambda: chain(
            backbone=features(row("vgg13")), pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), head=nn.Linear(LAST, 5)
        ),
        see=squash(),
        saved='{"backbone", "head"}',
        save=torch_file(lambda n: {"backbone": state(n.backbone), "head": state(n.head)}),
        says=IMAGENET,
    ),
)
