"""When a list of a server that does not say that it changes is to be read again: once it may be old, and is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from mcpcompose.upstream.base import ServerLists

SHORTEST: Final = 10.0
"""Seconds between two looks at one list, whatever the server says of its age."""


class Freshness:
    """Of the lists of one server, since they were all read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}

    def read(self) -> None:
        """They were read just now."""
        self._seen = dict.fromkeys(("tools", "prompts", "resources", "templates"), self._clock())

    def is_over(self, kind: str, lists: ServerLists) -> bool:
        """Whether to read a list again that somebody wants now; told once."""
        capability = "resources" if kind == "templates" else kind
        said = (lists.capabilities or {}).get(capability)
        if not isinstance(said, dict) or said.get("listChanged") is True:
            return False
        now = self._clock()
        if now - self._seen.get(kind, now) < max(_seconds(lists, kind), SHORTEST):
            return False
        self._seen[kind] = now
        return True


def _seconds(lists: ServerLists, kind: str) -> float:
    beside: dict[str, Any] = (lists.beside or {}).get(kind) or {}
    ttl = beside.get("ttlMs")
    return ttl / 1000 if isinstance(ttl, (int, float)) and not isinstance(ttl, bool) else 0.0
