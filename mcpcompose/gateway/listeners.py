"""Those who wait to hear that a list changed: GET streams, `subscriptions/listen` streams, stdio connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from mcpcompose.gateway.compiler import RoutingTable
from mcpcompose.gateway.table import CHANGES

_MOST: Final = 2000
_OF_ONE: Final = 1500
"""Of one client; the rest is for others."""
ALL_KINDS: Final = frozenset(CHANGES)


@dataclass(eq=False, slots=True)
class Listener:
    """One who listens to one endpoint; what is not fetched yet is kept as a set, so a slow reader costs nothing."""

    profile: str
    server: str | None
    kinds: frozenset[str] = ALL_KINDS
    client: str = ""
    closed: bool = False
    _pending: set[str] = field(default_factory=set)
    _waiter: asyncio.Future[None] | None = None

    def tell(self, kind: str) -> None:
        """A list of this kind changed."""
        if kind in self.kinds:
            self._pending.add(kind)
            self._wake()

    def close(self) -> None:
        """Nobody listens any more, or the gateway ends."""
        self.closed = True
        self._wake()

    async def changes(self, seconds: float) -> list[str]:
        """The kinds that changed since the last look; nothing after *seconds*, or when closed."""
        if not self._pending and not self.closed:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        changed = sorted(self._pending)
        self._pending.clear()
        return changed

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Listeners:
    """Everybody who listens; bounded."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> bool:
        """Let *listener* hear of changes; False when there are too many already."""
        if len(self._listeners) >= _MOST or self._held[listener.client] >= _OF_ONE:
            return False
        self._held[listener.client] += 1
        self._listeners.add(listener)
        return True

    def remove(self, listener: Listener) -> None:
        """It hears no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._held[listener.client] -= 1
            if not self._held[listener.client]:
                del self._held[listener.client]

    def table_changed(self, before: RoutingTable, after: RoutingTable) -> None:
        """Tell those whose own lists are different now, and nobody else."""
        changed: dict[tuple[str, str | None], frozenset[str]] = {}
        for listener in self._listeners:
            key = (listener.profile, listener.server)
            if key not in changed:
                changed[key] = changed_kinds(before, after, *key)
            for kind in changed[key]:
                listener.tell(kind)

    def close(self) -> None:
        """The gateway ends: streams end in good order."""
        for listener in tuple(self._listeners):
            listener.close()


def changed_kinds(before: RoutingTable, after: RoutingTable, profile: str, server: str | None) -> frozenset[str]:
    """Which kinds of lists of an endpoint differ between two tables."""
    old, new = before.endpoint(profile, server), after.endpoint(profile, server)
    if old is None or new is None:
        return frozenset() if old is new else ALL_KINDS
    return frozenset(
        kind
        for kind, methods in CHANGES.items()
        if any(old.listed(method, modern=True) != new.listed(method, modern=True) for method in methods)
    )
