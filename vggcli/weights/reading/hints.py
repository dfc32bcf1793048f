"""What pickled modules say of the layers, and keys never do: activations, pools, epsilons, and their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from vggcli.network.layers import Activation, BatchNorm, Dropout, Layer, Pool
from vggcli.weights.reading.modules import CONVOLUTION, Module, Unit
from vggcli.weights.reading.problem import BrokenChainError


class Hint(Protocol):
    """One module without children, as it was pickled; see `LayerHint`."""

    @property
    def key(self) -> str:
        """Its place, e.g. "features.1"."""

    @property
    def kind(self) -> str:
        """Class name of torch.nn, e.g. "LeakyReLU", or a dotted name."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Its plain attributes."""


_ACTIVATIONS = {
    "ReLU": "relu",
    "LeakyReLU": "leaky_relu",
    "ELU": "elu",
    "GELU": "gelu",
    "SiLU": "silu",
    "ReLU6": "relu6",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
}
_ALPHAS = {"LeakyReLU": ("negative_slope", 0.01), "ELU": ("alpha", 1.0)}
_DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")
_ENDINGS = {"Softmax": "softmax", "LogSoftmax": "softmax", "Sigmoid": "sigmoid"}
_USUAL = {"stride": 1, "dilation": 1, "groups": 1, "padding_mode": "zeros"}  # of a convolution


# Without tensors, and not the identity at inference.
_UNKNOWN = tuple(
    """LocalResponseNorm Upsample PixelShuffle Softplus Mish Hardswish Hardtanh CELU SELU LPPool2d FractionalMaxPool2d
    ZeroPad2d ReflectionPad2d Softmax2d Hardsigmoid Softsign Threshold RReLU LogSigmoid Tanhshrink Softshrink
    Hardshrink GLU ChannelShuffle""".split()
)


class Hints:
    """The hints of a file in the order in which its modules were registered; empty for a bare state_dict.

    Args:
        hints: under the keys of the file.
        clean: what turns these into the keys of `Module`.
    """

    def __init__(self, hints: Sequence[Hint] = (), clean: Callable[[str], str] = str) -> None:
        self._order = [(clean(f"{hint.key}.").removesuffix("."), hint) for hint in hints]
        self._places = {key: place for place, (key, _) in enumerate(self._order)}

    def __bool__(self) -> bool:
        return bool(self._order)

    def check(self, units: Sequence[Unit]) -> None:
        """Refuse convolutions that are not the paper's, and a pool in front of the classifier that vgg does not have.

        Raises:
            BrokenChainError: names it.
        """
        kinds = {hint.kind for _, hint in self._order}
        if "AdaptiveMaxPool2d" in kinds and "AdaptiveAvgPool2d" not in kinds:
            raise BrokenChainError("its classifier takes the greatest value of each channel, and a VGG's an average")
        for unit in units:
            hint = self._hint(unit.module)
            if hint is None or unit.module.kind != CONVOLUTION:
                continue
            settings = hint.settings
            wanted = _USUAL | {"padding": unit.module.kernel // 2}
            for name, value in wanted.items():
                if not _is(settings.get(name, value), value) and settings.get(name) != "same":
                    said = f"{name} {settings[name]}"
                    raise BrokenChainError(f"{unit.module.key} has {said}, and the convolutions of a VGG have {value}")

    def check_end(self, last: Unit) -> None:
        """Refuse a sequence that changes the logits: only a softmax or sigmoid behind them is another's business.

        Raises:
            BrokenChainError: names what does.
        """
        start = self._places.get(last.module.key)
        if start is None or not last.module.is_numbered:
            return  # modules under names are registered in any order
        for key, hint in self._order[start + 1 :]:
            if key.rpartition(".")[0] != last.module.parent:
                return
            if hint.kind in _ACTIVATIONS and hint.kind not in _ENDINGS:
                raise BrokenChainError(f"{key} is a {hint.kind} behind the last layer, and a VGG's logits have none")

    def after(self, unit: Unit, following: Unit | None) -> list[tuple[Layer, Module | None]] | None:
        """What stands behind a layer and in front of the next, batch norm among it; None where nothing says it."""
        start = self._places.get(unit.module.key)
        end = len(self._order) if following is None else self._places.get(_first(following).key)
        if start is None or end is None or end < start:
            return None
        found: list[tuple[Layer, Module | None]] = []
        for key, hint in self._order[start + 1 : end]:
            if unit.norm is not None and key == unit.norm.key:
                found.append((self.norm(unit.norm, spatial=unit.module.kind == CONVOLUTION), unit.norm))
            elif following is not None or key.rpartition(".")[0] == unit.module.parent:
                found += [(layer, None) for layer in _layers(key, hint)]
        norm_is_there = unit.norm is None or any(module is unit.norm for _, module in found)
        has_activation = any(isinstance(layer, Activation) for layer, _ in found)
        # A class of one's own may use one activation for all layers, wherever it is registered.
        return found if norm_is_there and (has_activation or self._is_sequence(unit, following)) else None

    def norm(self, module: Module, *, spatial: bool) -> BatchNorm:
        """The batch norm of a module, with the epsilon that it says."""
        layer = BatchNorm("", "", module.outputs, spatial, affine="weight" in module.shapes)
        hint = self._hint(module)
        eps = hint.settings.get("eps") if hint is not None else None
        return replace(layer, eps=float(eps)) if isinstance(eps, float) and 0 < eps < 1 else layer

    @property
    def activation(self) -> Activation:
        """The one that a network uses throughout; ReLU where nothing says another.

        Raises:
            BrokenChainError: there are several, and their places are not known.
        """
        found = {layer for layer in self._all() if isinstance(layer, Activation)}
        found -= {Activation("", "", self.ending)} if self.ending == "sigmoid" and len(found) > 1 else set()
        if len(found) > 1:
            raise BrokenChainError("its modules have several activations, and their order does not say where each is")
        return found.pop() if found else Activation("", "")

    @property
    def pool(self) -> Pool:
        """The kind of pool that a network has throughout; a max pool where nothing says another."""
        found = {layer for layer in self._all() if isinstance(layer, Pool)}
        return found.pop() if len(found) == 1 else Pool("", "")

    @property
    def show_pools(self) -> bool:
        """Whether there are any."""
        return any(isinstance(layer, Pool) for layer in self._all())

    @property
    def ending(self) -> str:
        """What the last module does to the logits: "softmax", "sigmoid", or empty where there is no such module."""
        return _ENDINGS.get(self._order[-1][1].kind, "") if self._order else ""

    def _all(self) -> Iterator[Layer]:
        for key, hint in self._order:
            yield from _layers(key, hint)

    def _hint(self, module: Module) -> Hint | None:
        place = self._places.get(module.key)
        return None if place is None else self._order[place][1]

    def _is_sequence(self, unit: Unit, following: Unit | None) -> bool:
        last = following is None or _first(following).parent == unit.module.parent
        return unit.module.is_numbered and last and any(layer for layer in self._all() if isinstance(layer, Activation))


def _first(unit: Unit) -> Module:
    return unit.front or unit.module


def _layers(key: str, hint: Hint) -> Iterator[Layer]:
    """The layer that a hint stands for; none for what does nothing at inference.

    Raises:
        BrokenChainError: it does something that a VGG does not.
    """
    kind, settings = hint.kind, hint.settings
    if kind in _ACTIVATIONS:
        name, usual = _ALPHAS.get(kind, ("", 0.0))
        if settings.get("approximate", "none") != "none":
            raise BrokenChainError(
                f"{key} is a GELU with approximate={settings['approximate']}, which vgg does not have"
            )
        yield Activation("", "", _ACTIVATIONS[kind], float(settings.get(name, usual)))
    elif kind in ("MaxPool2d", "AvgPool2d"):
        size = settings.get("kernel_size", 2)
        if _is(size, 1) and _is(settings.get("stride", 1), 1):
            return
        usual = _is(size, 2) and _is(settings.get("stride", 2), 2) and _is(settings.get("padding", 0), 0)
        if not usual or settings.get("ceil_mode", False):
            raise BrokenChainError(f"{key} is a {kind} that does not halve the map, as the pools of a VGG do")
        yield Pool("", "", kind == "AvgPool2d")
    elif kind in _DROPOUTS:
        p = settings.get("p", 0.5)
        yield Dropout("", "", float(p) if isinstance(p, int | float) else 0.5)
    elif kind in _UNKNOWN:
        raise BrokenChainError(f"{key} is a {kind}, which no VGG has")


def _is(setting: object, value: object) -> bool:
    """Whether a setting, or each part of it, is this value."""
    return all(part == value for part in setting) if isinstance(setting, tuple) else setting == value
