"""Events of an engine that lives in this process, told to everybody who follows an owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from mcpcompose.engine.base import EngineEvent
from mcpcompose.engine.ownership import owner_of
from mcpcompose.spec.identity import Owner


class Feed:
    """Who follows which owner's instances."""

    def __init__(self) -> None:
        self._followers: list[tuple[Owner, asyncio.Queue[EngineEvent]]] = []

    def publish(self, labels: Mapping[str, str], event: EngineEvent) -> None:
        """Tell everybody who follows the owner in *labels*."""
        owner = owner_of(labels)
        for wanted, queue in self._followers:
            if wanted == owner:
                queue.put_nowait(event)

    async def follow(self, owner: Owner) -> AsyncIterator[EngineEvent]:
        """What happens to *owner*'s instances from now on."""
        queue: asyncio.Queue[EngineEvent] = asyncio.Queue()
        entry = (owner, queue)
        self._followers.append(entry)
        try:
            while True:
                yield await queue.get()
        finally:
            self._followers.remove(entry)
