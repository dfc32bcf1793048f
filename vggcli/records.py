"""The frozen values that travel between the rooms: what was asked, what came out, what went wrong."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TRUNCATED = "truncated: the image data ends early, the prediction rests on its first part"

# The metadata of a field of a run that changes no number; see `Provenance`.
INFORMATION: Mapping[str, Any] = MappingProxyType({"information": True})


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of one image.

    Attributes:
        rank: 1 for the most probable class.
        index: position of the class in the last layer.
        label: name of the class.
        probability: softmax of the logits, or the logit's sigmoid, in [0, 1].
    """

    rank: int
    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one input has no prediction; `str` of it is "kind: message".

    Attributes:
        kind: one word for programs ("truncated", "missing", ...; all are listed in `vggcli.images.failures.KINDS`).
        message: the reason in plain words.
    """

    kind: str
    message: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Record:
    """The one result of one input: either predictions or a failure.

    Attributes:
        path: the input as it was given or found, undecodable bytes as surrogate escapes (`os.fsdecode`); None for an
            input that has no path: an array, bytes, a PIL image.
        predictions: best first; empty when the input failed.
        failure: None when the input was classified.
        truncated: True when the image data ended early and `--allow-truncated` let it through.
    """

    path: str | None
    predictions: tuple[Prediction, ...] = ()
    failure: Failure | None = None
    truncated: bool = False

    @property
    def ok(self) -> bool:
        """Whether the input was classified."""
        return self.failure is None


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What layers of the network gave for one input: `item["fc7"]`.

    Attributes:
        path: as in `Record`.
        outputs: name of the layer, as asked for, to float32 array, (channels, height, width) or (features,); empty when
            the input failed.
        failure: None when the network ran.
    """

    path: str | None
    outputs: Mapping[str, NDArray[np.float32]]
    failure: Failure | None = None

    def __getitem__(self, layer: str) -> NDArray[np.float32]:
        return self.outputs[layer]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Where in one input the network finds one class.

    Attributes:
        path: as in `Record`.
        rank: of the class among all of this input, 1 for the most probable; 0 when the input failed.
        index: position of the class in the last layer; -1 when the input failed.
        label: name of the class.
        probability: as in `Prediction`.
        map: float32 (height, width), not negative, not normalised; it lies on the network's square input, corner on
            corner, whatever its own size.  None when the input failed.
        failure: None when there is a map.
        truncated: as in `Record`.
    """

    path: str | None
    rank: int = 0
    index: int = -1
    label: str = ""
    probability: float = math.nan
    map: NDArray[np.float32] | None = None
    failure: Failure | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """One input as a vector.

    Attributes:
        path: as in `Record`.
        vector: (dimensions,) float16 or float32; None when the input failed.
        failure: None when the network ran.
    """

    path: str | None
    vector: NDArray[np.generic] | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class Provenance:
    """What makes a run's numbers what they are: kept in a resumable run's sidecar, shown in the table's footer.

    A run is only resumed with the same numbers.  The fields marked `INFORMATION` do not change them and are kept for
    people: a patch upgrade, a renamed weights file or the machine next door must not end a week's run.  The weights are
    compared by fingerprint, and engine and precision too, because each pair of them has digits of its own.

    Attributes:
        version: version of this tool (information).
        weights: file name of the weights, or "demo" (information).
        weights_fingerprint: "sha256:..." of the whole file, or "sampled:..." where hashing would cost more than the
            run; the prefix says which (see `store.fingerprint`).
        variant: zoo name, e.g. "vgg16_bn".
        dialect: key layout of the checkpoint, e.g. "torchvision".
        preprocessing: e.g. "squash 224".
        labels: short digest of the label list.
        engine: "torch" or "openvino".
        device: "cpu", "cuda:0", ... (information).
        precision: "fp32", "bf16", "fp16" or "int8": what really ran.
        top_k: number of predictions per record.
        min_prob: predictions below this probability were left out of the records.
        recipe_source: who says how images are read, see `Recipe.source` (information).
        precision_source: why that precision ran, where it is not what the device takes by itself (information).
        temperature: what the logits were divided by, see `vggcli.weights.temperature_file`.
        calibration: name of the file that says so (information).
    """

    version: str = field(metadata=INFORMATION)
    weights: str = field(metadata=INFORMATION)
    weights_fingerprint: str
    variant: str
    dialect: str
    preprocessing: str
    labels: str
    engine: str
    device: str = field(metadata=INFORMATION)
    precision: str
    top_k: int
    min_prob: float = 0.0
    recipe_source: str = field(default="", metadata=INFORMATION)
    precision_source: str = field(default="", metadata=INFORMATION)
    temperature: float = 1.0
    calibration: str = field(default="", metadata=INFORMATION)

    def describe(self) -> str:
        """What ran, in one line for people."""
        source = f" ({self.recipe_source})" if self.recipe_source else ""
        reason = f" ({self.precision_source})" if self.precision_source else ""
        calibrated = f", temperature {self.temperature:.4g} ({self.calibration})" if self.calibration else ""
        return (
            f"{self.variant}, weights {self.weights}, {self.preprocessing}{source},"
            f" {self.engine} engine on {self.device} in {self.precision}{reason}{calibrated}"
        )


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """What makes vectors what they are: kept in the sidecar of a file of them.

    Attributes:
        layer: whose output they are, as the paper names it.
        pool: what became of the positions of a map: "avg", "max", or "none", which leaves them all.
        normalize: each vector has length 1.
        dtype: "fp16" or "fp32".
        dimensions: of a vector.
        recipe: how images were brought to the network, as a recipe file holds it.
        exif, allow_truncated, fast_decode: as in `vggcli.load`.
        weights_path: where the weights lay (information).
        The others: see `Provenance`.
    """

    version: str = field(metadata=INFORMATION)
    weights: str = field(metadata=INFORMATION)
    weights_path: str = field(metadata=INFORMATION)
    weights_fingerprint: str
    variant: str
    dialect: str
    layer: str
    pool: str
    normalize: bool
    dtype: str
    dimensions: int
    preprocessing: str
    recipe: Mapping[str, Any]
    exif: bool
    allow_truncated: bool
    fast_decode: bool
    engine: str
    device: str = field(metadata=INFORMATION)
    precision: str
    recipe_source: str = field(default="", metadata=INFORMATION)
    precision_source: str = field(default="", metadata=INFORMATION)

    def describe(self) -> str:
        """What ran, in one line for people."""
        return f"{self.layer} of {self.variant}, weights {self.weights}, {self.preprocessing}"
