"""One gateway per project: the lock it holds, and what is known of it from outside."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from mcpcompose.errors import GatewayRunning
from mcpcompose.paths import ProjectPaths

_A_MOMENT: Final = 0.5
_LOOK_EVERY: Final = 0.01


@contextmanager
def held(paths: ProjectPaths) -> Iterator[None]:
    """
    Hold the project's lock. Raises `GatewayRunning` when another process has it.

    The kernel lets go of it however the holder ends; the file itself is left, since removing it would
    let two processes hold "the" lock.
    """
    paths.make()
    descriptor = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _take(descriptor)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> None:
    """Lock it; somebody who only looks at it with `holder` shares it for a moment, and is waited for."""
    end = time.monotonic() + _A_MOMENT
    while not _locked(descriptor, fcntl.LOCK_EX):
        if not _locked(descriptor, fcntl.LOCK_SH) or time.monotonic() > end:
            raise GatewayRunning("the gateway of this project runs already", hint="see it with `mcp-compose ps`")
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(_LOOK_EVERY)


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(paths: ProjectPaths) -> int | None:
    """The process id of the running gateway; None when the lock is free."""
    try:
        descriptor = os.open(paths.lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(ValueError):
            return int(os.read(descriptor, 32))
        return 0
    finally:
        os.close(descriptor)
    return None
