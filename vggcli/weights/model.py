"""A model: weights, the network that they belong to, and how images get into it; see `opening`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vggcli.errors import MismatchError
from vggcli.images.recipe import Recipe
from vggcli.network import zoo
from vggcli.network.architecture import Architecture
from vggcli.network.layers import Shape
from vggcli.weights.checkpoint import Checkpoint
from vggcli.weights.description import first_few
from vggcli.weights.locate import DEMO_FILE
from vggcli.weights.parametrized import AnyTensor
from vggcli.weights.reading.reading import Reading

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vggcli.weights.agreement_report import AgreementReport
    from vggcli.weights.int8 import InMemory, Int8Tensor, Quantization

    AnyWeights = AnyTensor | Int8Tensor | InMemory

_FLOAT32_BYTES = 4
_LARGEST_GROWTH = 8  # of a file's bytes to float32 weights: four for int8, twice where tensors are tied
_ALWAYS_BYTES = 64 << 20


@dataclass(frozen=True)
class Model:
    """Weights and the network that they belong to; several engines and threads may read it at once.

    Attributes:
        variant: zoo name, or what the network has where the zoo has none such, e.g. "VGG of 17+1 layers".
        path: the weights file.
        reading: layout, architecture, where each tensor is, and the size of its images.
        labels: class names in index order; two where a single logit decides between them.
        recipe: from an image to the input, and from logits to probabilities.
        warning: what had to be assumed of the recipe, one sentence that must be said; empty when nothing had.
        notes: what the user should know about the file, one sentence each.
        has_names: somebody names the classes.
        quantization: of a file of `vgg quantize`; None for all others.
    """

    variant: str
    path: Path
    reading: Reading
    labels: tuple[str, ...]
    recipe: Recipe
    warning: str
    notes: tuple[str, ...]
    has_names: bool
    _tensors: Mapping[str, AnyWeights] = field(repr=False)
    _checkpoint: Checkpoint = field(repr=False)
    quantization: Quantization | None = None

    @property
    def architecture(self) -> Architecture:
        return self.reading.architecture

    @property
    def name(self) -> str:
        """The weights as shown to people: the file's name, or "demo"."""
        return zoo.DEMO if self.path == DEMO_FILE else self.path.name

    @property
    def has_independent_labels(self) -> bool:
        """Whether several classes, or none, may be those of an image: a sigmoid each, but not one for two classes."""
        return self.recipe.activation == "sigmoid" and len(self.labels) == self.architecture.num_classes

    @cached_property
    def bf16_report(self) -> AgreementReport | None:
        """What a report beside the file says of it in bf16; None without one.  Looked for at the first question."""
        from vggcli.weights import agreement_report

        return agreement_report.find(self.path, "bf16")

    def array(self, key: str) -> NDArray[np.float32]:
        """The tensor of a canonical key, float32 in the network's shape; a view of the mapped file where it can be.

        Raises:
            CheckpointError: the model was closed, or the file became shorter.
            MismatchError: the network's weights take many times the bytes of the file.
        """
        self._check_size()
        shape: Shape = self.architecture.tensors()[key]
        array: NDArray[np.float32] = self._tensors[self.reading.sources[key]].float32().reshape(shape)
        return array

    def int8_tensor(self, key: str) -> Int8Tensor:
        """The weights of a layer, by its key, e.g. "features.0", as they stand in a file of `vgg quantize`."""
        assert self.quantization is not None
        return self.quantization.layers[key]

    def quantized(self, quantization: Quantization, biases: Mapping[str, InMemory]) -> Model:
        """The same with weights in int8, in memory; `close` and `forget_pages` are those of the file of both.

        Args:
            quantization: the weights.
            biases: by canonical key, those that change with them.
        """
        sources, tensors = self.reading.sources, dict(self._tensors)
        tensors |= {sources[key]: bias for key, bias in biases.items()}
        tensors |= {sources[f"{key}.weight"]: layer for key, layer in quantization.layers.items()}
        return replace(self, _tensors=tensors, quantization=quantization)

    def _check_size(self) -> None:
        """Refuse a few bytes that stand for gigabytes: an engine would have to lay out every number."""
        size = self._checkpoint.size
        needed = sum(self._tensors[key].numel for key in self.reading.sources.values()) * _FLOAT32_BYTES
        if needed > _LARGEST_GROWTH * size + _ALWAYS_BYTES:
            why = f"its tensors repeat the same few numbers: {needed:,} bytes of weights in a file of {size:,}"
            raise MismatchError("cannot classify with", str(self.path), why, "Save each tensor with clone()")

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Every tensor of the network that the file has, by canonical key."""
        return {key: self.array(key) for key in self.reading.sources}

    def check_numbers(self) -> None:
        """Refuse weights with NaN or infinite values: an engine may turn them into finite, wrong probabilities.

        Reads every weight once, about 0.1 s for half a GB in the page cache.

        Raises:
            MismatchError: names the tensors.
            CheckpointError: weights in int8, which are always numbers, were changed since they were made.
        """
        import numpy as np

        if self.quantization is not None:
            from vggcli.weights import int8_file

            int8_file.check_weights(self._checkpoint, self.quantization.layers)
            return

        not_finite = []
        for key, source in self.reading.sources.items():
            array = self.array(key)
            # One pass without a temporary array; only a sum that is not finite is worth a closer look.
            with np.errstate(over="ignore", invalid="ignore"):
                is_finite = np.isfinite(array.sum())
            if not is_finite and not np.isfinite(array).all():
                not_finite.append(source)
        if not_finite:
            raise MismatchError(
                "cannot classify with",
                str(self.path),
                f"NaN or infinite values in {first_few(not_finite)}",
                "Its training diverged or the file is damaged; `vgg inspect --stats` lists every tensor",
            )

    def forget_pages(self) -> None:
        """Let the memory of the mapped file go, for an engine that has made its own copy of the weights.

        An engine that reads them in place only has its pages read from the file again.
        """
        self._checkpoint.forget_pages()

    def close(self) -> None:
        """Let go of the file; arrays handed out stay valid, `array` gives no more of them."""
        self._checkpoint.close()
