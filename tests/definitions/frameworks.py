"""The same few networks as training frameworks write them."""

from __future__ import annotations

from collections import Counter

import torch
from definitions.definition import IMAGENET, SIGMOID, Definition
from definitions.heads import ALL_LABELS, CROP, PETS, index_of
from definitions.layers import (
    GRID,
    HIDDEN,
    LAST,
    PLAIN,
    WIDTHS,
    chain,
    features,
    flat,
    head,
    pooled,
    row,
    three,
    torchvision_like,
)
from definitions.preprocessing import crop, squash
from definitions.saving import adam, arguments, momentum, moved, prefixed, renamed, schedule, state, torch_file
from networks import STAGES
from torch import Tensor, nn


class ConvModule(nn.Sequential):
    """mmcv's: convolution, batch norm and ReLU under names, one place in the row."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.add_module("conv", nn.Conv2d(channels, width, 3, padding=1))
        self.add_module("bn", nn.BatchNorm2d(width))
        self.add_module("activate", nn.ReLU(inplace=True))


class ConcatPool(nn.Module):
    """fastai's AdaptiveConcatPool2d: the greatest of each channel, then the average."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x.amax((2, 3)), x.mean((2, 3))), 1)


def mm_features(variant: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for size, width in zip(STAGES[variant], WIDTHS, strict=True):
        for _ in range(size):
            layers.append(ConvModule(channels, width))
            channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def fastai(classes: int) -> nn.Module:
    """cnn_learner(dls, vgg16_bn): body and head; batch norm in front of each linear."""
    first = [ConcatPool(), nn.Flatten(), nn.BatchNorm1d(2 * LAST), nn.Dropout(), nn.Linear(2 * LAST, 32, bias=False)]
    second = [nn.ReLU(), nn.BatchNorm1d(32), nn.Dropout(), nn.Linear(32, classes, bias=False)]
    return nn.Sequential(nn.Sequential(features(row("vgg16"))), nn.Sequential(*first, *second))


def small(variant: str = "vgg16", classes: int = 5) -> nn.Module:
    """torchvision's VGG with batch norm."""
    return torchvision_like(features(row(variant)), three(GRID, classes))


def averaged(network: nn.Module) -> dict[str, Tensor]:
    """torch.optim.swa_utils.AveragedModel's state_dict."""
    wrapper = torch.optim.swa_utils.AveragedModel(network)
    wrapper.n_averaged += 12
    return dict(wrapper.state_dict())


def lightning(network: nn.Module, prefix: str, hyper: dict[str, object], **more: Tensor) -> dict[str, object]:
    """What Lightning's ModelCheckpoint writes."""
    return {
        "epoch": 19,
        "global_step": 6240,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed(prefix, network) | more,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 20, "completed": 19}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val_acc'}": {"best_model_score": torch.tensor(0.93)}},
        "optimizer_states": [adam(network)],
        "lr_schedulers": [schedule(T_max=20, eta_min=0.0)],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper,
    }


def deepspeed(network: nn.Module) -> dict[str, object]:
    """mp_rank_00_model_states.pt."""
    return {
        "module": prefixed("module.", network),
        "buffer_names": [f"module.{name}" for name, _ in network.named_buffers()],
        "optimizer": None,
        "param_shapes": [{f"module.{name}": p.shape for name, p in network.named_parameters()}],
        "frozen_param_shapes": None,
        "lr_scheduler": None,
        "sparse_tensor_module_names": set(),
        "skipped_steps": 0,
        "global_steps": 4000,
        "global_samples": 128000,
        "dp_world_size": 8,
        "mp_world_size": 1,
        "ds_config": {"train_batch_size": 32, "fp16": {"enabled": False}},
        "ds_version": "0.14.4",
    }


def torchvision_reference(network: nn.Module) -> dict[str, object]:
    """references/classification/train.py with --model-ema."""
    return {
        "model": state(network),
        "optimizer": momentum(network),
        "lr_scheduler": schedule(milestones=Counter({30: 1, 60: 1}), gamma=0.1),
        "epoch": 89,
        "args": arguments(model="vgg16_bn", val_resize_size=256, val_crop_size=224, model_ema=True),
        "model_ema": moved(averaged(network)),
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 7},
    }


DEFINITIONS = (
    Definition(
        name="mmpretrain",
        source="mmpretrain, VGG backbone with its own classifier",
        difference="`backbone.features.N.conv`, `.bn`, a place for each block; crop of 256",
        network=lambda: flat(mm_features("vgg16"), three(GRID, 5)),
        see=crop(),
        saved='{"meta": {"CLASSES", "epoch", "mmcls_version"}, "state_dict", "optimizer"}',
        save=torch_file(
            lambda n: {
                "meta": {"epoch": 100, "iter": 500400, "mmcls_version": "0.25.0", "CLASSES": PETS},
                "state_dict": prefixed("backbone.", n),
                "optimizer": momentum(n),
            },
            "epoch_100.pth",
        ),
        read="names: `meta.CLASSES`",
        names=PETS,
        says=CROP,
    ),
    Definition(
        name="mmpretrain-plain",
        source="mmpretrain, global average pooling and LinearClsHead",
        difference="`backbone.features.N.conv`, `head.fc`",
        network=lambda: pooled(mm_features("vgg11"), chain(fc=nn.Linear(LAST, 5))),
        see=squash(),
        saved='{"meta": {"dataset_meta": {"classes"}}, "state_dict", "message_hub"}',
        save=torch_file(
            lambda n: {
                "meta": {"epoch": 12, "dataset_meta": {"classes": list(PETS)}, "mmpretrain_version": "1.2.0"},
                "state_dict": renamed(n, ("features.", "backbone.features."), ("classifier.", "head.")),
                "message_hub": {"log_scalars": {}, "runtime_info": {"epoch": 12}},
            },
            "epoch_12.pth",
        ),
        read="names: `meta.dataset_meta.classes`",
        names=PETS,
        says=IMAGENET,
    ),
    Definition(
        name="lightning",
        source="PyTorch Lightning",
        difference="`model.` before every key, the loss's weights and a metric's table among them",
        network=small,
        see=squash(),
        saved=".ckpt: state_dict, hyper_parameters, callbacks, optimizer_states",
        save=torch_file(
            lambda n: lightning(
                n,
                "model.",
                {"lr": 0.001, "class_names": list(PETS), "backbone": "vgg16_bn"},
                **{"criterion.weight": torch.ones(5), "val_confmat.confmat": torch.zeros(5, 5, dtype=torch.long)},
            ),
            "epoch=19-val_acc=0.93.ckpt",
        ),
        read="names: `hyper_parameters.class_names`",
        names=PETS,
        says=IMAGENET,
    ),
    Definition(
        name="lightning-several-labels",
        source="PyTorch Lightning, BCEWithLogitsLoss with pos_weight",
        difference="independent labels; body and head as modules of their own",
        network=lambda: chain(
            feature_extractor=features(row("vgg16"), PLAIN),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            head=head((LAST, 32), "relu", "drop", (32, 4)),
        ),
        see=squash(),
        saved=".ckpt: state_dict with `criterion.pos_weight`, hyper_parameters",
        save=torch_file(
            lambda n: lightning(
                n, "", {"label_names": ["cat", "dog", "hat", "sofa"]}, **{"criterion.pos_weight": torch.ones(4)}
            ),
            "last.ckpt",
        ),
        read="names: `hyper_parameters.label_names`",
        names=("cat", "dog", "hat", "sofa"),
        activation="sigmoid",
        says=(*IMAGENET, *SIGMOID),
        rest=ALL_LABELS,
    ),
    Definition(
        name="ignite",
        source="PyTorch Ignite's Checkpoint of several objects",
        difference="the model beside trainer and optimizer",
        network=lambda: torchvision_like(features(row("vgg13")), three(GRID, 6)),
        see=squash(),
        saved='{"model", "optimizer", "trainer", "lr_scheduler"}',
        save=torch_file(
            lambda n: {
                "trainer": {"epoch_length": 100, "max_epochs": 30, "iteration": 3000},
                "model": state(n),
                "optimizer": momentum(n),
                "lr_scheduler": {"milestones": [10, 20], "last_epoch": 30},
            },
            "best_checkpoint_30_accuracy=0.9.pt",
        ),
        says=IMAGENET,
    ),
    Definition(
        name="deepspeed",
        source="DeepSpeed's mp_rank_00_model_states.pt",
        difference="the model under `module`, `module.` before every key",
        network=small,
        see=squash(),
        saved='{"module", "buffer_names", "param_shapes", "ds_config", ...}',
        save=torch_file(deepspeed, "mp_rank_00_model_states.pt"),
        says=IMAGENET,
    ),
    Definition(
        name="fastai",
        source="fastai cnn_learner(dls, vgg16_bn).save()",
        difference="greatest and average of each channel side by side, batch norm before each linear, keys of numbers",
        network=lambda: fastai(5),
        see=squash(),
        saved='{"model", "opt"}',
        save=torch_file(lambda n: {"model": state(n), "opt": adam(n)}, "stage-1.pth"),
        says=IMAGENET,
    ),
    Definition(
        name="fastai-own-model",
        source="fastai Learner around torchvision's VGG",
        difference="the model beside its optimizer's",
        network=lambda: small("vgg19", 4),
        see=squash(),
        saved='{"model", "opt": {"state": list, "hypers": list}}',
        save=torch_file(
            lambda n: {
                "model": state(n),
                "opt": {
                    "state": [{"grad_avg": torch.zeros_like(p), "step": 4} for p in n.parameters()],
                    "hypers": [{"wd": 0.01, "sqr_mom": 0.99, "lr": 1e-3, "mom": 0.95, "eps": 1e-5}],
                },
            }
        ),
        says=IMAGENET,
    ),
    Definition(
        name="averaged-model",
        source="torch.optim.swa_utils.AveragedModel",
        difference="`n_averaged` beside `module.` before every key",
        network=small,
        see=squash(),
        saved="bare state_dict of the average",
        save=torch_file(averaged, "swa.pt"),
        says=IMAGENET,
    ),
    Definition(
        name="torchvision-reference",
        source="torchvision's references/classification",
        difference="an average beside the model: the model is meant",
        network=small,
        see=crop(),
        saved='{"model", "optimizer", "lr_scheduler", "epoch", "args": Namespace, "model_ema", "scaler"}',
        save=torch_file(torchvision_reference, "checkpoint.pth"),
        says=CROP,
    ),
    Definition(
        name="timm-train",
        source="timm's train.py",
        difference="an average beside the model: the model is meant",
        network=small,
        see=crop(),
        saved='{"epoch", "arch", "state_dict", "optimizer", "version", "args": Namespace, "state_dict_ema", "metric"}',
        save=torch_file(
            lambda n: {
                "epoch": 99,
                "arch": "vgg16_bn",
                "state_dict": state(n),
                "optimizer": momentum(n),
                "version": 2,
                "args": arguments(model="vgg16_bn", mean=None, std=None, img_size=None, crop_pct=None),
                "state_dict_ema": moved(state(n)),
                "metric": 91.7,
            },
            "model_best.pth.tar",
        ),
        says=CROP,
    ),
    Definition(
        name="weights-and-names-nested",
        source="training scripts that keep what they need in one dict",
        difference="weights and names two levels down",
        network=lambda: torchvision_like(features(row("vgg16")), head((GRID, HIDDEN), "relu", "drop", (HIDDEN, 5))),
        see=squash(),
        saved='{"model": {"state_dict"}, "data": {"class_to_idx"}, "metrics"}',
        save=torch_file(
            lambda n: {
                "model": {"name": "vgg16_bn", "state_dict": state(n)},
                "data": {"root": "/data/pets", "class_to_idx": index_of(PETS)},
                "metrics": {"accuracy": 0.92, "history": [0.7, 0.8, 0.92]},
            }
        ),
        read="names: `data.class_to_idx`",
        names=PETS,
        says=IMAGENET,
    ),
)
