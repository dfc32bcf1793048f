"""What stands in the place of objects that are never made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """An object of the pickle that is kept by name only, e.g. a device beside the state_dict.

    Attributes:
        name: dotted name of the class or function that would have made it, or of the global itself.
    """

    name: str


@dataclass(frozen=True, eq=False, slots=True)
class Global:
    """A name that the pickle looks up. It is only compared with names known here, never imported.

    Attributes:
        name: dotted, with the module names of Python 3.
    """

    name: str


@dataclass(eq=False, slots=True)
class Inert:
    """An object of a class that nobody here imports: its name and what the pickle would have given it, as plain data.

    No constructor, `__setstate__` or `__reduce__` of it has run or ever does.

    Attributes:
        name: dotted name of what would have made it, e.g. "argparse.Namespace".
        arguments: what that would have been called with.
        state: what would have been set afterwards, usually a dict of its attributes; None without.
        items: what would have been appended or added, for subclasses of list and set.
        entries: what would have been set by key, for subclasses of dict.
    """

    name: str
    arguments: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)
    entries: dict[object, object] = field(default_factory=dict)

    @property
    def class_name(self) -> str:
        """The last part of the name."""
        return self.name.rpartition(".")[2]

    @property
    def attributes(self) -> Mapping[object, object]:
        """Its `__dict__` as pickled, as far as there is one; a state of (dict, slots) counts as its dict."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        return state if isinstance(state, Mapping) else {}


@dataclass(eq=False, slots=True)
class ArrayType:
    """A NumPy dtype of plain numbers.

    Attributes:
        dtype: torch's name for it, e.g. "float32".
        big_endian: byte order, once known.
    """

    dtype: str
    big_endian: bool = False


@dataclass(eq=False, slots=True)
class PendingArray:
    """A NumPy array, whose contents come with a later BUILD.

    Attributes:
        value: the tensor of its numbers; None while it is empty, and for an array of anything else.
        state: what an array of anything else was given.
    """

    value: object = None
    state: tuple[object, ...] = ()


@dataclass(eq=False, slots=True)
class PendingTensor:
    """A tensor or Parameter of PyTorch before 0.4, whose contents come with a later BUILD.

    Attributes:
        name: dotted name of its class.
        value: the tensor, once known.
    """

    name: str
    value: object = None
