"""What the inputs of layers are like over many images, in bounded memory, and which range of them int8 should hold.

The first few images tell how large the values of each channel are, and with that how much its integers stand for
relative to the others' (`weights.int8.factors`).  In units of that, four criteria give a layer's range.  From the
histogram of its input's sizes: "max" clips nothing; "percentile" leaves out the largest of 10,000 values; "mean_square"
takes the range whose rounding and clipping together err least.  From the first few images alone: "first" clips what
channels give beyond what they gave for those, as a channel silent in them may by far, which would cost all others bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vggcli.engines import int8
from vggcli.images.recipe import Recipe
from vggcli.network.architecture import Architecture
from vggcli.weights.int8 import factors

if TYPE_CHECKING:
    from numpy.typing import NDArray

CRITERIA = ("max", "percentile", "mean_square", "first")
PERCENTILE = 99.99
_BINS = 2048
_BLOCK = 1 << 18  # values that are counted at a time, so that what counting needs stays in the cache
_TRIED = 64  # ranges that mean_square compares, from a 64th of the largest value to all of it
_UNSIGNED_LEVELS, _SIGNED_LEVELS = 255, 127


class Histogram:
    """How often sizes (absolute values) occur; its memory does not grow with their number.

    Bins are of equal width from zero on.  When a value lies beyond the last, pairs are joined until it does not.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(_BINS, np.int64)
        self.width = 0.0  # of a bin; 0 as long as nothing but zeros was seen
        self.largest = 0.0
        self._zeros = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count float32 values of any shape.

        Raises:
            ValueError: some are not finite.
        """
        flat = values.reshape(-1)
        largest = float(max(flat.max(initial=0), -flat.min(initial=0)))
        if not np.isfinite(largest):
            raise ValueError("values are not finite")
        self.largest = max(self.largest, largest)
        if largest == 0:
            self._zeros += flat.size
            return
        if self.width == 0:
            self.width = largest / _BINS
        while self.width * _BINS < largest:
            self.counts[: _BINS // 2] = self.counts.reshape(-1, 2).sum(1)
            self.counts[_BINS // 2 :] = 0
            self.width *= 2
        factor = np.float32(1 / self.width)
        for start in range(0, flat.size, _BLOCK):
            places = np.abs(flat[start : start + _BLOCK] * factor).astype(np.int32)
            np.minimum(places, _BINS - 1, out=places)
            self.counts += np.bincount(places, minlength=_BINS)

    def range(self, criterion: str, *, is_signed: bool) -> float:
        """The largest size that int8 should hold, above zero unless nothing but zeros was seen.

        Args:
            criterion: one of `CRITERIA`, not "first".
            is_signed: of the integers half stand for negative values.
        """
        if criterion == "max" or self.width == 0:
            return self.largest
        if criterion == "percentile":
            return self._percentile()
        return self._mean_square(_SIGNED_LEVELS if is_signed else _UNSIGNED_LEVELS)

    def _percentile(self) -> float:
        counts = self.counts.copy()
        counts[0] += self._zeros
        reached = np.searchsorted(np.cumsum(counts), counts.sum() * (PERCENTILE / 100))
        return min(self.largest, (int(reached) + 1) * self.width)

    def _mean_square(self, levels: int) -> float:
        centres = (np.arange(_BINS) + 0.5) * self.width
        errors = []
        tried = self.largest * np.arange(1, _TRIED + 1) / _TRIED
        for limit in tried:
            step = limit / levels
            # Within a step errors are spread evenly, which on average comes to step^2 / 12; beyond the last they grow.
            beyond = np.maximum(centres - limit, 0)
            errors.append(float(((beyond**2) + np.where(centres <= limit, step**2 / 12, 0)) @ self.counts))
        return float(tried[int(np.argmin(errors))])


class Mean:
    """The mean of each channel over many images and all places; of each feature where a linear layer sees them."""

    def __init__(self, *, is_flat: bool) -> None:
        self._is_flat = is_flat
        self._sum: NDArray[np.float64] | None = None
        self._images = 0

    def add(self, values: NDArray[np.float32]) -> None:
        """Count values of several images, (N, C, H, W) or (N, D)."""
        flat = values.reshape(len(values), -1) if self._is_flat or values.ndim == 2 else values.mean((2, 3))
        total = flat.sum(0, dtype=np.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._images += len(values)

    def value(self) -> NDArray[np.float32]:
        """The mean, (C,) or (D,)."""
        assert self._sum is not None
        return (self._sum / self._images).astype(np.float32)


class Extents:
    """The size of the largest value in each channel of what layers see; in each feature where they are linear.

    Args:
        architecture: of the network.

    Attributes:
        outputs: as those of `Calibration`.
    """

    def __init__(self, architecture: Architecture) -> None:
        self._inputs = int8.inputs(architecture)
        self._linears = {layer.key for layer in architecture.linears}
        self.outputs = tuple(dict.fromkeys(name for name in self._inputs.values() if name is not None))
        self._largest: dict[str, NDArray[np.float32]] = {}

    def add(self, batch: NDArray[np.uint8], outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Count a batch, see `Calibration.add`."""
        for key, before in self._inputs.items():
            if before is None:
                largest = np.ones(batch.shape[3], np.float32)  # an image's channels are alike
            else:
                values = _by_channel(outputs[before], is_flat=key in self._linears)
                largest = np.maximum(values.max((0, 2)), -values.min((0, 2)))
            if not np.isfinite(largest).all():
                raise ValueError("values are not finite")
            self._largest[key] = np.maximum(self._largest.get(key, largest), largest)

    def factors(self, array: Callable[[str], NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """Key of each layer with weights to the `weights.int8.factors` of its input, (channels,) or (features,).

        Args:
            array: gives the network's tensors by their keys.
        """
        found = {}
        for key, largest in self._largest.items():
            is_image = self._inputs[key] is None
            found[key] = largest if is_image else factors(array(f"{key}.weight"), largest)
        return found

    def limits(self, input_factors: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """Key of each layer with weights to the largest size of its input's values over their channels' factors."""
        return {key: float((largest / input_factors[key]).max()) for key, largest in self._largest.items()}


class Calibration:
    """What the layers of a network see.

    Args:
        architecture, recipe: of the network.
        input_factors: key of each layer with weights to what its input's values are divided by before their sizes are
            counted, (channels,) or (features,).
        limits: the same to the range of the criterion "first", as `Extents.limits` gives it.

    Attributes:
        outputs: names of the layers whose outputs are counted, see `add`.
    """

    def __init__(
        self,
        architecture: Architecture,
        recipe: Recipe,
        input_factors: Mapping[str, NDArray[np.float32]],
        limits: Mapping[str, float],
    ) -> None:
        self.architecture, self.recipe, self.input_factors = architecture, recipe, input_factors
        self._limits = limits
        self._inputs = int8.inputs(architecture)
        self.outputs = tuple(dict.fromkeys(name for name in self._inputs.values() if name is not None))
        self._histograms = {name: Histogram() for name in self.outputs}
        self._linears = {layer.key for layer in architecture.linears}
        self._means = {key: Mean(is_flat=key in self._linears) for key in self._inputs}

    def add(self, batch: NDArray[np.uint8], outputs: Mapping[str, NDArray[np.float32]]) -> None:
        """Count a batch.

        Args:
            batch: images (N, size, size, channels), uint8, as an engine takes them.
            outputs: what the layers give for it, by name.

        Raises:
            ValueError: values are not finite.
        """
        for key, before in self._inputs.items():
            if before is not None:
                values = _by_channel(outputs[before], is_flat=key in self._linears)
                self._histograms[before].add(values / self.input_factors[key][:, None])
            self._means[key].add(self._normalised(batch) if before is None else outputs[before])

    def means(self) -> dict[str, NDArray[np.float32]]:
        """Key of each layer with weights to the mean of its input, (channels,) or (features,)."""
        return {key: mean.value() for key, mean in self._means.items()}

    def _normalised(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The means of images' channels, (N, C), as the network sees them."""
        levels = batch.mean((1, 2)) / (255 // self.recipe.value_range)
        means: NDArray[np.float64] = (levels - np.array(self.recipe.mean)) / np.array(self.recipe.std)
        return means.astype(np.float32)

    def steps(self, criterion: str) -> dict[str, float]:
        """Key of each layer with weights to what an integer of its input stands for, in units of its factors.

        Raises:
            ValueError: a layer has seen nothing but zeros; its message is the layer's name.
        """
        unsigned = int8.unsigned(self.architecture)
        found = {}
        for key, before in self._inputs.items():
            if before is None:
                limit = largest_input(self.recipe)
            elif criterion == "first" and self._limits[key] > 0:
                limit = self._limits[key]
            elif criterion == "first":  # silent in all of those images
                limit = self._histograms[before].largest
            else:
                limit = self._histograms[before].range(criterion, is_signed=key not in unsigned)
            step = limit / (_UNSIGNED_LEVELS if key in unsigned else _SIGNED_LEVELS)
            if not step > np.finfo(np.float32).tiny:
                raise ValueError(next(layer.name for layer in self.architecture.layers() if layer.key == key))
            found[key] = step
        return found


def _by_channel(values: NDArray[np.float32], *, is_flat: bool) -> NDArray[np.float32]:
    """(N, C, H, W) as (N, C, H * W); what linear layers see as (N, D, 1)."""
    if is_flat or values.ndim == 2:
        return values.reshape(len(values), -1, 1)
    return values.reshape(*values.shape[:2], -1)


def largest_input(recipe: Recipe) -> float:
    """The largest size of a normalised value: of black or white in one of the channels."""
    mean, std = np.array(recipe.mean), np.array(recipe.std)
    return float(np.abs([(level - mean) / std for level in (0, recipe.value_range)]).max())


@dataclass(frozen=True, slots=True)
class Split:
    """Which images do what, in the order of their digests: so it is the same however they are named and ordered."""

    calibrate: tuple[int, ...]
    choose: tuple[int, ...]
    report: tuple[int, ...]

    @property
    def count(self) -> int:
        """Of all of them together."""
        return len(self.calibrate) + len(self.choose) + len(self.report)


def split(digests: Mapping[int, bytes]) -> Split:
    """Three fifths of the images to calibrate, a fifth to choose a criterion, a fifth for the report alone.

    Args:
        digests: place of an image to the digest of its pixels; of several with the same pixels the first counts.
    """
    first: dict[bytes, int] = {}
    for place, digest in digests.items():
        first.setdefault(digest, place)
    order = tuple(first[digest] for digest in sorted(first))
    fifth = len(order) // 5
    return Split(
        order[: len(order) - 2 * fifth], order[len(order) - 2 * fifth : len(order) - fifth], order[len(order) - fifth :]
    )
