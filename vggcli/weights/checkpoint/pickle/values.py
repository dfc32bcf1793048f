"""What stands in the place of objects that are never made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class Opaque:
    """An object of the pickle that is kept by name only, e.g. a NumPy scalar beside the state_dict.

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
    """

    value: object = None


@dataclass(eq=False, slots=True)
class PendingTensor:
    """A tensor or Parameter of PyTorch before 0.4, whose contents come with a later BUILD.

    Attributes:
        name: dotted name of its class.
        value: the tensor, once known.
    """

    name: str
    value: object = None
