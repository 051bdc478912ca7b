"""How much slower than quiet a machine is just now: other work on it slows even processor time down."""

from __future__ import annotations

import time

YARDSTICK_MS = 2.4
"""Of `yardstick` on a quiet core of the machine that the bounds of tests are for."""


def slowness() -> float:
    """How much slower; at most four times."""
    return min(4.0, max(1.0, min(yardstick() for _ in range(5)) / YARDSTICK_MS))


def yardstick() -> float:
    """Milliseconds of processor time for a piece of Python whose cost is known."""
    since = time.thread_time()
    found: dict[int, int] = {}
    for number in range(20_000):
        found[number % 97] = found.get(number % 97, 0) + len(str(number))
    return (time.thread_time() - since) * 1000
