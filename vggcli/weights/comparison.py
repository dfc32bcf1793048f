"""A state_dict held against a variant: what is missing, left over or of another shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from vggcli.network.architecture import Architecture, vgg
from vggcli.network.layers import Shape
from vggcli.weights.reading import keys
from vggcli.weights.reading.reading import OPTIONAL, Reading


@dataclass(frozen=True, slots=True)
class Comparison:
    """The differences.

    Attributes:
        missing: keys that the variant needs and the file lacks, canonical.
        unexpected: keys of the file that the variant has no place for.
        misshapen: key in the file, its shape there, the shape that the variant needs.
        features_only: the file holds convolutions and nothing else.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[tuple[str, Shape, Shape], ...]
    features_only: bool

    @property
    def fits(self) -> bool:
        """Whether the file is exactly this variant."""
        return not (self.missing or self.unexpected or self.misshapen)


def compare(shapes: Mapping[str, Shape], reading: Reading | None, row: Architecture) -> Comparison | None:
    """Hold a file against a variant; the classifier's widths and the number of classes are the file's own.

    Args:
        shapes: key to shape, as in the file.
        reading: what was read in it; None where its chain does not close, and then torchvision's keys are expected.

    Returns:
        The differences; None when the file has no convolutions where torchvision's keys have them.
    """
    if reading is not None:
        sources = {source: canonical for canonical, source in reading.sources.items()}
        names = {sources.get(key, key): key for key in shapes}
    else:
        names = keys.clean(shapes)
    if not any(name.startswith("features.") and len(shapes[key]) == 4 for name, key in names.items()):
        return None
    expected = _with_own_widths(row, {name: shapes[key] for name, key in names.items()}).tensors()
    missing = [key for key in expected if key not in names and not key.endswith(OPTIONAL)]
    unexpected = [key for name, key in names.items() if name not in expected]
    misshapen = [
        (names[key], shapes[names[key]], shape)
        for key, shape in expected.items()
        if key in names and not _same(shapes[names[key]], shape)
    ]
    features_only = not any(name.startswith("classifier") for name in names)
    return Comparison(tuple(missing), tuple(unexpected), tuple(misshapen), features_only)


def _same(shape: Shape, needed: Shape) -> bool:
    """Whether a shape is the one needed; a linear layer may be written as a convolution."""
    return shape == needed or (len(needed) == 2 and len(shape) == 4 and (shape[0], prod(shape[1:])) == needed)


def _with_own_widths(row: Architecture, tensors: Mapping[str, Shape]) -> Architecture:
    """The row with the biases, the classifier's widths and the number of classes that the file has."""
    widths = []
    for linear in row.linears:
        shape = tensors.get(f"{linear.key}.weight") or tensors.get(f"{linear.key}.bias") or (linear.out_features,)
        widths.append(shape[0])
    return vgg(
        row.stages,
        batch_norm=row.batch_norm,
        conv_bias=any(f"{layer.key}.bias" in tensors for layer in row.convolutions),
        hidden=tuple(widths[:-1]),
        pool=row.pool,
        num_classes=widths[-1],
    )
