"""What is known of one upstream: its state, its lists, and the seam through which it is restarted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from mcpcompose.engine.base import Endpoint

_LONGEST: Final = 600


class Era(StrEnum):
    """Which protocol revisions a server speaks."""

    LEGACY = "legacy"
    """The `initialize` handshake, 2024-11-05 to 2025-11-25."""
    MODERN = "modern"
    """Stateless, 2026-07-28."""


class State(StrEnum):
    """How a server is doing, in one word for `ps`."""

    WAITING = "waiting"
    """Declared, not started yet."""
    STARTING = "starting"
    """Its instance is being made, or its handshake is under way."""
    READY = "ready"
    FAILED = "failed"
    """It does not serve; `reason` says why, and it may be tried again."""
    STOPPED = "stopped"
    """Stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Status:
    """One server's state as `ps` shows it."""

    server: str
    state: State
    reason: str | None = None
    era: Era | None = None
    version: str | None = None
    """The protocol revision that was negotiated."""
    tools: int = 0
    restarts: int = 0
    since: float = 0.0
    """When it entered this state, in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class ServerLists:
    """
    Everything a server offers, as parsed JSON objects with the server's own names and unknown fields kept.

    *info* is its `serverInfo`, *capabilities* its own.
    """

    tools: tuple[dict[str, Any], ...] = ()
    prompts: tuple[dict[str, Any], ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    templates: tuple[dict[str, Any], ...] = ()
    instructions: str | None = None
    info: dict[str, Any] | None = None
    capabilities: dict[str, Any] | None = None


def readable(text: str) -> str:
    """What a server said, fit for a terminal: one line, no control or invisible characters, not too long."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text[:_LONGEST]
    )


Restart = Callable[[str], Awaitable[Endpoint]]
"""Start a server's instance again in place and hand over its endpoint; raises `McpComposeError`."""
