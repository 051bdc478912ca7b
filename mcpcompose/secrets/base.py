"""The seam of secret providers: each knows one place where a value may be; some can also be written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

from mcpcompose.errors import McpComposeError, UsageError

MAX_BYTES: Final = 1 << 20
"""The largest secret."""


@dataclass(frozen=True, slots=True)
class Absent:
    """
    The provider does not have it; *reason* for people, never with a value in it.

    *next_step* where another one helps than the provider's own.
    """

    reason: str
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a value was put, for people; *remark* is what they should know about that place."""

    where: str
    remark: str = ""


class Provider(Protocol):
    """One place where a secret's value may be."""

    @property
    def description(self) -> str:
        """What is asked, for people: "environment variable `X`"."""

    @property
    def next_step(self) -> str:
        """What a person does to make the value be there."""

    async def read(self) -> bytes | Absent:
        """The value as bytes, never empty; `Absent` when it cannot be had, for whatever reason."""


@runtime_checkable
class WritableProvider(Provider, Protocol):
    """One that `mcp-compose secret set` and `rm` may change."""

    async def write(self, value: bytes) -> Kept:
        """Keep *value*. Raises `McpComposeError`, never with the value in it."""

    async def remove(self) -> tuple[str, ...]:
        """Forget it; returns where it was, nowhere being fine. Raises `McpComposeError`."""


class StoreUnusable(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """A place that values are kept in cannot be used; the message says why."""


def checked(value: bytes) -> bytes:
    """*value* if it may be kept. Raises `UsageError` for an empty or too large one."""
    if not value:
        raise UsageError("the value is empty", hint="`mcp-compose secret rm NAME` removes one")
    if len(value) > MAX_BYTES:
        raise UsageError(f"the value is larger than {MAX_BYTES} bytes", hint="mount a file with `volumes`")
    return value
