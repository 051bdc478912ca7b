"""
The end of a batch: everything that one piece of a server's output brought was handed on.

Who gathers what the messages of a batch have in common is told here, in the same turn of the event loop: waiting for
the next one would cost every answer that much time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_waiting: Final[set[Callable[[], None]]] = set()


def after_batch(act: Callable[[], None]) -> None:
    """Call *act* when the batch that is under way, or the next one, is over; it must not mind being called late."""
    _waiting.add(act)


def batch_is_over() -> None:
    """Call who waits for it."""
    if _waiting:
        acts = tuple(_waiting)
        _waiting.clear()
        for act in acts:
            act()
