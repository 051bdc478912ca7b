"""When a server that ended is tried again, and how long after. Pure."""

from __future__ import annotations

from typing import Final

from mcpcompose.spec.server import Server

GIVEN_UP_AFTER: Final = 4
"""Failures in a row after which its tools are no longer listed."""
HEALTHY_AFTER: Final = 30.0
"""Seconds of service after which the next failure is the first again."""
SHORT: Final = 2.0
"""A server that comes back within this many seconds is waited for."""
_PAUSES: Final = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)


def tries_again(server: Server, reason: str) -> bool:
    """What `restart` says about an end for *reason*; a remote server is always tried again."""
    if server.is_remote:
        return True
    return server.restart in {"always", "unless-stopped"} or (
        server.restart == "on-failure" and not reason.endswith("code 0")
    )


def pause(failures: int) -> float:
    """Seconds to wait after so many failures in a row."""
    return _PAUSES[max(0, min(failures, len(_PAUSES)) - 1)]
