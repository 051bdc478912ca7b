"""Those who hear what happens outside of calls: GET streams, `subscriptions/listen` streams, stdio connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from mcpcompose.gateway.compiler import RoutingTable
from mcpcompose.gateway.table import CHANGES, LISTS
from mcpcompose.spec.limits import Limits, exceeded
from mcpcompose.upstream.call import INTERNAL_ERROR, Ask, Note, failure

_OF_ONE: Final = 0.75
"""What of them one client may have; the rest is for others."""
_KEPT: Final = 256
"""Of what one listener has not fetched."""
_LONGEST: Final = 64 << 10
"""Bytes of a message that may push out another."""
ALL_KINDS: Final = frozenset(CHANGES)


@dataclass(eq=False, slots=True)
class Listener:
    """
    One who listens to one endpoint, outside of calls.

    What is not fetched yet is kept once for each list, so that a slow reader costs nothing; messages of servers are
    kept in order, and the oldest are lost when there are too many. Questions are kept while they fit.
    """

    profile: str
    server: str | None
    kinds: frozenset[str] = ALL_KINDS
    client: str = ""
    closed: bool = False
    _pending: dict[object, Note] = field(default_factory=dict)
    _waiter: asyncio.Future[None] | None = None

    def tell(self, kind: str) -> None:
        """A list of this kind changed."""
        if kind in self.kinds:
            self._keep(kind, (f"notifications/{kind}/list_changed", b""))

    def say(self, method: str, params: bytes, key: object = None) -> None:
        """Hand on a notification; of several with the same *key* the last one counts."""
        if len(self._pending) >= _KEPT:
            oldest = next((key for key, note in self._pending.items() if not isinstance(note, Ask)), None)
            if oldest is None or len(params) > _LONGEST:
                return
            del self._pending[oldest]
        self._keep(object() if key is None else key, (method, params))

    def ask(self, ask: Ask) -> bool:
        """Hand on a question; False when there are too many."""
        if self.closed or len(self._pending) >= _KEPT:
            return False
        self._keep(ask, ask)
        return True

    def close(self) -> None:
        """Nobody listens any more, or the gateway ends."""
        self.closed = True
        for note in self._pending.values():
            if isinstance(note, Ask):
                note.answer(failure(INTERNAL_ERROR, "the client went away"))
        self._wake()

    async def news(self, seconds: float) -> list[Note]:
        """What came since the last look; nothing after *seconds*, or when closed."""
        if not self._pending and not self.closed:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(seconds, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        notes = list(self._pending.values())
        self._pending.clear()
        return notes

    def _keep(self, key: object, note: Note) -> None:
        self._pending[key] = note
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Listeners:
    """Everybody who listens; bounded."""

    def __init__(self) -> None:
        self.most = Limits().streams
        self._listeners: set[Listener] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._listeners)

    def add(self, listener: Listener) -> bool:
        """Let *listener* hear of changes; False when there are too many already."""
        if len(self._listeners) >= self.most or self._held[listener.client] >= self.most * _OF_ONE:
            return False
        self._held[listener.client] += 1
        self._listeners.add(listener)
        return True

    @property
    def excuse(self) -> str:
        """Why there is no room for one more."""
        return exceeded("too many streams are open", self.most, "gateway.limits.streams")

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
        if any(old.entries[field] != new.entries[field] for field in (LISTS[method][0] for method in methods))
    )
