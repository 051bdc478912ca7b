"""The stream of a handshake server that belongs to no exchange: there it says that its lists have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import httpx2

from mcpcompose.upstream.body import BodyTooLarge
from mcpcompose.upstream.events import Events, brings_events
from mcpcompose.upstream.wire import Message

_LONGEST_PAUSE: Final = 30.0


class OwnStream:
    """Listened to as long as `listen` runs, where the server has one; *broken* is told when it breaks off."""

    def __init__(
        self,
        client: httpx2.AsyncClient,
        url: str,
        headers: Callable[[], dict[str, str]],
        take: Callable[[Message], None],
        broken: Callable[[], None],
    ) -> None:
        self.is_open = False
        self._client = client
        self._url = url
        self._headers = headers
        self._take = take
        self._broken = broken

    async def listen(self, limit: int) -> None:
        """Take every message, each of at most *limit* bytes. Returns when the server has no such stream."""
        pause, events = 1.0, Events(limit)
        while True:
            headers = self._headers() | events.headers
            try:
                async with self._client.stream("GET", self._url, headers=headers) as response:
                    if brings_events(response):
                        self.is_open = True
                        async for message in events.messages(response):
                            self._take(message)
                        pause = events.retry / 1000
                    elif events.last_id is None:
                        return
                    if not (events.goes_on and brings_events(response)):
                        events.forget()
            except (httpx2.HTTPError, httpx2.StreamError, BodyTooLarge):
                self._broken()
                pause = min(pause * 2, _LONGEST_PAUSE)
            finally:
                self.is_open = False
            await asyncio.sleep(pause)
