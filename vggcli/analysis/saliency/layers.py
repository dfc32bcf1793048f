"""Which layer's maps are meant by a name, and which methods there are."""

from __future__ import annotations

from typing import Literal, get_args

from vggcli.errors import UsageError
from vggcli.network.architecture import Architecture
from vggcli.network.layers import Activation, BatchNorm, Conv2d, Dropout, Layer, Pool

MethodName = Literal["grad-cam", "grad-cam++", "gradient"]
METHODS: tuple[str, ...] = get_args(MethodName)


def check(method: str, layer: str | None) -> None:
    """Refuse what cannot be, before anything is opened.

    Raises:
        UsageError: no such method, or a layer for the gradient of the image.
        TypeError: no str.
    """
    for name, value in (("method", method), ("layer", layer)):
        if not isinstance(value, str) and (value is not None or name == "method"):
            raise TypeError(f"{name} is a str, not {type(value).__name__}")
    if method not in METHODS:
        raise UsageError("unknown method", method, "", f"Known are {', '.join(METHODS)}")
    if method == "gradient" and layer is not None:
        why = "the method gradient is about the image itself, not about a layer"
        raise UsageError("cannot use the layer", layer, why, "Leave the layer out, or take grad-cam")


def target(architecture: Architecture, name: str | None = None) -> Layer:
    """The layer whose output is weighed and shown.

    Args:
        architecture: the network.
        name: "conv3-3" and "relu3-3" are what the ReLU behind that convolution gives, after its batch norm where it
            has one; "bn3-3" and "pool3" what those layers give.  "conv3_3" is another spelling.  None for the last
            convolution, before the pool behind it.  Where no activation follows a convolution, its batch norm counts,
            and else itself.

    Raises:
        UsageError: the network has no maps under that name; those that it has are told.
    """
    if name is None:
        return _end(architecture, architecture.convolutions[-1])
    maps = {layer.name: layer for layer in _spatial(architecture)}
    found = maps.get(name.replace("_", "-"))
    if found is None:
        convolutions = ", ".join(layer.name for layer in architecture.convolutions)
        known = {layer.name for layer in architecture.layers()}
        why = "it gives no map" if name.replace("_", "-") in known else "the network has none of that name"
        pools = ", ".join(layer.name for layer in maps.values() if isinstance(layer, Pool))
        raise UsageError("cannot explain by the layer", name, why, f"Those with maps are {convolutions}, {pools}")
    return _end(architecture, found) if isinstance(found, Conv2d) else found


def _spatial(architecture: Architecture) -> list[Layer]:
    kinds = Conv2d | BatchNorm | Activation | Pool
    return [layer for layer in architecture.layers() if layer.key.startswith("features.") and isinstance(layer, kinds)]


def _end(architecture: Architecture, convolution: Conv2d) -> Layer:
    """What ends a convolution: its activation, else its batch norm, else itself."""
    layers = architecture.layers()
    end: Layer = convolution
    for layer in layers[layers.index(convolution) + 1 :]:
        if isinstance(layer, Activation):
            return layer
        if not isinstance(layer, BatchNorm | Dropout):
            break
        end = layer if isinstance(layer, BatchNorm) else end
    return end
