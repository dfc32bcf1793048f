"""Which images train and which are held out: stratified, copies together, and the same for a seed on every machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from vggcli.training.dataset import TRAIN, VAL, quoted


@dataclass(frozen=True, slots=True)
class Labelled:
    """One image that can be read.

    Attributes:
        path: of the file.
        label: number of its class.
        digest: SHA-256 of its bytes, by which copies are known.
        part: TRAIN or VAL where the person said so, else "".
        row: of its features, where they were computed.
    """

    path: str
    label: int
    digest: str
    part: str = ""
    row: int = -1


@dataclass(frozen=True, slots=True)
class Split:
    """The two parts, each in the order of the data.

    Attributes:
        notes: what should be known, one sentence each.
    """

    train: tuple[Labelled, ...]
    val: tuple[Labelled, ...]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """What tells one split of some images from another."""
        lines = (f"{part}\t{image.label}\t{image.digest}" for part in (TRAIN, VAL) for image in getattr(self, part))
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def split(images: Sequence[Labelled], classes: Sequence[str], fraction: float, seed: int) -> Split:
    """Hold out a fraction of each class, unless the person has split the images.

    Which images are held out is said by the SHA-256 of the seed and their content: it depends on no generator of
    numbers and on no name, and most images stay where they are when others are added.  Copies of an image, which would
    be known by heart, go where its first one goes.

    Args:
        images: those that can be read.
        classes: their names.
        fraction: of each class, rounded, to hold out; at least one image where it has two.
        seed: for another choice.
    """
    open_images = [image for image in images if not image.part]
    is_split = any(image.part == VAL for image in images)
    held_out = set() if is_split else _held_out(open_images, fraction, seed)

    def is_val(image: Labelled) -> bool:
        return image.part == VAL if image.part else image.digest in held_out

    val = tuple(image for image in images if is_val(image))
    train = tuple(image for image in images if not is_val(image))
    return Split(train, val, tuple(_notes(train, val, classes, fraction)))


def _held_out(images: Sequence[Labelled], fraction: float, seed: int) -> set[str]:
    """The digests of the images to hold out."""
    by_class: dict[int, dict[str, None]] = defaultdict(dict)
    first: dict[str, int] = {}
    for image in images:
        by_class[first.setdefault(image.digest, image.label)][image.digest] = None
    found: set[str] = set()
    for digests in by_class.values():
        count = min(max(round(len(digests) * fraction), fraction > 0), len(digests) - 1)
        found.update(sorted(digests, key=lambda digest: hashlib.sha256(f"{seed}:{digest}".encode()).digest())[:count])
    return found


def _notes(train: Sequence[Labelled], val: Sequence[Labelled], classes: Sequence[str], fraction: float) -> list[str]:
    notes = []
    trained = {image.digest: image for image in train}
    both = [image for image in val if image.digest in trained]
    if both:
        example = f"{both[0].path} is {trained[both[0].digest].path}"
        notes.append(f"{len(both)} images of {VAL} are in {TRAIN} too, so its accuracy says too much: e.g. {example}")
    labels: dict[str, Labelled] = {}
    for image in (*train, *val):
        other = labels.setdefault(image.digest, image)
        if other.label != image.label:
            notes.append(f"the same image is in two classes: {other.path} and {image.path}")
            break
    counts = [sum(image.label == number for image in val) for number in range(len(classes))]
    absent = [name for name, count in zip(classes, counts, strict=True) if not count]
    if absent and val:
        notes.append(f"nothing is held out of these classes, which have too few images: {quoted(absent)}")
    elif not val and fraction > 0:
        notes.append("nothing is held out, as no class has two different images: how good it is cannot be told")
    return notes
