"""Tensors beside the chain of layers: a loss's weights and metrics do no harm, layers of another kind do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vggcli.weights.reading.modules import OTHER, Module, Unit
from vggcli.weights.reading.problem import BrokenChainError

_HARMLESS = re.compile(r"criterion|loss|metric|confmat|confusion|accura|auroc|mean|std|normali[sz]|n_averaged|version")
# Blocks that weigh what the features give: their layers close the chain as a head's would, and are none of it.
_WEIGHS = re.compile(
    r"(^|[._])(se|se_?(block|layer|module)|cbam|eca|(channel|spatial|self)_?att\w*|att(n|ention)\w*)[0-9]*\."
)
_PARAMETERS = ("weight", "bias", "original")  # or what their names begin with


def check_outside(modules: Sequence[Module], units: Sequence[Unit]) -> None:
    """Refuse a module without place in the chain that yet lies in it, and layers of attention that seem to fit into it.

    Args:
        modules: all, in order.
        units: the chain.

    Raises:
        BrokenChainError: names it; a network without it would give other answers.
    """
    chain = {module.key for unit in units for module in (unit.module, unit.norm, unit.front) if module is not None}
    attention = next((key for key in sorted(chain) if _WEIGHS.search(f"{key}.")), None)
    if attention is not None:
        raise BrokenChainError(f"{attention} is by its name a part of an attention block, which no VGG has")
    places = [place for place, module in enumerate(modules) if module.key in chain]
    parents = {modules[place].parent for place in places if modules[place].is_numbered}
    for place, module in enumerate(modules):
        if module.key in chain or module.kind != OTHER or _HARMLESS.search(module.key):
            continue
        is_sibling = module.key and module.is_numbered and module.parent in parents
        has_parameters = any(name.startswith(_PARAMETERS) for name in module.shapes)
        if is_sibling or (has_parameters and places[0] < place < places[-1]):
            raise BrokenChainError(f"{module.key} has {module.describe()}, which no layer of a VGG has")
