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
_SETTLE: Final = 0.05
_SLOWER: Final = 1.5
_RAREST: Final = 5.0
_CALM: Final = 10.0
"""Seconds without a `list_changed` after which the next is heard at once again."""
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


class Looks:
    """
    How long to wait before the lists are read again after a `list_changed`, so that several become one look.

    Short at first; longer and longer for a server that says so without end.
    """

    def __init__(self) -> None:
        self._pause = _SETTLE
        self._last = float("-inf")

    def pause(self, now: float) -> float:
        """Seconds to wait before the look that is due now."""
        self._pause = _SETTLE if now - self._last > _CALM else min(self._pause * _SLOWER, _RAREST)
        self._last = now
        return self._pause
