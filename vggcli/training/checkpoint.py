"""The state of a training on disk, whole after every epoch whatever happens, and whether it belongs to this one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from vggcli import files
from vggcli.errors import CheckpointError, MismatchError
from vggcli.output.stream import in_plain_words
from vggcli.training.dataset import quoted
from vggcli.training.state import State
from vggcli.weights.checkpoint import Tensor, open_checkpoint

_FORM = 1
WHAT = "cannot go on from"
_NEXT = "Give the options of the run that began it, or begin anew with --overwrite"


def path_of(output: Path) -> Path:
    """Where the checkpoint of a training with this output lies."""
    return output.with_name(f"{output.name}.checkpoint")


class CheckpointFile:
    """The checkpoint of one training.

    Args:
        path: see `path_of`.
        run: what the numbers depend on, plain values by name; "classes" is among them.
    """

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path, self._run = path, dict(run)

    def save(self, state: State) -> None:
        """Replace the checkpoint.

        Raises:
            OutputError: no room, ...; the one before stays whole.
        """
        with in_plain_words(self.path):
            write({"form": _FORM, "run": self._run, "state": state.to_plain()}, self.path, files.replace_file)

    def load(self, restore: Callable[[State], None]) -> State | None:
        """The state to go on from; None without a checkpoint.

        Args:
            restore: takes the state over, and raises whatever it likes if it is of something else.

        Raises:
            MismatchError: it is of other classes, images or options, which are named.
            CheckpointError: it is no checkpoint.
        """
        if not self.path.exists():
            return None
        try:
            with open_checkpoint(self.path) as checkpoint:
                found = _in_torch(checkpoint.root)
            if not isinstance(found, dict) or found["form"] != _FORM:
                raise ValueError("of another version")
            self._check(found["run"])
            state = State.of_plain(found["state"])
            restore(state)
            return state
        except MismatchError:
            raise
        except (CheckpointError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            step = "Begin anew with --overwrite"
            raise CheckpointError(WHAT, str(self.path), "it is no checkpoint of this program", step) from error

    def remove(self) -> None:
        """The training is over."""
        self.path.unlink(missing_ok=True)

    def _check(self, run: Mapping[str, Any]) -> None:
        ours, theirs = (list(values.get("classes", ())) for values in (self._run, run))
        if ours != theirs:
            added, gone = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
            parts = [f"it does not know {quoted(added)}"] * bool(added) + [f"it knows {quoted(gone)}"] * bool(gone)
            why = f"its classes are others: {' and '.join(parts)}"
            raise MismatchError(WHAT, str(self.path), why, _NEXT)
        for name, value in self._run.items():
            if run.get(name) != value:
                why = f"its {name.replace('_', ' ')} is {run.get(name)}, and not {value}"
                raise MismatchError(WHAT, str(self.path), why, _NEXT)


def _in_torch(value: Any) -> Any:
    """What the reader of weights files gives, which runs none of them, with tensors of torch's."""
    if isinstance(value, Tensor):
        import numpy as np
        import torch

        return torch.from_numpy(np.array(value.numpy()))
    if isinstance(value, Mapping):
        return {key: _in_torch(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_in_torch, value))
    return value


class _Recorder:
    """A file whose errors are raised afterwards: torch's writer, in C++, would bury them under its own."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """All of it, or nothing once it has failed."""
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Whoever owns the file does."""


def write(value: object, path: Path, put: Callable[[Path, Callable[[BinaryIO], object]], None]) -> None:
    """Tensors and plain values as a file of torch's, whole or not at all.

    Args:
        put: `files.replace_file` or `files.create_file`.

    Raises:
        OSError: `path` is as before.
    """
    import torch

    def save(file: BinaryIO) -> None:
        recorder = _Recorder(file)
        torch.save(value, recorder)  # type: ignore[arg-type]
        if recorder.error is not None:
            raise recorder.error

    files.remove_stale(path.parent)
    put(path, save)
