"""
Locks between processes: of a file made for it, or of a folder whose files are replaced.

They are waited for no longer than is said, and end with their holder, however that ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mcpcompose.errors import McpComposeError

_LOOK_EVERY: Final = 0.02
_PATIENCE: Final = 30.0


class StillHeld(McpComposeError):  # noqa: N818  the name of the thing, not of the event
    """Another process does not let go of a lock."""


def lock(file: Path, patience: float, *, make: bool = True) -> int | None:
    """
    A descriptor that holds the lock *file* until it is closed; None when another has held it for *patience* seconds.

    Raises `OSError`; `FileNotFoundError` where there is no such file and none is to be made.
    """
    made = os.O_CREAT if make else 0
    return _held(os.open(file, os.O_RDWR | made | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), patience)


@contextmanager
def alone_in(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """
    Nobody else who asks so replaces a file of *folder* meanwhile; where there is no such lock, it is done without.

    Raises `StillHeld` after *patience* seconds. Not to be asked for again by who has it.
    """
    try:
        descriptor = _held(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), patience)
    except OSError:  # not there yet, not ours to open, or on a file system that locks no folders
        yield
        return
    if descriptor is None:
        raise StillHeld(f"another `mcp-compose` has been writing in `{folder}` for a while", hint="try again")
    try:
        yield
    finally:
        os.close(descriptor)


def _held(descriptor: int, patience: float) -> int | None:
    until = time.monotonic() + patience
    try:
        while not _locked(descriptor):
            if time.monotonic() > until:
                os.close(descriptor)
                return None
            time.sleep(_LOOK_EVERY)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
