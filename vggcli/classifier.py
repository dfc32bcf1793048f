"""One opened model and everything that can be done with it in one process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from vggcli.engines import Engine, choice, memory
from vggcli.engines.devices import cores, import_torch, may_have_accelerator
from vggcli.errors import InputError, UsageError
from vggcli.images.budget import DECODED_BYTES, Budget
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.discover import Input
from vggcli.images.inputs import as_input, expand, read_ahead
from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS
from vggcli.images.recipe import RECIPES, Recipe
from vggcli.library.settings import Settings
from vggcli.network import zoo
from vggcli.network.architecture import Architecture
from vggcli.records import Activations, Explanation, Failure, Record
from vggcli.run.batches import Result
from vggcli.run.pipeline import Pipeline
from vggcli.run.ranking import Selection, to_record
from vggcli.weights.locate import DEMO_FILE, locate
from vggcli.weights.opening import check_classifies, open_model
from vggcli.weights.store import FetchOptions

if TYPE_CHECKING:
    from vggcli.images.inputs import Source
    from vggcli.network.module import VGG
    from vggcli.weights.model import Model

_DECODED_BYTES_PER_WORKER = 64 << 20  # a photo of 16 megapixels
_MOST_WORKERS = 16  # decoding threads that feed any GPU
_TOP_K = 5
_LABEL_PROBABILITY = 0.5  # from which a label that excludes no other is one of the image's


class Classifier:
    """One opened model.

    Use it as a context, or call `close`.  It may be used from any thread and from several at once; several classifiers
    may be open together.  It pickles as its settings and is opened again on the other side.

    Args:
        settings: see `vggcli.load`.
        progress: told how a download goes; by default the logger "vggcli" is.

    Attributes:
        settings: what it was opened with.
    """

    def __init__(self, settings: Settings, *, progress: Callable[[str], Any] | None = None) -> None:
        settings.check()
        self.settings = settings
        fetch = FetchOptions(offline=settings.offline, mirror=settings.mirror, progress=progress)
        path = locate(settings.weights, settings.arch, fetch)
        options = settings.recipe_options
        self._model = open_model(path, settings.arch, settings.labels, options, needs_classifier=False)
        self._loader = _loader(self._decoding(), settings)
        self._temperature = 1.0 if settings.calibration is None else self._calibrated(settings.calibration)
        self._lock = threading.RLock()  # guards everything below; held while a network is compiled
        self._engines: dict[tuple[str, ...], Engine] = {}
        self._pipelines: WeakSet[Pipeline] = WeakSet()
        self._is_closed = False

    def __enter__(self) -> Classifier:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Classifier {self.variant}, weights {self._model.name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Classifier, (self.portable(self.settings),)

    def portable(self, settings: Settings) -> Settings:
        """Settings of this classifier, or its own with other numbers, for a process that was started elsewhere."""
        s, here = settings, str(self._model.path)
        weights = os.path.abspath(here) if s.weights == here else s.weights  # a name finds the cache of the other side
        labels = None if s.labels is None else os.path.abspath(s.labels)
        calibration = None if s.calibration is None else os.path.abspath(s.calibration)
        recipe = os.path.abspath(s.recipe) if isinstance(s.recipe, str) and s.recipe not in RECIPES else s.recipe
        return replace(s, weights=weights, labels=labels, recipe=recipe, calibration=calibration)

    @property
    def model(self) -> Model:
        """The weights and the network that they belong to."""
        return self._model

    @property
    def variant(self) -> str:
        """The network's name, e.g. "vgg16_bn"."""
        return self._model.variant

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names, in index order."""
        return self._model.labels

    @property
    def architecture(self) -> Architecture:
        """The network as data."""
        return self._model.architecture

    @property
    def recipe(self) -> Recipe:
        """How images are brought to the network's input, what its logits are for, and who says so (`source`)."""
        return self._model.recipe

    @property
    def warning(self) -> str:
        """What had to be assumed of the recipe, one sentence that must not be hidden; empty when nothing had."""
        return self._model.warning

    @property
    def notes(self) -> tuple[str, ...]:
        """What should be known about the weights, one sentence each."""
        model = self._model
        about_demo = (f"the demo weights are {zoo.DEMO_WHAT}",) if model.path == DEMO_FILE else ()
        about_recipe = (model.warning,) if model.warning else ()
        return about_demo + about_recipe + tuple(f"{model.path.name}: {text}" for text in model.notes)

    @property
    def engine(self) -> str:
        """What computes: "openvino" or "torch".  The first question compiles the network."""
        return self.open_engine().name

    @property
    def device(self) -> str:
        """Where it computes: "cpu", "cuda:0", ...  The first question compiles the network."""
        return self.open_engine().device

    @property
    def precision(self) -> str:
        """What it computes in: "fp32", "bf16", "fp16" or "int8".  The first question compiles the network."""
        return self.open_engine().precision

    @property
    def preprocessing(self) -> str:
        """How images are read, in words for people and sidecars, e.g. "squash 224"."""
        return self._loader.describe()

    @property
    def temperature(self) -> float:
        """What the logits are divided by before they become probabilities; 1 without a `calibration`."""
        return self._temperature

    @property
    def preparation(self) -> str:
        """How images become the network's input, in words: `preprocessing` without what only refuses images."""
        unlimited = replace(self._decoding(), max_pixels=DEFAULT_MAX_PIXELS, max_bytes=DEFAULT_MAX_BYTES)
        return replace(unlimited, allow_truncated=False).describe()

    def classify(self, image: Source, top_k: int | None = None, *, min_prob: float | None = None) -> Record:
        """The most probable classes of one image.

        Args:
            image: a path, encoded bytes, a PIL image, or a uint8 array (height, width, 3), RGB.
            top_k, min_prob: see `selection`.

        Raises:
            InputError: it cannot be classified; `kind` says why in one word.
            DeviceError: the device or engine cannot be used.
            TypeError, ValueError: it is no image.

        Examples:
            >>> import numpy as np, vggcli
            >>> with vggcli.load("demo") as vgg:
            ...     record = vgg.classify(np.zeros((28, 28, 3), np.uint8), top_k=1)
            >>> record.path, len(record.predictions)
            (None, 1)
        """
        selection = self.selection(top_k, min_prob)
        (result,) = self._results(iter([as_input(image)]), (self._logits,), workers=1)
        if result.error is not None:
            raise result.error
        record = self.record(result, selection)
        if record.failure is not None:
            raise InputError(record.failure.kind, result.item.name, record.failure.message)
        return record

    def predict(
        self,
        inputs: Source | Iterable[Source],
        top_k: int | None = None,
        *,
        min_prob: float | None = None,
        recursive: bool = False,
    ) -> Iterator[Record]:
        """One record for every input, lazily and in order; what fails is a record with a failure.

        Args:
            inputs: one image, or an iterable of them, which may be endless; a folder stands for the images in it.
            top_k, min_prob: see `selection`.
            recursive: descend into subfolders.

        Raises:
            DeviceError: the device or engine cannot be used; every record made before has been given.
            TypeError, ValueError: something among the inputs is no image, likewise.

        Examples:
            >>> import vggcli
            >>> with vggcli.load("demo") as vgg:
            ...     [record.failure.kind for record in vgg.predict(["none.png", b""])]
            ['missing', 'empty']
        """
        selection = self.selection(top_k, min_prob)
        results = self._results(expand(inputs, recursive=recursive, access=self._decoding().access), (self._logits,))
        return (self.record(result, selection) for result in results)

    def activations(
        self, inputs: Source | Iterable[Source], layers: Iterable[str] = ("fc7",), *, recursive: bool = False
    ) -> Iterator[Activations]:
        """What layers give for every input, lazily and in order; what fails is an item with a failure.

        Args:
            inputs: as `predict` takes them.
            layers: names as in the paper: "conv5-3" and "fc7" before batch norm and ReLU, "bn5-3" and "relu5-3" (or
                "relu5_3") after them, "pool5".  Only what these need is computed.

        Returns:
            Items with `path`, `failure` and arrays by name, float32, (channels, height, width) or (features,).

        Raises:
            UsageError: no such layer.  Otherwise as `predict`.
        """
        names = (layers,) if isinstance(layers, str) else tuple(layers)
        for name in names:
            self.architecture.layer(name)
        results = self._results(expand(inputs, recursive=recursive, access=self._decoding().access), names)
        return map(_activations, results)

    def explain(
        self,
        inputs: Source | Iterable[Source],
        top_k: int | None = None,
        *,
        classes: Sequence[str | int] | str | int = (),
        layer: str | None = None,
        method: str = "grad-cam",
        recursive: bool = False,
    ) -> Iterator[Explanation]:
        """Where in each input the network finds its best classes, lazily and in order.

        Args:
            inputs: as `predict` takes them.
            top_k: so many of the most probable classes, an item for each; None for 1.
            classes: these instead, each by its name or index.
            layer: whose maps are weighed; "conv3-3" and "relu3-3" are what the ReLU behind that convolution gives,
                "bn3-3" and "pool3" what those layers give.  None for the last convolution, before the pool behind it.
            method: "grad-cam"; "grad-cam++"; or "gradient", the largest absolute derivative over the channels of each
                normalised pixel.  What is more than grad-cam at the last convolution takes torch.
            recursive: descend into subfolders.

        Returns:
            Items with `path`, `index`, `label`, `probability` and `map`; an input that fails is one with a `failure`.

        Raises:
            UsageError: no such method, layer or class.
            DeviceError: the device or engine cannot be used, or torch is needed and absent.
            Otherwise as `predict`.

        Examples:
            >>> import vggcli
            >>> with vggcli.load("demo") as vgg:
            ...     (item,) = vgg.explain("vggcli/demo/digits/seven.png")
            >>> item.label, item.map.shape, bool(item.map.max() > 0)
            ('seven', (14, 14), True)
        """
        from vggcli.library.explaining import Explainer

        explainer = Explainer(self, top_k=top_k, classes=classes, layer=layer, method=method)
        return explainer.results(expand(inputs, recursive=recursive, access=self._decoding().access))

    def to_torch(self) -> VGG:
        """A new `torch.nn.Module` with these weights (float32, copied), in eval mode, with torchvision's key names.

        It takes images (N, 3, size, size), normalised, and gives logits (N, num_classes).

        Raises:
            DeviceError: torch cannot be imported.
        """
        import_torch()
        from vggcli.network.module import with_weights

        return with_weights(self._model.architecture, self._model.arrays())

    @property
    def loader(self) -> ImageLoader:
        """What decodes its images."""
        return self._loader

    def pipeline(
        self,
        inputs: Iterator[Input],
        outputs: tuple[str, ...] = (),
        workers: int | None = None,
        *,
        keeps: bool = False,
        loader: ImageLoader | None = None,
        open_engine: Callable[[], Engine] | None = None,
    ) -> Pipeline:
        """The machinery below `predict`, for those who steer it: results as they come, stop, a deadline.

        Args:
            inputs: pulled lazily, by one thread at a time.
            outputs: names of layers; the logits by default.
            workers: decoding threads; None for the settings' number.
            keeps: see `Access.keeps`.
            loader, open_engine: what decodes and computes instead of the classifier's own.
        """
        wanted = outputs or (self._logits,)
        with self._lock:
            self._check_open()
            pipeline = Pipeline(
                read_ahead(inputs, replace(self._decoding().access, keeps=keeps)),
                loader or self._loader,
                open_engine or (lambda: self.open_engine(wanted)),
                workers=workers or self.settings.workers or _default_workers(),
                batch_size=self.settings.batch_size,
            )
            self._pipelines.add(pipeline)
        return pipeline

    def selection(self, top_k: int | None = None, min_prob: float | None = None) -> Selection:
        """Which classes a record has.

        Args:
            top_k: so many at most, more than there are means all; None for 5, or for all of labels that do not exclude
                each other (`recipe.activation` is "sigmoid").
            min_prob: none less probable; None for 0, or for 0.5 of such labels.

        Raises:
            UsageError: a value that cannot be; TypeError: one of another type.
        """
        if not isinstance(top_k, int | None):
            raise TypeError(f"top_k is a whole number, not {type(top_k).__name__}")
        if not isinstance(min_prob, int | float | None):
            raise TypeError(f"min_prob is a number, not {type(min_prob).__name__}")
        if top_k is not None and top_k < 1:
            raise UsageError("cannot use top_k", str(top_k), "it must be 1 or more")
        if min_prob is not None and not 0 <= min_prob <= 1:
            raise UsageError("cannot use min_prob", str(min_prob), "it must be from 0 to 1")
        exclusive = not self._model.has_independent_labels
        most = (_TOP_K if exclusive else len(self.labels)) if top_k is None else top_k
        least = (0.0 if exclusive else _LABEL_PROBABILITY) if min_prob is None else float(min_prob)
        return Selection(min(most, len(self.labels)), least)

    def record(self, result: Result, selection: Selection) -> Record:
        """The record of a pipeline's result."""
        return to_record(result, self._logits, self.labels, selection, self.recipe.activation, self._temperature)

    def open_engine(self, outputs: tuple[str, ...] = ()) -> Engine:
        """The engine for these outputs, compiled at the first call for them and kept until `close`.

        Raises:
            DeviceError: the device or engine cannot be used.
            MismatchError: the weights hold NaN or infinite values.
            UsageError: a batch that cannot fit into the memory.
        """
        wanted = outputs or (self.architecture.layers()[-1].name,)
        with self._lock:
            self._check_open()
            if wanted not in self._engines:
                self._engines[wanted] = self._compiled(wanted)
            return self._engines[wanted]

    def close(self) -> None:
        """Stop what runs and let go of the weights and the device; modules and arrays handed out stay valid."""
        with self._lock:
            self._is_closed = True
            pipelines = list(self._pipelines)
        for pipeline in pipelines:
            pipeline.stop()
        for pipeline in pipelines:
            pipeline.wait_for_inference()
        with self._lock:
            engines = list(self._engines.values())
            self._engines.clear()
        for engine in engines:
            engine.close()
        self._model.close()

    @property
    def _logits(self) -> str:
        """The last layer's name; MismatchError when the weights are features without a classifier."""
        check_classifies(self._model.reading, self._model.path, has_names=self._model.has_names)
        return self.architecture.layers()[-1].name

    def _decoding(self) -> Decoding:
        s = self.settings
        return Decoding(
            self.recipe, s.exif, s.allow_truncated, s.max_pixels, s.max_bytes, s.fast_decode, s.allow_private, s.timeout
        )

    def _calibrated(self, path: str) -> float:
        """The temperature of a calibration; UsageError where it is not of these weights and this preprocessing."""
        from vggcli.weights import temperature_file

        return temperature_file.read(path, self._model.path, self.preparation)

    def _check_open(self) -> None:
        if self._is_closed:
            raise UsageError("cannot use", repr(self), "it was closed", "Load it again")

    def _results(
        self, inputs: Iterator[Input], outputs: tuple[str, ...], workers: int | None = None
    ) -> Iterator[Result]:
        """The results of one pass; it ends with the iterator, also when that is dropped before its end."""
        pipeline = self.pipeline(inputs, outputs, workers)
        try:
            yield from pipeline.results()
        finally:
            pipeline.stop()

    def _compiled(self, outputs: tuple[str, ...]) -> Engine:
        s, model = self.settings, self._model
        with ThreadPoolExecutor(1) as beside:
            numbers = beside.submit(model.check_numbers)
            engine = choice.open_engine(
                model, outputs, engine=s.engine, device=s.device, precision=s.precision, threads=s.threads
            )
        try:
            numbers.result()
            if engine.device == "cpu" and s.batch_size is not None:
                # A GPU says when its memory is full; a CPU's system kills the process instead.
                memory.check_batch(s.batch_size, model.architecture.activation_bytes(self.recipe.size))
        except BaseException:
            engine.close()
            raise
        return engine


def _loader(decoding: Decoding, settings: Settings) -> ImageLoader:
    """The host's decoder, or the device's where a fast one is asked for and there may be one."""
    budget = Budget(max(DECODED_BYTES, (settings.workers or _default_workers()) * _DECODED_BYTES_PER_WORKER))
    device = "cuda:0" if settings.device in ("auto", "cuda") else settings.device.partition(",")[0]
    may_use_device = device.startswith("cuda") and settings.engine != "openvino"
    if decoding.fast and may_use_device and may_have_accelerator():
        from vggcli.images.nvjpeg import DeviceImageLoader

        return DeviceImageLoader(decoding, device, budget=budget)
    return ImageLoader(decoding, budget=budget)


def _default_workers() -> int:
    """Decoding threads: measured, one per core is enough to keep a CPU engine fed; more than 16 feed any GPU."""
    return min(_MOST_WORKERS, max(2, cores()))


def _activations(result: Result) -> Activations:
    error = result.error
    failure = None if error is None else Failure(error.kind, error.why)
    return Activations(result.item.path, result.outputs or {}, failure)
