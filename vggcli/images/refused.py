"""Inputs that are known not to be readable before anybody tries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from vggcli.images.access import UnreadableError

if TYPE_CHECKING:
    from vggcli.images.attempt import Attempt


@dataclass(frozen=True, slots=True)
class Refused:
    """A reader that fails.

    Attributes:
        kind, why: see `UnreadableError`.
    """

    kind: str
    why: str
    is_stream = False

    def read(self, max_bytes: int, attempt: Attempt) -> bytes:
        """Raises UnreadableError."""
        attempt.begin()
        raise UnreadableError(self.kind, self.why)
