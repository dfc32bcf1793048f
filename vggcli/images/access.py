"""What may be reached for an input that is no plain file, and what it may cost."""

from __future__ import annotations

from dataclasses import dataclass

from vggcli.images.limits import DEFAULT_MAX_BYTES, DEFAULT_TIMEOUT


@dataclass(frozen=True, slots=True)
class Access:
    """How archives and addresses are read.

    Attributes:
        max_bytes: a larger object or member is refused.
        timeout: seconds that one object may take, all tries together.
        allow_private: let http(s) addresses lead into this machine and its network.
        keeps: what came as a stream is kept until its record is written, for whoever copies it.
    """

    max_bytes: int = DEFAULT_MAX_BYTES
    timeout: float = DEFAULT_TIMEOUT
    allow_private: bool = False
    keeps: bool = False


class UnreadableError(Exception):
    """An object or member that cannot be had.

    Args:
        kind: one of `vggcli.images.failures.KINDS`.
        why: the reason in plain words, without credentials.
    """

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(kind, why)
        self.kind, self.why = kind, why
