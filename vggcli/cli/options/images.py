"""Which images, and how they are read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from vggcli.cli.options import INPUT

Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[INPUTS]...",
        help="Images, folders, archives, URLs; - is one image on standard input.",
        show_default=False,
    ),
]

Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Descend into subfolders.", rich_help_panel=INPUT)]
FilesFrom = Annotated[
    str | None,
    typer.Option("--files-from", metavar="FILE|-", help="Read paths from a file, one per line.", rich_help_panel=INPUT),
]

Null = Annotated[
    bool, typer.Option("--null", "-0", help="Paths in --files-from end with a zero byte.", rich_help_panel=INPUT)
]

Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        metavar="NAME",
        help="--files-from is a parquet or csv file, and its paths are in this column.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

AllowEmpty = Annotated[
    bool, typer.Option("--allow-empty", help="That there are no images is no failure.", rich_help_panel=INPUT)
]


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers between commas."""
    return tuple(float(number) for number in text.split(","))


Recipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        metavar="NAME|FILE.json",
        help="How images are prepared: imagenet, caffe, half, unit, cifar10, cifar100, or a file.  "
        "[default: what the weights say, else imagenet]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Size = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="N",
        min=1,
        help="Side of the network's input in pixels.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Mean = Annotated[
    Any,
    typer.Option(
        "--mean",
        metavar="A,B,C",
        parser=_numbers,
        help="Subtracted from the channels, as the network sees them.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Std = Annotated[
    Any,
    typer.Option(
        "--std",
        metavar="A,B,C",
        parser=_numbers,
        help="What the channels are divided by then.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

ValueRange = Annotated[
    Literal["1", "255"] | None,
    typer.Option(
        "--value-range",
        help="Whether white is 1 or 255 before that.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Bgr = Annotated[
    bool | None,
    typer.Option(
        "--bgr/--rgb",
        help="Which channel the network sees first.  [default: the recipe's]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

Resize = Annotated[
    Literal["squash", "crop", "letterbox"] | None,
    typer.Option(
        "--resize",
        help="squash: the whole image, distorted; crop: shorter side to 8/7 of the size and the centre, as published; "
        "letterbox: the whole image between bars.  [default: the recipe's, else squash]",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]

NoExif = Annotated[bool, typer.Option("--no-exif", help="Ignore the EXIF orientation.", rich_help_panel=INPUT)]
AllowTruncated = Annotated[
    bool,
    typer.Option("--allow-truncated", help="Classify what there is of images that end early.", rich_help_panel=INPUT),
]

MaxPixels = Annotated[
    int, typer.Option("--max-pixels", metavar="N", min=1, help="Refuse larger images.", rich_help_panel=INPUT)
]

MaxBytes = Annotated[
    int, typer.Option("--max-bytes", metavar="N", min=1, help="Refuse larger image files.", rich_help_panel=INPUT)
]

FastDecode = Annotated[
    bool,
    typer.Option(
        "--fast-decode",
        help="Let large JPEGs decode at reduced scale; probabilities change.",
        rich_help_panel=INPUT,
    ),
]

Timeout = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="SECONDS",
        help="Time for one object behind an address, all tries together.",
        rich_help_panel=INPUT,
    ),
]

AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private", help="Let http(s) images lead into this machine and its network.", rich_help_panel=INPUT
    ),
]
