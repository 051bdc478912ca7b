"""Secrets from the environment that `mcp-compose` is started in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mcpcompose.secrets.base import Absent


@dataclass(frozen=True, slots=True)
class EnvironmentProvider:
    """The variable *name* of *environ*."""

    name: str
    environ: Mapping[str, str] = field(repr=False)

    @property
    def description(self) -> str:
        """What is asked."""
        return f"environment variable `{self.name}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return f"set the environment variable `{self.name}`"

    async def read(self) -> bytes | Absent:
        """The value."""
        value = self.environ.get(self.name)
        if value is None:
            return Absent("not set")
        return value.encode("utf-8", "surrogateescape") if value else Absent("empty")
