"""One finetuning from a data set to the content of a file: what is computed, in which order, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vggcli.classifier import Classifier
from vggcli.engines import devices
from vggcli.engines.threads import Worker
from vggcli.errors import MismatchError, StoppedError
from vggcli.images.decode import Decoding
from vggcli.network import zoo
from vggcli.training import features, head, network, survey
from vggcli.training.checkpoint import CheckpointFile
from vggcli.training.dataset import Dataset
from vggcli.training.observer import Observer
from vggcli.training.pictures import import_transforms
from vggcli.training.plan import LAST_LAYER, Plan
from vggcli.training.split import Split, split
from vggcli.training.survey import Surveyed
from vggcli.training.task import Finetuned, Start, Task
from vggcli.weights import recipes, store
from vggcli.weights.origin import Origin

if TYPE_CHECKING:
    from vggcli.network.module import VGG
    from vggcli.training.fit import Fitted

_MOST_PROCESSES = 8  # that decode for a GPU
_UNEVEN = 3  # times as many images of one class as of another


def finetune(task: Task, dataset: Dataset, observer: Observer, progress: Any = None) -> Finetuned:
    """Train.

    Args:
        progress: told how a download goes, see `Classifier`.

    Raises:
        InterruptedError: it was told to stop; what is on disk is whole.
        StoppedError: the loss was no number before the first epoch was over.
        VggError: the data, the weights or the device cannot be used.
    """
    devices.import_torch()
    if task.depth != "last":  # what is missing is found before hours are spent on features
        devices.torch_precision(task.settings.precision, devices.torch_devices(task.settings.device)[:1])
        if task.plan.augment != "none":
            import_transforms()
    if task.start is not None:
        return _from_scratch(task, task.start, dataset, observer)
    classifier = Classifier(task.settings, progress=progress)
    try:
        return _from_weights(task, classifier, dataset, observer)
    finally:
        classifier.close()


def _from_weights(task: Task, classifier: Classifier, dataset: Dataset, observer: Observer) -> Finetuned:
    model, plan = classifier.model, task.plan
    if classifier.warning:
        observer.warn(classifier.warning)
    for text in classifier.notes:
        if text != classifier.warning:
            observer.say(text)
    if not classifier.architecture.linears:
        why = "it holds convolutions and no classifier, whose last layer would be trained"
        raise MismatchError("cannot finetune", str(model.path), why, "Use weights with a classifier")
    computed = features.compute(classifier, dataset.examples, task.cache, observer)
    _say_features(computed, observer)
    surveyed = survey.of_features(task.source, dataset, computed)
    found = split(surveyed.images, surveyed.classes, plan.val_fraction, plan.seed)
    _say(surveyed, found, plan, observer)
    precision = classifier.open_engine((features.last_input(classifier)[0],)).precision
    arrays: dict[str, Any] = dict(model.arrays())
    recipe = replace(classifier.recipe, activation="softmax")
    origin = {"weights": model.name, "fingerprint": store.fingerprint(model.path), "variant": model.variant}
    architecture = model.architecture
    decoding = replace(classifier.loader.decoding, recipe=recipe)
    if model.quantization is not None:
        observer.warn("the features are those of the weights in int8; the file will hold the same weights as float32")
    classifier.close()  # the engine's copy of the weights, and its threads
    done = Finetuned(surveyed, found, recipe, architecture, arrays, origin, precision)
    checkpoint = _checkpoint(task, done)
    if task.depth == "last" or not (task.resume and checkpoint.path.exists()):
        _train_head(task, done, computed, observer)
    if task.depth != "last" and not done.diverged:
        _train_deeper(task, done, decoding, checkpoint, observer)
    return done


def _from_scratch(task: Task, start: Start, dataset: Dataset, observer: Observer) -> Finetuned:
    s, plan = task.settings, task.plan
    options = s.recipe_options
    size = options.pixels or zoo.variant(start.variant).architecture.native_size
    network.narrow(start.variant, start.width, size, 2)  # what cannot be is found before the images are read
    takes = recipes.NetworkInput(size=size, classes=2)
    recipe = replace(recipes.choose(Origin(None, None, {}, {}), takes, options).recipe, source="option")
    decoding = Decoding(
        recipe, s.exif, s.allow_truncated, s.max_pixels, s.max_bytes, s.fast_decode, s.allow_private, s.timeout
    )
    surveyed = survey.by_decoding(task.source, dataset, decoding, s.workers, observer)
    found = split(surveyed.images, surveyed.classes, plan.val_fraction, plan.seed)
    _say(surveyed, found, plan, observer)
    architecture = network.narrow(start.variant, start.width, size, len(surveyed.classes))
    drawn = network.from_scratch(architecture, start.init, plan.seed)
    arrays: dict[str, Any] = {key: tensor.numpy() for key, tensor in drawn.state_dict().items()}
    origin = {"from_scratch": True, "init": start.init, "variant": start.variant, "width": start.width}
    done = Finetuned(surveyed, found, recipe, architecture, arrays, origin, "fp32")
    _train_deeper(task, done, decoding, _checkpoint(task, done), observer)
    return done


def _checkpoint(task: Task, done: Finetuned) -> CheckpointFile:
    """With all that the weights depend on."""
    run = {
        "classes": list(done.surveyed.classes),
        "split": done.split.digest(),
        "unfreeze": task.depth,
        "recipe": done.recipe.describe(),
        **{name: value for name, value in done.origin.items() if name != "weights"},
        **task.plan.to_json(),
    }
    return CheckpointFile(task.checkpoint, run)


def _train_head(task: Task, done: Finetuned, computed: features.Computed, observer: Observer) -> None:
    plan, last = task.plan, done.architecture.linears[-1]
    if task.depth != "last":
        plan = replace(LAST_LAYER, seed=plan.seed, class_weights=plan.class_weights)
    dropout = network.last_dropout(done.architecture) if plan.dropout is None else plan.dropout
    data = head.Features(computed.matrix, done.split, len(done.surveyed.classes), plan)
    worker = Worker(task.settings.threads)
    try:
        found = head.train(data, last.in_features, plan, dropout, has_bias=last.bias, worker=worker, observer=observer)
    finally:
        worker.close()
    done.fitted = found.fitted
    _check_kept(done.fitted)
    done.architecture, arrays = network.with_head(done.arrays, done.architecture, found.weight, found.bias)  # type: ignore[arg-type]
    done.arrays = dict(arrays)
    if task.depth != "last":
        observer.say(f"the last layer: {done.fitted.state.best}")


def _train_deeper(
    task: Task, done: Finetuned, decoding: Decoding, checkpoint: CheckpointFile, observer: Observer
) -> None:
    """The network's layers from some point on, on images."""
    from vggcli.network.module import with_weights
    from vggcli.training.fit import Fit, Numbers
    from vggcli.training.pictures import PictureBatches

    classes, s = len(done.surveyed.classes), task.settings
    device = devices.torch_devices(s.device)[0]
    done.precision = devices.torch_precision(s.precision, [device])
    is_gpu = device.type == "cuda"
    processes = (s.workers or min(_MOST_PROCESSES, devices.cores())) if is_gpu else 0
    done.architecture = done.architecture.with_classes(classes)
    shapes = done.architecture.tensors()
    arrays: dict[str, Any] = {key: array for key, array in done.arrays.items() if array.shape == shapes[key]}
    module: VGG = with_weights(done.architecture, arrays | _zeros(shapes, arrays)).to(device)
    network.set_dropout(module, task.plan.dropout)
    frozen = network.freeze(module, done.architecture, task.depth)
    data = PictureBatches(done.split, decoding, classes, task.plan, device, processes)
    worker = Worker(s.threads)
    try:
        fit = Fit(module, data, task.plan, Numbers(device, done.precision), observer.say, frozen, checkpoint.save)
        state = checkpoint.load(fit.restore) if task.resume else None
        if state is not None:
            observer.say(f"going on behind epoch {len(state.epochs)}")
        with observer.watching(fit.flag, fit.images) as progress:
            done.fitted = worker.run(lambda: fit.run(progress, state))
    finally:
        worker.close()
    _check_kept(done.fitted)
    done.arrays = done.arrays | {key: tensor.numpy() for key, tensor in done.fitted.weights.items()}


def _zeros(shapes: Mapping[str, tuple[int, ...]], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """For what a checkpoint is about to fill: the last layer of other classes."""
    import numpy as np

    return {key: np.zeros(shape, np.float32) for key, shape in shapes.items() if key not in arrays}


def _check_kept(fitted: Fitted) -> None:
    if fitted.diverged and fitted.state.best is None:
        why = "the loss was no finite number before the first epoch was over, so there is nothing to keep"
        raise StoppedError("the training stopped", "", why, "Use a smaller --lr")


def _say_features(computed: features.Computed, observer: Observer) -> None:
    count = len(computed.rows)
    size = computed.matrix.nbytes / 1e6
    new = f"{computed.new:,} of them computed now" if computed.new else "all from the run before"
    observer.say(
        f"features of {count:,} images, {new}; {computed.folder} keeps them ({size:.1f} MB) and may be deleted"
    )


def _say(surveyed: Surveyed, found: Split, plan: Plan, observer: Observer) -> None:
    """What of the data should be known before hours are spent on it."""
    for path, why in surveyed.failures.items():
        observer.warn(f"cannot read {path}: {why}")
    for text in (*surveyed.notes, *found.notes):
        observer.warn(text)
    observer.say(
        f"{len(surveyed.classes)} classes, {len(found.train):,} images to train on and {len(found.val):,} held out"
    )
    counts = [0] * len(surveyed.classes)
    for image in found.train:
        counts[image.label] += 1
    if max(counts) >= _UNEVEN * max(1, min(counts)) and plan.class_weights == "none":
        observer.say(f"the classes have {min(counts)} to {max(counts)} images; see --class-weights balanced")
