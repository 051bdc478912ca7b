"""
Log messages of servers: how severe they are, who wants which, whose they are on a stream that many share.

Restated from the specification (server/utilities/logging); a drift test compares the levels with the SDK.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from mcpcompose.upstream.base import Era

if TYPE_CHECKING:
    from mcpcompose.upstream.call import Call, Origin

MESSAGE: Final = "notifications/message"
SET_LEVEL: Final = "logging/setLevel"
LEVELS: Final = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""From the least to the most severe."""
_RANK: Final = {level: rank for rank, level in enumerate(LEVELS)}
_MOST: Final = 1000


class _Said(msgspec.Struct, gc=False):
    """The one member of a log message that we read."""

    level: str | None = None


_read: Final = msgspec.json.Decoder(_Said).decode


def wants(origin: Origin | None, params: bytes) -> bool:
    """
    Whether the client wants this message.

    A modern one wants those it asked for with the request. A handshake one that set no level leaves it to the server.
    """
    if origin is None:
        return False
    return not origin.modern if origin.level is None else is_severe(params, origin.level)


def is_severe(params: bytes, least: str) -> bool:
    """Whether a message is at least so severe; one of an unknown level is."""
    try:
        level = _read(params).level
    except (msgspec.MsgspecError, RecursionError):
        return False
    return _RANK.get(level or "", len(LEVELS)) >= _RANK.get(least, 0)


def concerned(calls: Iterable[Call], era: Era, *, own: bool) -> Call | None:
    """
    The call that a message on a shared stream belongs to; None when that is not certain.

    A modern server speaks for requests that asked for it only. A handshake one for any: with calls of several
    clients at work nobody can tell. *own* says that there is one client only.
    """
    ours = [call for call in calls if call.origin is not None]
    if own:
        return ours[-1] if ours else None
    if era is Era.MODERN:
        ours = [call for call in ours if call.origin is not None and call.origin.level is not None]
    return ours[0] if len(ours) == 1 else None


class Loudest:
    """The least severe level that anybody wants of one server, by who wants it."""

    def __init__(self) -> None:
        self._wanted: dict[str, str] = {}

    @property
    def level(self) -> str | None:
        """None when nobody said anything."""
        return min(self._wanted.values(), key=lambda level: _RANK[level], default=None)

    def wants(self, who: str, level: str | None) -> bool:
        """Remember what *who* wants, None for nothing any more; whether that changes anything."""
        before = self.level
        self._wanted.pop(who, None)
        if level in _RANK and level is not None:
            self._wanted[who] = level
            if len(self._wanted) > _MOST:
                del self._wanted[next(iter(self._wanted))]
        return self.level is not None and self.level != before
