"""The lock that a client application takes while it writes its own file, so that we take it too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mcpcompose.errors import McpComposeError
from mcpcompose.file_lock import lock

DIRECTORY: Final = "directory"
"""A folder `<file>.lock` that exists while somebody writes, as `proper-lockfile` makes it (Cline)."""
FILE: Final = "file"
"""A file `.mcp-writer.lock` beside it that is locked while somebody writes (Copilot CLI)."""

_PATIENCE: Final = 5.0
_LOOK_EVERY: Final = 0.02
_ABANDONED: Final = 15.0
"""Seconds; who holds a lock folder renews it every five."""


class ClientBusy(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """A client application that does not let go of its file."""


@contextmanager
def held(file: Path, convention: str | None, *, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold the client's own lock of *file* by *convention*: `DIRECTORY`, `FILE` or None. Raises `ClientBusy`."""
    if convention is None or not file.parent.is_dir():
        yield
    elif convention == DIRECTORY:
        with _folder(file, time.monotonic() + patience):
            yield
    else:
        with _file(file, patience):
            yield


@contextmanager
def _folder(file: Path, until: float) -> Iterator[None]:
    folder = file.with_name(f"{file.name}.lock")
    while not _made(folder):
        if _is_abandoned(folder):
            with suppress(OSError):
                folder.rmdir()
                continue
        if time.monotonic() > until:
            raise _busy(file)
        time.sleep(_LOOK_EVERY)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()


def _made(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _is_abandoned(folder: Path) -> bool:
    try:
        return time.time() - folder.lstat().st_mtime > _ABANDONED
    except OSError:
        return False


@contextmanager
def _file(file: Path, patience: float) -> Iterator[None]:
    """Only a lock file that is there is taken: its owner makes it when it first writes."""
    try:
        descriptor = lock(file.with_name(".mcp-writer.lock"), patience, make=False)
    except OSError:
        yield
        return
    if descriptor is None:
        raise _busy(file)
    try:
        yield
    finally:
        os.close(descriptor)


def _busy(file: Path) -> ClientBusy:
    return ClientBusy(f"another program holds the lock of `{file}`", hint="close it, or try again")
