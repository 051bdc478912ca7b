"""Health checks that an engine runs inside a container, and what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Health = Literal["starting", "healthy", "unhealthy"]
"""What a check says: `starting` until it has passed or failed often enough."""


@dataclass(frozen=True, slots=True)
class Check:
    """A health check that the engine runs inside the container; *test* begins with `CMD` or `CMD-SHELL`."""

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float | None = None
