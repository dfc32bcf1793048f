"""Images as data for training beyond the last layer: decoded as predictions decode them, varied by torchvision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from vggcli.engines.devices import first_line
from vggcli.errors import DeviceError, InputError, StoppedError
from vggcli.images.decode import Decoding, ImageLoader
from vggcli.images.item import Input
from vggcli.training.head import order
from vggcli.training.plan import Plan, seeded
from vggcli.training.split import Labelled, Split

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

_KEPT_BYTES = 256 << 20  # of decoded pictures in memory, for each part and process; small sets are decoded once
_LEAST_AREA = 0.5  # of the picture, that augmentation takes
_STRETCH = (3 / 4, 4 / 3)  # width over height of it


def import_transforms() -> Any:
    """torchvision.transforms.v2.

    Raises:
        DeviceError: torchvision cannot be imported.
    """
    try:
        from torchvision.transforms import v2
    except Exception as error:  # beside a torch that it was not built for it fails with RuntimeError, among others
        raise DeviceError(
            "cannot vary images with",
            "torchvision",
            f"importing it fails ({first_line(error)})",
            "Install the torchvision that belongs to this torch, or add --augment none",
        ) from error
    return v2


class Pictures:
    """A data set of torch's (it has a length and items by key), of one part of the images.

    Args:
        augment: "none" gives the network's input as predictions do.

    An item's key is (seed, number): with augmentation the seed decides how it is varied.
    """

    def __init__(self, images: Sequence[Labelled], decoding: Decoding, augment: str) -> None:
        self._images, self._decoding, self._augment = images, decoding, augment
        self._loader: ImageLoader | None = None
        self._transform: Any = None
        self._kept: dict[int, NDArray[np.uint8]] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._images)

    def __getstate__(self) -> dict[str, Any]:
        # To another process: locks stay here, and pictures are read again.
        return self.__dict__ | {"_loader": None, "_transform": None, "_kept": {}, "_kept_bytes": 0}

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, int]:
        """(channels, size, size) uint8 in the order of the recipe, and its class."""
        import torch

        seed, number = key
        pixels = self._decoded(number)
        if self._augment != "none":
            pixels = self._varied(pixels, seed)
        return torch.from_numpy(pixels.transpose(2, 0, 1).copy()), self._images[number].label

    def _decoded(self, number: int) -> NDArray[np.uint8]:
        """The network's input, or the whole picture to vary; small sets stay in memory."""
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        if self._loader is None:
            self._loader = ImageLoader(self._decoding, keep_picture=self._augment != "none")
        path = self._images[number].path
        try:
            decoded = self._loader.load(Input(path))
        except InputError as error:
            why = f"it could be read before, and now it cannot: {error.why}"
            raise StoppedError(f"the training stopped at {path}: {why}") from error
        pixels = decoded.pixels if decoded.picture is None else decoded.picture
        if self._kept_bytes + pixels.nbytes <= _KEPT_BYTES:
            self._kept[number] = pixels
            self._kept_bytes += pixels.nbytes
        return pixels

    def _varied(self, picture: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        import torch

        assert self._loader is not None
        if self._transform is None:
            self._transform = _transform(self._augment, self._decoding.recipe.size)
        if self._decoding.recipe.channel_order == "grey":
            picture = np.asarray(Image.fromarray(picture).convert("L"))[:, :, None]
        # torchvision draws from torch's own generator, which belongs to the training.
        state = torch.get_rng_state()
        torch.default_generator.manual_seed(seed)
        try:
            varied: Tensor = self._transform(torch.from_numpy(picture.transpose(2, 0, 1).copy()))
        finally:
            torch.set_rng_state(state)
        pixels = varied.permute(1, 2, 0).numpy()
        return self._loader.arranged(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _transform(augment: str, size: int) -> Any:
    v2 = import_transforms()
    crop = v2.RandomResizedCrop(size, scale=(_LEAST_AREA, 1.0), ratio=_STRETCH, antialias=True)
    return v2.Compose([crop, v2.RandomHorizontalFlip()]) if augment == "flip" else crop


class _Order:
    """The keys of an epoch in batches; a sampler of batches to torch."""

    def __init__(self, images: int, plan: Plan) -> None:
        self._images, self._plan, self.epoch = images, plan, 0

    def __len__(self) -> int:
        return len(order(self._images, self._plan.batch_size, 0))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        seed = self._plan.seed
        for batch in order(self._images, self._plan.batch_size, seeded(seed, self.epoch, -1)):
            yield [(seeded(seed, self.epoch, number), number) for number in batch.tolist()]


class PictureBatches:
    """Images as data for `fit`; see `fit.Data`.

    Args:
        workers: processes that decode; 0 for the one that trains.
    """

    def __init__(
        self, split: Split, decoding: Decoding, num_classes: int, plan: Plan, device: torch.device, workers: int
    ) -> None:
        import torch
        from torch.utils.data import DataLoader

        recipe = decoding.recipe
        self.num_classes = num_classes
        self.labels: Sequence[int] = [image.label for image in split.train]
        self.images = len(self.labels)
        self._order = _Order(self.images, plan)
        self.steps = len(self._order)
        self._device = device
        self._white = 255 // recipe.value_range  # what a byte is divided by
        self._mean = torch.tensor(recipe.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(recipe.std, device=device).view(1, -1, 1, 1)
        # A generator of their own: torch's is the training's.
        options: dict[str, Any] = {"num_workers": workers, "generator": torch.Generator()}
        if workers:
            options |= {"multiprocessing_context": "spawn", "persistent_workers": True}
        options["pin_memory"] = device.type == "cuda"
        train: Any = Pictures(split.train, decoding, plan.augment)
        val: Any = Pictures(split.val, decoding, "none")
        self._train: Any = DataLoader(train, batch_sampler=self._order, **options)
        size = plan.batch_size
        keys = [
            [(0, number) for number in range(start, min(start + size, len(val)))] for start in range(0, len(val), size)
        ]
        self._val: Any = DataLoader(val, batch_sampler=keys, **options)

    def train(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """See `fit.Data`."""
        self._order.epoch = epoch
        return map(self._placed, self._train)

    def validation(self) -> Iterator[tuple[Tensor, Tensor]]:
        """See `fit.Data`."""
        return map(self._placed, self._val)

    def _placed(self, batch: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        pixels, labels = (tensor.to(self._device, non_blocking=True) for tensor in batch)
        return (pixels.float() / self._white - self._mean) / self._std, labels
