"""Secrets from files on this machine."""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mcpcompose.secrets.base import MAX_BYTES, Absent


@dataclass(frozen=True, slots=True)
class FileProvider:
    """The content of *path*, without one trailing newline."""

    path: Path

    @property
    def description(self) -> str:
        """What is asked."""
        return f"file `{self.path}`"

    @property
    def next_step(self) -> str:
        """What a person does."""
        return f"write the value to `{self.path}`"

    async def read(self) -> bytes | Absent:
        """The value."""
        content = await asyncio.to_thread(read_regular_file, self.path)
        if isinstance(content, Absent):
            return content
        return without_newline(content) or Absent("empty")


def read_regular_file(path: Path) -> bytes | Absent:
    """The whole of a regular file of at most `MAX_BYTES`; a pipe or device is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return Absent("not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(MAX_BYTES + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        return Absent((error.strerror or "unreadable").lower())
    return content if len(content) <= MAX_BYTES else Absent(f"larger than {MAX_BYTES} bytes")


def without_newline(content: bytes) -> bytes:
    """*content* without one trailing newline."""
    for ending in (b"\r\n", b"\n"):
        if content.endswith(ending):
            return content.removesuffix(ending)
    return content
