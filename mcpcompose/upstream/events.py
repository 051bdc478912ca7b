"""
The messages of a stream of events over HTTP, and how to go on with it on another connection (SEP-1699).

A handshake server may close the connection before the answer is there, when it gave an id to come back with.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import httpx2

from mcpcompose.upstream.body import BodyTooLarge, bounded
from mcpcompose.upstream.sse import EventParser
from mcpcompose.upstream.wire import Message, read_message

_KIND: Final = "text/event-stream"
_RETRY: Final = 1000
_SOONEST: Final = 100
"""Milliseconds to wait before going on, where the server does not say, and at least."""
_FRUITLESS: Final = 3
"""Connections in a row without a new event id after which the rest will not come."""
_MOST: Final = 1000
"""Connections for one stream."""


class Events:
    """One stream of a server, over one connection after the other."""

    def __init__(self, limit: int) -> None:
        self.last_id: str | None = None
        """The id of the last event; None when the stream cannot be gone on with."""
        self.retry = _RETRY
        """Milliseconds to wait before that."""
        self._limit = limit
        self._fruitless = 0
        self._connections = 0

    async def messages(self, response: httpx2.Response) -> AsyncIterator[Message]:
        """What comes over this connection. Raises `BodyTooLarge` for an event over the limit."""
        parser, before = EventParser(self._limit), self.last_id
        parser.last_id = before
        self._connections += 1
        self._fruitless += 1
        async for chunk in bounded(response, None):
            try:
                events = parser.feed(chunk)
            except ValueError as error:
                raise BodyTooLarge(str(error)) from error
            self.last_id = parser.last_id
            if parser.retry is not None:
                self.retry = max(parser.retry, _SOONEST)
            if self.last_id != before:
                self._fruitless = 0
            for event in events:
                message = read_message(event)
                if message is not None:
                    yield message

    @property
    def goes_on(self) -> bool:
        """Whether it makes sense to ask for the rest."""
        return self.last_id is not None and self._fruitless < _FRUITLESS and self._connections < _MOST

    @property
    def headers(self) -> dict[str, str]:
        """What asks for the rest, or for a new stream where there is none to go on with."""
        return {"accept": _KIND} | ({"last-event-id": self.last_id} if self.last_id is not None else {})

    def forget(self) -> None:
        """The server does not know the stream any more."""
        self.last_id = None


def brings_events(response: httpx2.Response) -> bool:
    """Whether an answer is a stream of events."""
    kind: str = response.headers.get("content-type", "")
    return response.is_success and kind.partition(";")[0].strip().lower() == _KIND
