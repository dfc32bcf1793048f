"""`vgg finetune`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from vggcli.cli import completion, options
from vggcli.cli.console import Console
from vggcli.cli.options import OUTPUT, images, network, records
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS

TRAINING = "Training"

Source = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER|CSV",
        help="A folder with a folder for each class; train/ and val/ of such; or a csv with the columns path, label "
        "and, if you like, split.",
        autocompletion=completion.files,
        show_default=False,
    ),
]

Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.pth",
        help="Write the network there.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Unfreeze = Annotated[
    Literal["last", "fc6", "conv5", "all"] | None,
    typer.Option(
        "--unfreeze",
        help="Train from this layer on.  [default: last, on features that are computed once]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

FromScratch = Annotated[
    bool, typer.Option("--from-scratch", help="Start from drawn weights.", rich_help_panel=TRAINING)
]

Width = Annotated[
    float,
    typer.Option(
        "--width", metavar="F", min=0.01, max=4, help="From scratch: of every layer's width.", rich_help_panel=TRAINING
    ),
]

Init = Annotated[
    Literal["glorot", "kaiming", "normal"],
    typer.Option(
        "--init",
        help="From scratch: glorot as the paper recommends, kaiming as torchvision does, normal as the paper drew.",
        rich_help_panel=TRAINING,
    ),
]

Epochs = Annotated[
    int | None,
    typer.Option(
        "--epochs",
        metavar="N",
        min=1,
        help="Passes over the images at most.  [default: 60 for the last layer, 10 deeper, 30 from scratch]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        metavar="X",
        min=0,
        help="The highest learning rate, of AdamW.  [default: 0.01, 0.00001 deeper, 0.001 from scratch]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

WeightDecay = Annotated[
    float | None,
    typer.Option(
        "--weight-decay",
        metavar="X",
        min=0,
        help="Of AdamW.  [default: 0.01]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

Dropout = Annotated[
    float | None,
    typer.Option(
        "--dropout",
        metavar="P",
        min=0,
        max=0.99,
        help="In front of linear layers.  [default: the network's]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

StepSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        "-b",
        metavar="N",
        min=2,
        help="Images for each step.  [default: 64 for the last layer, else 32]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

Patience = Annotated[
    int | None,
    typer.Option(
        "--patience",
        metavar="N",
        min=0,
        help="Epochs without a better one after which it ends; 0 for never.  [default: 15, 4 deeper, 10 from scratch]",
        rich_help_panel=TRAINING,
        show_default=False,
    ),
]

ClassWeights = Annotated[
    Literal["none", "balanced"],
    typer.Option(
        "--class-weights",
        help="balanced: an image counts the more, the fewer its class has.",
        rich_help_panel=TRAINING,
    ),
]

Augment = Annotated[
    Literal["flip", "crop", "none"],
    typer.Option(
        "--augment",
        help="How images are varied beyond the last layer: parts of them, and half of these mirrored; crop does not "
        "mirror, which letters and digits want.",
        rich_help_panel=TRAINING,
    ),
]

ValFraction = Annotated[
    float,
    typer.Option(
        "--val-fraction", metavar="F", min=0, max=0.9, help="Of each class, held out.", rich_help_panel=TRAINING
    ),
]

Seed = Annotated[
    int, typer.Option("--seed", metavar="N", min=0, help="Of all that is random.", rich_help_panel=TRAINING)
]
Features = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="DIR",
        help="Where features are kept for the next run.  [default: vgg/features in the user's cache]",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]

Resume = Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside -o.", rich_help_panel=OUTPUT)]


def command(
    context: typer.Context,
    source: Source,
    output: Output,
    recipe: images.Recipe = None,
    size: images.Size = None,
    mean: images.Mean = None,
    std: images.Std = None,
    value_range: images.ValueRange = None,
    bgr: images.Bgr = None,
    resize: images.Resize = None,
    no_exif: images.NoExif = False,
    allow_truncated: images.AllowTruncated = False,
    max_pixels: images.MaxPixels = DEFAULT_MAX_PIXELS,
    max_bytes: images.MaxBytes = DEFAULT_MAX_BYTES,
    arch: network.Arch = None,
    weights: network.Weights = None,
    offline: network.Offline = False,
    mirror: network.Mirror = None,
    unfreeze: Unfreeze = None,
    from_scratch: FromScratch = False,
    width: Width = 1.0,
    init: Init = "glorot",
    epochs: Epochs = None,
    lr: LearningRate = None,
    weight_decay: WeightDecay = None,
    dropout: Dropout = None,
    batch_size: StepSize = None,
    patience: Patience = None,
    class_weights: ClassWeights = "none",
    augment: Augment = "flip",
    val_fraction: ValFraction = 0.2,
    seed: Seed = 0,
    device: network.Device = "auto",
    engine: network.Engine = "auto",
    precision: network.Precision = "auto",
    threads: network.Threads = None,
    workers: network.Workers = None,
    format: options.Listing = options.ListingFormat.auto,
    features: Features = None,
    resume: Resume = False,
    overwrite: records.Overwrite = False,
    quiet: records.Quiet = False,
) -> None:
    """Train a network for your own classes.  It is written with their names and its recipe.

    \b
      vgg finetune pets/ -o pets.pth && vgg predict -w pets.pth photo.jpg
      vgg finetune pets/ -o pets.pth --unfreeze conv5
      vgg finetune digits/ -o digits.pth --from-scratch --width 0.125 --size 32

    Exit codes: 0 written; 1 written, but some images could not be read; 4 the loss diverged, and the best epoch was
    written; others as of predict.
    """
    from vggcli.cli.tables import show
    from vggcli.commands.finetune import Request
    from vggcli.commands.finetune import finetune as run
    from vggcli.errors import UsageError
    from vggcli.images.process import own_process
    from vggcli.network.zoo import DEFAULT_VARIANT
    from vggcli.training.task import Start

    if not from_scratch and (width != 1 or init != "glorot"):
        raise UsageError("--width and --init", "", "they are for training from scratch", "Add --from-scratch")
    numbers = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": lr,
        "weight_decay": weight_decay,
        "patience": patience,
        "dropout": dropout,
        "class_weights": class_weights,
        "augment": augment,
        "val_fraction": val_fraction,
        "seed": seed,
    }
    request = Request(
        source=source,
        output=output,
        settings=replace(options.settings(context.params), batch_size=None),
        depth=unfreeze,
        start=Start(arch or DEFAULT_VARIANT, width, init) if from_scratch else None,
        numbers=numbers,
        cache=features,
        resume=resume,
        overwrite=overwrite,
        quiet=quiet,
    )
    with Console() as console, own_process(max_pixels):
        listing, code = run(request, console)
    if listing is not None:
        show(listing, format.value)
    raise typer.Exit(code)
