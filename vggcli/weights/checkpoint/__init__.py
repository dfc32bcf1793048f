"""Read weights files (torch zip, torch legacy, safetensors) without torch and without running a byte of them.

`open_checkpoint` returns the structure; each `Tensor` hands out a NumPy view of the mapped file. See `reader` for the
promise, `pickle.machine` for why nothing in a pickle can run, and `limits` for what a file may cost.
"""

from vggcli.weights.checkpoint.pickle.tree import foreign_names
from vggcli.weights.checkpoint.pickle.values import Inert, Opaque
from vggcli.weights.checkpoint.reader import Checkpoint, open_checkpoint, read_checkpoint
from vggcli.weights.checkpoint.source import FileSource, Source
from vggcli.weights.checkpoint.tensor import Storage, Tensor

__all__ = [
    "Checkpoint",
    "FileSource",
    "Inert",
    "Opaque",
    "Source",
    "Storage",
    "Tensor",
    "foreign_names",
    "open_checkpoint",
    "read_checkpoint",
]
