"""The lock that a client application takes while it writes its own file, so that we take it too."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mcpcompose.errors import McpComposeError

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
        with _file(file, time.monotonic() + patience):
            yield


@contextmanager
def _folder(file: Path, until: float) -> Iterator[None]:
    lock = file.with_name(f"{file.name}.lock")
    while not _made(lock):
        if _is_abandoned(lock):
            with suppress(OSError):
                lock.rmdir()
                continue
        _wait(file, until)
    try:
        yield
    finally:
        with suppress(OSError):
            lock.rmdir()


def _made(lock: Path) -> bool:
    try:
        lock.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True


def _is_abandoned(lock: Path) -> bool:
    try:
        return time.time() - lock.lstat().st_mtime > _ABANDONED
    except OSError:
        return False


@contextmanager
def _file(file: Path, until: float) -> Iterator[None]:
    """Only a lock file that is there is taken: its owner makes it when it first writes."""
    try:
        descriptor = os.open(file.with_name(".mcp-writer.lock"), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        yield
        return
    try:
        while not _locked(descriptor):
            _wait(file, until)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait(file: Path, until: float) -> None:
    if time.monotonic() > until:
        raise ClientBusy(f"another program holds the lock of `{file}`", hint="close it, or try again")
    time.sleep(_LOOK_EVERY)
