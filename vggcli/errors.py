"""The errors that a person can mend, each with what, where, why, the next step and the exit code.

VggError
├── UsageError            2  the command line asks for something that does not exist or contradicts itself
├── WeightsError          3  the weights or the model cannot be used
│   ├── CheckpointError      the file is not a readable checkpoint
│   │   └── ForbiddenError   the file holds code or objects that are never executed here
│   ├── MismatchError        a readable checkpoint that is not the network asked for
│   └── DownloadError        the weights could not be fetched
│       └── AbsentError      the server has no such file
├── StoppedError          4  the run ended before its last input
│   └── OutputError          the results cannot be written
├── DeviceError           5  the device or the engine cannot be used
└── InputError            1  one input failed; the run goes on and the input gets an error row
"""

from __future__ import annotations


class VggError(Exception):
    """An error in plain words.

    Args:
        what: what could not be done, a short clause ("cannot read weights").
        where: the file, URL or option that it concerns; empty when it concerns none.
        why: the reason, a clause without a full stop.
        next_step: what the person can do now, a sentence without a full stop; empty when there is nothing to do.
    """

    exit_code = 1

    def __init__(self, what: str, where: str = "", why: str = "", next_step: str = "") -> None:
        self.what, self.where, self.why, self.next_step = what, where, why, next_step
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.what} {self.where}".rstrip()
        text = f"{head}: {self.why}" if self.why else head
        return f"{text}. {self.next_step}." if self.next_step else f"{text}."


class UsageError(VggError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = 2


class WeightsError(VggError):
    """The weights or the model cannot be used."""

    exit_code = 3


class CheckpointError(WeightsError):
    """The file is not a readable checkpoint: empty, cut, not a weights file, or damaged."""


class ForbiddenError(CheckpointError):
    """The checkpoint asks for code or objects beyond tensors and plain data; nothing of it was executed.

    Args:
        names: the dotted names beyond tensors and plain data that unpickling would have looked up, in order.
    """

    def __init__(self, what: str, where: str, why: str, next_step: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(what, where, why, next_step)
        self.names = names


class MismatchError(WeightsError):
    """The checkpoint is readable but is not the network asked for."""


class DownloadError(WeightsError):
    """The weights could not be fetched."""


class AbsentError(DownloadError):
    """The server has no such file; another address may."""


class StoppedError(VggError):
    """The run ended before its last input."""

    exit_code = 4


class OutputError(StoppedError):
    """The results cannot be written."""


class DeviceError(VggError):
    """The device or the engine cannot be used."""

    exit_code = 5


class InputError(VggError):
    """One input failed; the run goes on.

    Args:
        kind: one word for programs, one of the kinds listed in `vggcli.images.failures`, e.g. "truncated".
        why: the reason in plain words.
    """

    def __init__(self, kind: str, where: str, why: str) -> None:
        super().__init__("cannot classify", where, why)
        self.kind = kind
