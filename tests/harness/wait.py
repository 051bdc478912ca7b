"""Wait on a condition with a bound; nothing here or in a scenario waits for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def until(condition: Callable[[], Value], what: str, bound: float = 30.0) -> Value:
    """The first true value of *condition*; fails after *bound* seconds, naming *what* and the last value."""
    end = time.monotonic() + bound
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound} s: {what} (last: {value!r})")
        time.sleep(0.02)
    return value


async def until_async(condition: Callable[[], Value], what: str, bound: float = 30.0) -> Value:
    """As `until`, leaving the event loop to others."""
    return await asyncio.to_thread(until, condition, what, bound)
