"""Secrets that a program prints. It runs on the host, without a shell; running it needs a person's approval first."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mcpcompose.secrets.base import Absent
from mcpcompose.secrets.file import MAX_BYTES, without_newline

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
            process = await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=DEVNULL,
                stdout=PIPE,
                stderr=DEVNULL,
                env=dict(self.environ),
                cwd=self.directory,
                start_new_session=True,
            )
        except OSError as error:
            return Absent(f"cannot be run: {(error.strerror or 'unknown error').lower()}")
        try:
            async with asyncio.timeout(self.time_limit):
                return await _outcome(process)
        except TimeoutError:
            return Absent(f"no answer within {self.time_limit:g} s")
        finally:
            await _end(process)


async def _outcome(process: Process) -> bytes | Absent:
    output = bytearray()
    assert process.stdout is not None  # noqa: S101  it was asked for
    while chunk := await process.stdout.read(1 << 16):
        output += chunk
        if len(output) > MAX_BYTES:
            return Absent(f"printed more than {MAX_BYTES} bytes")
    code = await process.wait()
    if code:
        return Absent(f"exited with code {code}")
    return without_newline(bytes(output)) or Absent("printed nothing")


async def _end(process: Process) -> None:
    """End the program and its group when it is still there; an agent that a finished one left is its own business."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
