"""The frozen values that travel between the parts: what was asked, what came out, what went wrong."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """One class of one image.

    Attributes:
        rank: 1 for the most probable class.
        index: position of the class in the last layer.
        label: name of the class.
        probability: softmax of the logits, in [0, 1].
    """

    rank: int
    index: int
    label: str
    probability: float


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one input has no prediction.

    Attributes:
        kind: one word for programs ("truncated", "missing", ...; all are listed in `vggcli.images.failures.KINDS`).
        message: the reason in plain words.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class Record:
    """The one result of one input: either predictions or a failure.

    Attributes:
        path: the input as it was given or found; undecodable bytes as surrogate escapes (`os.fsdecode`).
        predictions: best first; empty when the input failed.
        failure: None when the input was classified.
        truncated: True when the image data ended early and `--allow-truncated` let it through.
    """

    path: str
    predictions: tuple[Prediction, ...] = ()
    failure: Failure | None = None
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes a run's numbers what they are: kept in a resumable run's sidecar, shown in the table's footer.

    Attributes:
        version: version of this tool.
        weights: file name of the weights, or "demo".
        weights_fingerprint: "sha256:..." of the whole file, or "sampled:..." where hashing would cost more than the
            run; the prefix says which (see `store.fingerprint`).
        variant: zoo name, e.g. "vgg16_bn".
        dialect: key layout of the checkpoint, e.g. "torchvision".
        preprocessing: e.g. "squash 224".
        labels: short digest of the label list.
        engine: "torch" or "openvino".
        device: "cpu", "cuda:0", ...
        precision: "fp32", "bf16" or "fp16": what really ran.
        top_k: number of predictions a record.
    """

    version: str
    weights: str
    weights_fingerprint: str
    variant: str
    dialect: str
    preprocessing: str
    labels: str
    engine: str
    device: str
    precision: str
    top_k: int
