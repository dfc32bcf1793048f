"""One classifier's maps of where it finds a class: which engine makes them, and the items that come out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from vggcli.analysis.saliency import classes as chosen_classes
from vggcli.analysis.saliency import layers
from vggcli.analysis.saliency.grad_cam import MAPS, GradCamEngine
from vggcli.analysis.saliency.head import Head, outputs_needed
from vggcli.engines import choice
from vggcli.errors import UsageError
from vggcli.images.decode import ImageLoader
from vggcli.records import Explanation, Failure
from vggcli.run.ranking import NO_NUMBER
from vggcli.weights.opening import check_classifies

if TYPE_CHECKING:
    from vggcli.classifier import Classifier
    from vggcli.engines import Engine
    from vggcli.images.discover import Input
    from vggcli.run.batches import Result
    from vggcli.run.pipeline import Pipeline


class Explainer:
    """What `Classifier.explain` does, for those who steer it; its arguments are described there.

    Attributes:
        layer: name of the layer whose maps are weighed; "image" for the gradient of the image.
        method: one of `layers.METHODS`.
        takes_torch: the maps are torch's, in float32.

    Raises:
        UsageError: no such method, layer or class; settings that contradict the method.
        MismatchError: the weights are features without a classifier.
        TypeError: values of another type.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        top_k: int | None = None,
        classes: Sequence[str | int] | str | int = (),
        layer: str | None = None,
        method: str = "grad-cam",
    ) -> None:
        layers.check(method, layer)
        model = classifier.model
        check_classifies(model.reading, model.path, has_names=model.has_names)
        named = (classes,) if isinstance(classes, str | int) else tuple(classes)
        if named and top_k is not None:
            raise UsageError("cannot explain", "", "the classes are named, and the best ones asked for", "Choose one")
        wanted = classifier.selection(1 if top_k is None else top_k).top_k
        fixed = dict.fromkeys(chosen_classes.index_of(name, model.labels) for name in named)
        self._choice = chosen_classes.Choice(model.labels, model.recipe.activation, wanted, tuple(fixed))
        self._classifier, self.method = classifier, method
        architecture = model.architecture
        self._target, self._logits = layers.target(architecture, layer), architecture.layers()[-1].name
        self.layer = "image" if method == "gradient" else self._target.name
        needed = outputs_needed(architecture, self._target) if method == "grad-cam" else None
        self._needed = None if needed is None else (self._target.name, *needed)
        self.takes_torch = needed is None
        if self.takes_torch:
            _check_torch(classifier, self.layer if method != "gradient" else method)

    @property
    def count(self) -> int:
        """How many classes of each image are explained."""
        return self._choice.count

    def pipeline(self, inputs: Iterator[Input], *, keeps_picture: bool = False) -> Pipeline:
        """The machinery: its results are for `explanations`.

        Args:
            inputs: pulled lazily, by one thread at a time.
            keeps_picture: results have a `picture`, see `images.decode.Decoded`.
        """
        loader = ImageLoader(self._classifier.loader.decoding, keep_picture=True) if keeps_picture else None
        return self._classifier.pipeline(inputs, loader=loader, open_engine=self._open_engine)

    def explanations(self, result: Result) -> tuple[Explanation, ...]:
        """What there is of one input: an item for each class, or the one of a failure."""
        path = result.item.path
        if result.error is not None:
            return (Explanation(path, failure=Failure(result.error.kind, result.error.why)),)
        assert result.outputs is not None
        logits, maps = result.outputs[self._logits], result.outputs[MAPS]
        if not np.isfinite(logits).all():
            return (Explanation(path, failure=Failure("model", NO_NUMBER)),)
        return tuple(
            Explanation(path, p.rank, p.index, p.label, p.probability, map, truncated=result.truncated)
            for p, map in zip(self._choice.predictions(logits), maps, strict=True)
        )

    def results(self, inputs: Iterable[Input]) -> Iterator[Explanation]:
        """The items of one pass; it ends with the iterator, also when that is dropped before its end."""
        pipeline = self.pipeline(iter(inputs))
        try:
            for result in pipeline.results():
                yield from self.explanations(result)
        finally:
            pipeline.stop()

    def _open_engine(self) -> Engine:
        classifier, model = self._classifier, self._classifier.model
        if self._needed is None:
            from vggcli.analysis.saliency.autograd import AutogradEngine

            s = classifier.settings
            model.check_numbers()
            return AutogradEngine(model, self.method, self._target, self._choice.places, s.device, s.threads)
        with ThreadPoolExecutor(1) as beside:
            head = beside.submit(Head, model, self._target)
            engine = classifier.open_engine(self._needed)
            return GradCamEngine(engine, head.result(), self._target.name, self._logits, self._choice.places)


def _check_torch(classifier: Classifier, what: str) -> None:
    """Refuse settings that torch's autograd cannot keep, before anything is compiled."""
    s = classifier.settings
    choice.check_int8(s.precision, classifier.model)
    if s.engine == "openvino":
        raise UsageError("cannot explain by", what, "it takes torch, and the engine is openvino", "Leave --engine out")
    if s.precision not in ("auto", "fp32"):
        why = f"torch computes gradients in fp32, not in {s.precision}"
        raise UsageError("cannot explain by", what, why, "Leave --precision out")
