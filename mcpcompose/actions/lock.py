"""One gateway per project: the lock it holds, and what is known of it from outside."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mcpcompose.errors import GatewayRunning
from mcpcompose.paths import ProjectPaths


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
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GatewayRunning(
                "the gateway of this project runs already", hint="see it with `mcp-compose ps`"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)


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
