"""VGGs at 224 pixels whose heads people have replaced, and VGGs that they have written out by hand."""

from __future__ import annotations

import numpy as np
import torch
from definitions.definition import IMAGENET, SIGMOID, Definition
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
    named,
    pooled,
    row,
    three,
    torchvision_like,
)
from definitions.preprocessing import crop, half, letterbox, squash
from definitions.saving import BARE, adam, adam_object, momentum, prefixed, schedule, state, torch_file
from networks import STAGES
from torch import nn

FLOWERS = ("alpine sea holly", "buttercup", "fire lily", "globe thistle", "hippeastrum", "pink primrose", "wallflower")
CAT_TO_NAME = {
    "1": "pink primrose",
    "2": "hippeastrum",
    "10": "globe thistle",
    "11": "fire lily",
    "21": "alpine sea holly",
    "46": "wallflower",
    "102": "buttercup",
}
CATEGORIES = sorted(CAT_TO_NAME)  # as ImageFolder sorts folders: "1", "10", "102", "11", ...
CATEGORY_INDEX = {category: index for index, category in enumerate(CATEGORIES)}
NAMES_OF_CATEGORIES = tuple(CAT_TO_NAME[category] for category in CATEGORIES)
PETS = ("Abyssinian", "Beagle", "Birman", "Pug", "Sphynx")
CROP = ("--recipe", "imagenet", "--resize", "crop")
ALL_LABELS = ("--min-prob", "0")


def index_of(names: tuple[str, ...]) -> dict[str, int]:
    """ImageFolder's class_to_idx."""
    return {name: index for index, name in enumerate(names)}


def udacity(classes: int) -> nn.Module:
    """The flower course's classifier: every layer under a name, log-probabilities at the end."""
    layers = [("fc1", nn.Linear(GRID, HIDDEN)), ("relu", nn.ReLU()), ("dropout", nn.Dropout(0.2))]
    classifier = chain([*layers, ("fc2", nn.Linear(HIDDEN, classes)), ("output", nn.LogSoftmax(dim=1))])
    return torchvision_like(features(row("vgg16"), PLAIN), classifier)


def koehrsen() -> nn.Module:
    """The last linear replaced by a small head of its own."""
    classifier = [*three(GRID, 1)][:-1]
    last = head((HIDDEN, 32), "relu", "drop", (32, len(PETS)), nn.LogSoftmax(dim=1))
    return torchvision_like(features(row("vgg16"), PLAIN), nn.Sequential(*classifier, last))


def convolutional_head() -> nn.Module:
    """Linears written as convolutions of 7x7 and 1x1."""
    first = [nn.Conv2d(LAST, HIDDEN, 7), nn.ReLU(), nn.Dropout()]
    second = [nn.Conv2d(HIDDEN, HIDDEN, 1), nn.ReLU(), nn.Dropout(), nn.Conv2d(HIDDEN, 10, 1)]
    return chain(
        features=features(row("vgg16"), PLAIN), classifier=nn.Sequential(*first, *second), flatten=nn.Flatten()
    )


def msyim() -> nn.Module:
    """A Sequential a block, in it one for each convolution; batch norm in the classifier."""
    layers: list[tuple[str, nn.Module]] = []
    channels = 3
    for stage, (size, width) in enumerate(zip(STAGES["vgg16"], WIDTHS, strict=True), 1):
        block: list[nn.Module] = []
        for _ in range(size):
            block.append(nn.Sequential(nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()))
            channels = width
        layers.append((f"layer{stage}", nn.Sequential(*block, nn.MaxPool2d(2))))
    layers.append(("flatten", nn.Flatten()))
    layers.append(("layer6", head((GRID, HIDDEN), "norm", "relu")))
    layers.append(("layer7", head((HIDDEN, HIDDEN), "norm", "relu")))
    return chain([*layers, ("layer8", nn.Linear(HIDDEN, 10))])


def _counted() -> list[tuple[str, nn.Module]]:
    """VGG16's convolutions, counted through all stages."""
    layers: list[tuple[str, nn.Module]] = []
    channels, number = 3, 0
    for stage, (size, width) in enumerate(zip(STAGES["vgg16"], WIDTHS, strict=True), 1):
        for _ in range(size):
            number += 1
            layers.append((f"conv{number}", nn.Conv2d(channels, width, 3, padding=1)))
            layers += [(f"bn{number}", nn.BatchNorm2d(width)), (f"relu{number}", nn.ReLU())]
            channels = width
        layers.append((f"pool{stage}", nn.MaxPool2d(2)))
    return layers


def numpy_index_of(names: tuple[str, ...]) -> dict[str, np.int64]:
    """class_to_idx as it comes out of a NumPy enumeration."""
    return {name: np.int64(index) for index, name in enumerate(names)}


DEFINITIONS = (
    Definition(
        name="last-linear-replaced",
        source="`model.classifier[6] = nn.Linear(4096, n)`",
        difference="another number of classes; the shorter side to 256, the centre of 224",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), three(GRID, 5)),
        see=crop(),
        saved='{"state_dict", "class_to_idx" with NumPy integers}',
        save=torch_file(lambda n: {"state_dict": state(n), "class_to_idx": numpy_index_of(PETS)}),
        read="names: `class_to_idx`",
        names=PETS,
        says=CROP,
    ),
    Definition(
        name="two-class-tutorial",
        source="cats-and-dogs tutorials",
        difference="classifier of linears and ReLUs without dropout",
        network=lambda: torchvision_like(
            features(row("vgg11")), head((GRID, HIDDEN), "relu", (HIDDEN, HIDDEN), "relu", (HIDDEN, 2))
        ),
        see=squash(),
        saved="bare state_dict",
        save=torch_file(state, "cats_and_dogs.pth"),
        says=IMAGENET,
    ),
    Definition(
        name="one-linear",
        source="linear probes on frozen features",
        difference="one linear on the flattened 7x7 map",
        network=lambda: torchvision_like(features(row("vgg16")), nn.Linear(GRID, 6)),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="keras-like",
        source="ports of Keras's Flatten, Dense(256), Dense(n)",
        difference="two linears, values in -1..1",
        network=lambda: flat(features(row("vgg16"), PLAIN), head((GRID, 32), "relu", "drop", (32, 4))),
        see=half(224),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "half"),
    ),
    Definition(
        name="two-linears-log-softmax",
        source="transfer-learning articles: Linear(25088, 256), ReLU, Dropout, Linear(256, n), LogSoftmax",
        difference="two linears; the network gives log-probabilities",
        network=lambda: torchvision_like(
            features(row("vgg19"), PLAIN), head((GRID, 32), "relu", "drop", (32, 5), nn.LogSoftmax(dim=1))
        ),
        see=crop(),
        saved='{"model_state_dict", "idx_to_class"}',
        save=torch_file(lambda n: {"model_state_dict": state(n), "idx_to_class": dict(enumerate(PETS))}),
        read="names: `idx_to_class`",
        names=PETS,
        says=CROP,
    ),
    Definition(
        name="koehrsen",
        source="WillKoehrsen's transfer learning: a Sequential in place of classifier[6]",
        difference="`classifier.6.0`, `classifier.6.3`; the classifier itself, as a module, beside the weights",
        network=koehrsen,
        see=crop(),
        saved='{"class_to_idx", "idx_to_class", "epochs", "classifier": module, "state_dict", "optimizer": object}',
        save=torch_file(
            lambda n: {
                "class_to_idx": index_of(PETS),
                "idx_to_class": dict(enumerate(PETS)),
                "epochs": 9,
                "classifier": n.classifier,
                "state_dict": state(n),
                "optimizer": adam_object(n),
                "optimizer_state_dict": adam(n),
            },
            "vgg16-transfer-4.pth",
        ),
        read="names: `class_to_idx`",
        names=PETS,
        says=CROP,
    ),
    Definition(
        name="udacity-state",
        source="Udacity's flower course, with state_dict",
        difference="`classifier.fc1`, `classifier.fc2`; names through two tables",
        network=lambda: udacity(7),
        see=crop(),
        saved='{"arch", "hidden_units", "state_dict", "class_to_idx", "cat_to_name"}',
        save=torch_file(
            lambda n: {
                "arch": "vgg16",
                "hidden_units": HIDDEN,
                "state_dict": state(n),
                "class_to_idx": CATEGORY_INDEX,
                "cat_to_name": CAT_TO_NAME,
            },
            "checkpoint.pth",
        ),
        read="names: `cat_to_name` through `class_to_idx`",
        names=NAMES_OF_CATEGORIES,
        says=CROP,
    ),
    Definition(
        name="udacity-module",
        source="Udacity's flower course, with the classifier as a module",
        difference="`classifier.fc1`, `classifier.fc2`; categories are the names, as nothing says more",
        network=lambda: udacity(7),
        see=crop(),
        saved='{"classifier": module, "state_dict", "optimizer": state_dict, "class_to_idx", "criterion": module}',
        save=torch_file(
            lambda n: {
                "input_size": GRID,
                "output_size": 7,
                "classifier": n.classifier,
                "learning_rate": 0.001,
                "optimizer": adam(n),
                "criterion": nn.NLLLoss(),
                "state_dict": state(n),
                "class_to_idx": CATEGORY_INDEX,
            },
            "checkpoint.pth",
        ),
        read="names: `class_to_idx`",
        names=tuple(CATEGORIES),
        says=CROP,
    ),
    Definition(
        name="gap-1-at-224",
        source="global average pooling and one linear",
        difference="`classifier` on as many features as channels, at 224 pixels",
        network=lambda: pooled(features(row("vgg16")), nn.Linear(LAST, 9)),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="gap-2-at-224",
        source="global average pooling and two linears",
        difference="`backbone.N` and `fc.N`",
        network=lambda: chain(
            backbone=features(row("vgg19"), PLAIN),
            pool=nn.AdaptiveAvgPool2d((1, 1)),
            flatten=nn.Flatten(),
            fc=head((LAST, 32), "relu", "drop", (32, 9)),
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="gap-3-at-224",
        source="global average pooling and three linears",
        difference="dropout in front, at 224 pixels",
        network=lambda: pooled(
            features(row("vgg13")), head("drop", (LAST, 40), "relu", "drop", (40, 32), "relu", (32, 9))
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="four-linears-at-224",
        source="heads of four linears",
        difference="25088, 1024, 512, 256, n",
        network=lambda: torchvision_like(
            features(row("vgg16"), PLAIN),
            head((GRID, 40), "relu", "drop", (40, 36), "relu", "drop", (36, 32), "relu", (32, 3)),
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="norm-before-relu-in-head",
        source="heads of Linear, BatchNorm1d, ReLU, Dropout, Linear",
        difference="batch norm in the head, before the ReLU by its number",
        network=lambda: torchvision_like(
            features(row("vgg16")), head((GRID, HIDDEN), "norm", "relu", "drop", (HIDDEN, 4))
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="norm-after-relu-in-head",
        source="heads of Linear, ReLU, BatchNorm1d, Dropout, Linear",
        difference="batch norm in the head, after the ReLU by its number",
        network=lambda: torchvision_like(
            features(row("vgg16")), head((GRID, HIDDEN), "relu", "norm", "drop", (HIDDEN, 4))
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="biasless-linears",
        source="metric-learning heads",
        difference="linears without biases",
        network=lambda: torchvision_like(features(row("vgg11")), head((GRID, HIDDEN), "relu", (HIDDEN, 6), bias=False)),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="convolutional-head",
        source="fully convolutional classifiers",
        difference="linears written as convolutions of 7x7 and 1x1",
        network=convolutional_head,
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="softmax-in-forward",
        source="classifiers that end with nn.Softmax",
        difference="the network gives probabilities",
        network=lambda: torchvision_like(
            features(row("vgg16"), PLAIN), head((GRID, HIDDEN), "relu", (HIDDEN, 5), nn.Softmax(dim=1))
        ),
        see=squash(),
        saved='{"weights", "labels"}',
        save=torch_file(lambda n: {"weights": state(n), "labels": list(PETS)}),
        read="names: `labels`",
        names=PETS,
        activation="done",
        says=IMAGENET,
    ),
    Definition(
        name="one-logit-two-names",
        source="binary classifiers trained with BCEWithLogitsLoss",
        difference="one logit for two classes",
        network=lambda: torchvision_like(features(row("vgg16")), head((GRID, HIDDEN), "relu", (HIDDEN, 1))),
        see=squash(),
        saved='{"model", "class_to_idx"}',
        save=torch_file(lambda n: {"model": state(n), "class_to_idx": {"cat": 0, "dog": 1}}),
        read="names: `class_to_idx`; sigmoid: one logit",
        names=("cat", "dog"),
        activation="sigmoid",
        says=IMAGENET,
    ),
    Definition(
        name="one-logit-alone",
        source="binary classifiers trained with BCEWithLogitsLoss, names left in the script",
        difference="one logit",
        network=lambda: torchvision_like(features(row("vgg11"), PLAIN), head((GRID, 32), "relu", (32, 1))),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        read="sigmoid: one logit",
        activation="sigmoid",
        says=IMAGENET,
        rest=ALL_LABELS,
    ),
    Definition(
        name="several-labels",
        source="multi-label fine-tuning",
        difference="independent labels, each with its own sigmoid",
        network=lambda: torchvision_like(features(row("vgg16"), PLAIN), three(GRID, 5)),
        see=squash(),
        saved='{"state_dict", "label_names"}',
        save=torch_file(lambda n: {"state_dict": state(n), "label_names": ["beach", "night", "people", "sky", "tree"]}),
        read="names: `label_names`",
        names=("beach", "night", "people", "sky", "tree"),
        activation="sigmoid",
        says=(*IMAGENET, *SIGMOID),
        rest=ALL_LABELS,
    ),
    Definition(
        name="letterboxed",
        source="fine-tuning on padded pictures",
        difference="the whole picture in a square of the mean colour",
        network=lambda: torchvision_like(features(row("vgg16")), three(GRID, 4)),
        see=letterbox(),
        saved="bare state_dict",
        save=BARE,
        says=("--recipe", "imagenet", "--resize", "letterbox"),
    ),
    Definition(
        name="cropped",
        source="pytorch's ImageNet example",
        difference="the shorter side to 256, the centre of 224; DataParallel around the features alone",
        network=lambda: torchvision_like(features(row("vgg19")), three(GRID, 12)),
        see=crop(),
        saved='{"epoch", "arch", "state_dict", "best_acc1": tensor, "optimizer", "scheduler"}',
        save=torch_file(
            lambda n: {
                "epoch": 90,
                "arch": "vgg19_bn",
                "state_dict": {k.replace("features.", "features.module."): t for k, t in state(n).items()},
                "best_acc1": torch.tensor(74.2),
                "optimizer": momentum(n),
                "scheduler": schedule(step_size=30, gamma=0.1),
            },
            "model_best.pth.tar",
        ),
        says=CROP,
    ),
    Definition(
        name="msyim",
        source="msyim VGG16",
        difference="`layer1.0.0`: Sequentials in Sequentials; batch norm in the classifier",
        network=msyim,
        see=squash(),
        saved="bare state_dict",
        save=torch_file(state, "cnn.pkl"),
        says=IMAGENET,
    ),
    Definition(
        name="named-with-norm",
        source="hand-written VGGs with a name for every layer",
        difference="`conv1_1`, `bn1_1`, `fc1`, `fc2`, `fc3`",
        network=lambda: chain(
            named("vgg16", "conv{0}_{1}", "bn{0}_{1}"),
            flatten=nn.Flatten(),
            fc1=nn.Linear(GRID, HIDDEN),
            relu1=nn.ReLU(),
            fc2=nn.Linear(HIDDEN, HIDDEN),
            relu2=nn.ReLU(),
            fc3=nn.Linear(HIDDEN, 10),
        ),
        see=squash(),
        saved="bare state_dict",
        save=torch_file(state, "vgg16.pt"),
        says=IMAGENET,
    ),
    Definition(
        name="running-numbers",
        source="hand-written VGGs that count their layers",
        difference="`conv1` to `conv13`, `bn1` to `bn13`, `fc14` to `fc16`: stages by the paper's table",
        network=lambda: chain(
            _counted(),
            flatten=nn.Flatten(),
            fc14=nn.Linear(GRID, HIDDEN),
            relu14=nn.ReLU(),
            fc15=nn.Linear(HIDDEN, HIDDEN),
            relu15=nn.ReLU(),
            fc16=nn.Linear(HIDDEN, 10),
        ),
        see=squash(),
        saved="bare state_dict",
        save=BARE,
        says=IMAGENET,
    ),
    Definition(
        name="aladdinpersson",
        source="aladdinpersson's VGG from scratch",
        difference="`conv_layers.N` and `fcs.N`",
        network=lambda: chain(conv_layers=features(row("vgg16")), flatten=nn.Flatten(), fcs=three(GRID, 10)),
        see=squash(),
        saved='{"state_dict", "optimizer"}',
        save=torch_file(
            lambda n: {"state_dict": state(n), "optimizer": adam(n)},
            "my_checkpoint.pth.tar",
        ),
        says=IMAGENET,
    ),
    Definition(
        name="own-wrapper",
        source="programs that keep the network as `self.vgg` in a module of theirs",
        difference="`vgg.features.N`, DataParallel around it all",
        network=lambda: torchvision_like(features(row("vgg16")), three(GRID, 10)),
        see=squash(),
        saved="bare state_dict of the outer module",
        save=torch_file(lambda n: prefixed("module.vgg.", n)),
        says=IMAGENET,
    ),
)
