"""Which recipe belongs to a weights file: the first that knows says it.

The options; the checkpoint itself; a `config.json` or `preprocessor_config.json` beside it that fits; the file's
identity; else ImageNet's is assumed, and said to be.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from vggcli.errors import UsageError
from vggcli.images.recipe import IMAGENET, RECIPES, WITHOUT_SIZE, Recipe, is_number
from vggcli.images.recipe_files import Stated
from vggcli.weights import statements
from vggcli.weights.origin import Origin
from vggcli.weights.statements import Statement


@dataclass(frozen=True, slots=True)
class RecipeOptions:
    """What a person says of preprocessing: a recipe and parts that replace its own; None for what the file says.

    Attributes:
        recipe: a name of `RECIPES`, a JSON file, or a `Recipe`.
        size, mean, std, value_range, resize, activation: see `Recipe`; a single mean or std is that of every channel.
        bgr: whether the network sees blue first.
    """

    recipe: str | Recipe | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    value_range: int | None = None
    bgr: bool | None = None
    resize: str | None = None
    activation: str | None = None

    @property
    def pixels(self) -> int | None:
        """The size that is said, in so many words or by the name of a recipe that has one."""
        if self.size is not None or self.recipe is None:
            return self.size
        named = RECIPES.get(self.recipe) if isinstance(self.recipe, str) else self.recipe
        return None if named is None or self.recipe in WITHOUT_SIZE else named.size

    @property
    def decide(self) -> bool:
        """Whether nothing is left to assume but the size."""
        return self.recipe is not None or (self.mean is not None and self.std is not None)


class NetworkInput(NamedTuple):
    """What the network of a file takes.

    Attributes:
        size: side in pixels that it is built for.
        channels: 1 or 3.
        takes_any: larger and smaller images fit too, as an adaptive pool follows.
        smallest: side in pixels from which pooling leaves anything.
        classes: width of the last layer.
        guess: why `size` is a guess, a clause; empty when it is known.
        ending: what its pickled module does to the logits itself, "softmax" or "sigmoid"; empty where none says it.
    """

    size: int = 224
    channels: int = 3
    takes_any: bool = True
    smallest: int = 32
    classes: int = 1000
    guess: str = ""
    ending: str = ""

    def fits(self, size: int) -> bool:
        """Whether images of that side can go through."""
        return size >= self.smallest and (self.takes_any or size // self.smallest == self.size // self.smallest)


class Choice(NamedTuple):
    """The recipe of a file.

    Attributes:
        recipe: with its source.
        warning: what was assumed or guessed, one sentence that must be said; empty when nothing was.
        notes: what should be known besides.
    """

    recipe: Recipe
    warning: str = ""
    notes: tuple[str, ...] = ()


def choose(origin: Origin, network: NetworkInput, options: RecipeOptions | None = None) -> Choice:
    """The recipe of a file.

    Raises:
        UsageError: an option cannot be, or does not fit the network.
    """
    options = options or RecipeOptions()
    _check_activation(network, options)
    notes = list(origin.beside.notes)
    activation = network.ending or statements.activation(origin) or "softmax"
    for statement in statements.statements(origin, options.recipe):
        try:
            stated = statement.read()
            if stated is None:
                continue
            recipe = _recipe(stated, statement, network, options, activation)
        except UsageError as error:
            if statement.source in ("option", "assumed"):
                raise
            notes.append(f"{statement.where} is ignored: {str(error).partition('. ')[0].rstrip('.')}")
            continue
        is_guessed = bool(network.guess) and options.size is None and stated.get("size") != recipe.size
        is_assumed = not options.decide and not {"mean", "std"} <= stated.keys()
        says = "assumed" if is_assumed else statement.source
        source = "guessed" if is_guessed else "option" if options.decide else says
        recipe = replace(recipe, source=source)
        warning = _warning(origin.name, recipe, network, is_assumed=is_assumed, is_guessed=is_guessed)
        return Choice(recipe, warning, tuple(notes))
    raise AssertionError("the assumption is always there")


def _check_activation(network: NetworkInput, options: RecipeOptions) -> None:
    if network.classes == 1 and options.activation == "softmax":
        why = "the network gives one number, and the softmax of one number is always 1"
        raise UsageError("cannot use activation", "softmax", why, "Leave --activation out")


def _warning(name: str, recipe: Recipe, network: NetworkInput, *, is_assumed: bool, is_guessed: bool) -> str:
    size = f"its input size of {recipe.size} pixels is a guess ({network.guess}; --size says another)"
    if not is_assumed:
        return f"{name}: {size}" if is_guessed else ""
    what = "imagenet" if recipe.name == "imagenet" else "the rest of imagenet"
    said = f"{name} does not say how to prepare its images: {what} is assumed ({recipe.describe()})"
    return f"{said}; --recipe says another" + (f"; {size}" if is_guessed else "")


def _recipe(
    stated: Stated, statement: Statement, network: NetworkInput, options: RecipeOptions, activation: str
) -> Recipe:
    """What is stated, the options over it, and ImageNet's for the rest; for as many channels as the network has."""
    values = statements.stated_by(IMAGENET) | {"activation": activation} | stated
    for name in ("mean", "std", "value_range", "activation"):
        if getattr(options, name) is not None:
            values[name] = getattr(options, name)
    if network.classes == 1:
        values["activation"] = "sigmoid"  # whoever says otherwise: the softmax of one number is always 1
    if options.bgr is not None:
        values["channel_order"] = "bgr" if options.bgr else "rgb"
    if options.resize is not None and options.resize != values["resize"]:
        values |= {"resize": options.resize, "resize_to": None}
    is_said = options.size is not None or ("size" in stated and not statement.yields)
    size = options.size or stated.get("size", network.size)
    if isinstance(size, int) and not network.fits(size):
        if is_said:
            raise _unfit(size, network)
        size = network.size
    before, side = Recipe(stated.get("size", IMAGENET.size)).size, values["resize_to"]  # of a size that can be
    if "size" in stated and before != size and is_number(side):
        values["resize_to"] = round(size * side / before)  # a crop keeps its share
    values["size"] = size
    return Recipe(**_for_channels(values, network.channels), source=statement.source)


def _unfit(size: int, network: NetworkInput) -> UsageError:
    if network.takes_any:
        why = f"its pools leave nothing of less than {network.smallest} pixels"
    else:
        why = f"its classifier takes images of {network.size}x{network.size}"
    return UsageError("cannot use size", str(size), why)


def _for_channels(values: Stated, channels: int) -> Stated:
    """A single number is that of every channel; three become their mean where the network sees grey."""
    if channels == 1:
        values = values | {"channel_order": "grey"}
    elif values["channel_order"] == "grey":
        raise UsageError("cannot use channel_order", "grey", f"its network takes {channels} channels")
    for name in ("mean", "std", "fill"):
        numbers = values[name]
        if not isinstance(numbers, tuple) or len(numbers) == channels:
            continue
        if len(numbers) == 1:
            values[name] = numbers * channels
        elif channels == 1 and all(is_number(number) for number in numbers) and len(numbers) == 3:
            mean = sum(numbers) / 3
            values[name] = (round(mean) if name == "fill" else mean,)
    return values
