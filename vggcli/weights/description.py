"""What is said of a weights file: what keeps it from being a network, and what a person should know of a good one."""

from __future__ import annotations

from collections.abc import Sequence

from vggcli.weights.checkpoint.problems import cut
from vggcli.weights.dialects import STAGED
from vggcli.weights.key_mapping import KeyMapping
from vggcli.weights.state_dict import StateDict

_SHOWN = 3  # keys quoted in an error; `vgg inspect` lists them all


def first_few(keys: Sequence[str]) -> str:
    """The first three keys, long ones cut, and how many more there are."""
    more = f" and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"{', '.join(map(cut, keys[:_SHOWN]))}{more}"


def differences(mapping: KeyMapping) -> str:
    """What keeps a file from being the network, in one clause."""
    parts = []
    for keys, what in ((mapping.missing, "missing"), (mapping.unexpected, "unexpected")):
        if keys:
            parts.append(f"{what} {first_few(keys)}")
    if mapping.misshapen:
        key, has, wants = mapping.misshapen[0]
        more = f" and {len(mapping.misshapen) - 1} more" if len(mapping.misshapen) > 1 else ""
        parts.append(f"{cut(key)} is {list(has)} where {list(wants)} belongs{more}")
    widths = [list(stage) for stage in mapping.architecture.stages]
    return "; ".join(parts) or f"its stages have the widths {widths}"


def notes(mapping: KeyMapping, variant: str, weights: StateDict) -> tuple[str, ...]:
    """What a person should know about a file that is otherwise fine."""
    found = []
    if mapping.dialect is STAGED and variant.startswith("vgg11"):
        found.append(
            "the stages are those of VGG-11 (1, 1, 2, 2, 2); a widely copied tutorial calls this network VGG_13, "
            "whose stages are 2, 2, 2, 2, 2"
        )
    if not mapping.architecture.adaptive and mapping.architecture.native_size != 224:
        size = mapping.architecture.native_size
        found.append(f"its classifier takes {size}x{size} images, so images are resized to that")
    if weights.others:
        others = first_few(["/".join(map(cut, other)) for other in weights.others])
        place = cut("/".join(map(cut, weights.wrapper))) or "the top level"
        found.append(f"the weights under {place} are used; there are also {others}")
    return tuple(found)
