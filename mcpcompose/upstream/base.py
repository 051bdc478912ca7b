"""What is known of one upstream: its state, its lists, and the seam through which it is restarted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Literal, Protocol

from mcpcompose.engine.base import Endpoint
from mcpcompose.engine.check import Health

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
    IDLE = "idle"
    """Stopped because nobody used it; the next call starts it."""
    STOPPED = "stopped"
    """Stopped on purpose."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Something that a server offers and clients do not see: *kind* is `tool`, `server`, …; *why* is for people."""

    kind: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind} `{readable(self.name)}` ({self.why})" if self.name else f"{self.kind} ({self.why})"


Level = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    A sign in a definition that it wants something else than to be read: *code* is stable, *reason* is for people.

    *kind* and *name* say whose definition, *place* where in it.
    """

    code: str
    level: Level
    kind: str
    name: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.code} ({self.level}): {readable(self.reason)}"


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
    title: str | None = None
    """What the file says that people call it."""
    health: Health | None = None
    """What its health check says; None when there is none."""
    withheld: tuple[Withheld, ...] = ()
    """What it offers that was not accepted: the lock does not hold it, or it is another one than at first sight."""
    accept: str | None = None
    """The command that accepts what is withheld."""
    findings: tuple[Finding, ...] = ()
    """Signs of poisoning in what it offers, withheld or not."""


@dataclass(frozen=True, slots=True)
class ServerLists:
    """
    Everything a server offers, as parsed JSON objects with the server's own names and unknown fields kept.

    *info* is its `serverInfo`, *capabilities* its own. *beside* has what else stood in the results the lists came in
    (`ttlMs`, `cacheScope`, `_meta`, and what nobody knows), by our field; None when that may be true no longer.
    *closed* are templates whose resources nobody may read, as they were not accepted. *is_remembered* says that a
    server like it said this before, and it has not said anything yet.
    """

    tools: tuple[dict[str, Any], ...] = ()
    prompts: tuple[dict[str, Any], ...] = ()
    resources: tuple[dict[str, Any], ...] = ()
    templates: tuple[dict[str, Any], ...] = ()
    instructions: str | None = None
    info: dict[str, Any] | None = None
    capabilities: dict[str, Any] | None = None
    beside: dict[str, dict[str, Any]] | None = None
    closed: tuple[str, ...] = ()
    is_remembered: bool = False


def readable(text: str) -> str:
    """What a server said, fit for a terminal: one line, no control or invisible characters, not too long."""
    return "".join(
        c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text[:_LONGEST]
    )


class Instances(Protocol):
    """What the supervisor asks of whoever runs instances. All raise `McpComposeError`."""

    async def start_copy(self, server: str) -> tuple[str, Endpoint]:
        """Start a further instance of *server*, and name it."""

    async def stop_copy(self, server: str, copy: str) -> None:
        """Stop and remove a further instance; what is gone is success."""

    async def rest(self, server: str) -> None:
        """Stop the instance because nobody uses it; that is as it should be until it is restarted."""


Restart = Callable[[str], Awaitable[Endpoint]]
"""Start a server's instance again in place and hand over its endpoint; raises `McpComposeError`."""
