"""Secrets that a program prints. It runs on the host, without a shell; running it needs a person's approval first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpcompose.secrets.base import MAX_BYTES, Absent
from mcpcompose.secrets.file import without_newline
from mcpcompose.secrets.program import NotRunError, run

TIME_LIMIT: Final = 30.0
"""How long the program may take, in seconds."""


@dataclass(frozen=True, slots=True)
class CommandProvider:
    """What *argv* prints on its standard output, without one trailing newline; its other output is dropped."""

    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(repr=False)
    directory: Path
    time_limit: float = TIME_LIMIT

    @property
    def description(self) -> str:
        """What is asked."""
        return f"command `{self.argv[0]}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return f"make `{' '.join(self.argv)}` print the value"

    async def read(self) -> bytes | Absent:
        """The value."""
        try:
            ran = await run(self.argv, self.environ, self.directory, time_limit=self.time_limit, most=MAX_BYTES)
        except NotRunError as error:
            return Absent(str(error))
        if ran.code:
            return Absent(f"exited with code {ran.code}")
        return without_newline(ran.output) or Absent("printed nothing")
