"""How others hear that an instance has ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Life(Protocol):
    """Whether an instance that is reached at a URL has ended: a connection to it may be silent about that for long."""

    @property
    def ended(self) -> bool:
        """It has."""

    def on_end(self, told: Callable[[str], None]) -> None:
        """Tell *told* when it ends, with a reason for people; at once when it has."""
