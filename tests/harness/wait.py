"""Wait on a condition with a bound; nothing here or in a scenario waits for time to pass."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

Value = TypeVar("Value")
SHORTEST, LONGEST = 0.02, 0.15
"""Seconds between two looks. They become fewer: many are commands, and take the processor from what they wait for."""

LOADED = 3.0
"""Seconds that a loaded machine may add to a limit. What does not heed the limit takes for ever."""


def until(condition: Callable[[], Value], what: str, bound: float = 30.0) -> Value:
    """The first true value of *condition*; fails after *bound* seconds, naming *what* and the last value."""
    end, pause = time.monotonic() + bound, SHORTEST
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {bound} s: {what} (last: {value!r})")
        time.sleep(pause)
        pause = min(pause * 1.25, LONGEST)
    return value


def until_ended(process: psutil.Process, bound: float = 30.0) -> None:
    """Wait until *process* has ended; not until its parent has looked, which in a container may be a slow first one."""

    def ended() -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(ended, f"process {process.pid} ends", bound)


async def until_async(condition: Callable[[], Value], what: str, bound: float = 30.0) -> Value:
    """As `until`, leaving the event loop to others."""
    return await asyncio.to_thread(until, condition, what, bound)
