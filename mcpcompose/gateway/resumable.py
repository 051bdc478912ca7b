"""
A response of events that outlives its connection: the call goes on writing it, whoever is connected gets it.

Ids are `<stream>-<event>`. Transports of 2025-11-25, "Resumability and Redelivery"; SEP-1699.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, Protocol

from mcpcompose.gateway.serve import ON_DISCONNECT
from mcpcompose.gateway.wire_http import Scope, Send, end_events, send_event, send_ping, start_events

_RETRY: Final = 1000
"""Milliseconds a client should wait before it connects again, where the server does not say."""
EVENT: Final = 200
"""What an event costs beyond its bytes."""


class Keeper(Protocol):
    """Who bounds what streams keep."""

    primes: bool

    def kept(self, stream: Stream, size: int) -> None:
        """A stream keeps so many bytes more; it may have to drop others."""

    def ended(self, stream: Stream, *, unread: bool) -> None:
        """A stream has its last event; *unread*: nobody was there."""

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that nobody waits for."""


class Carrier:
    """
    One connection that a stream is sent over; *at* is the last event sent.

    *waits*: somebody waits for *over* and ends the response then.
    """

    __slots__ = ("at", "busy", "over", "send", "waits")

    def __init__(self, send: Send, at: int, *, waits: bool) -> None:
        self.send = send
        self.at = at
        self.waits = waits
        self.busy = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """It carries nothing any more."""
        if not self.over.done():
            self.over.set_result(None)


class Stream:
    """
    The events of one call, or of a session outside of calls.

    Its writer uses `event`, `ping`, `pause` and `last`, which wait while the client that is connected does not read,
    and never for one that is not there.
    """

    __slots__ = ("_carrier", "_keeper", "_kept", "_over", "floor", "newest", "number")

    def __init__(self, keeper: Keeper, number: int) -> None:
        self.number = number
        self.floor = 0
        """Events up to this one are gone."""
        self.newest = 0
        self._keeper = keeper
        self._kept: deque[bytes] = deque()
        self._carrier: Carrier | None = None
        self._over = False

    def __len__(self) -> int:
        return len(self._kept)

    # --- for its writer ---------------------------------------------------------------------------------------------

    async def start(self, send: Send, scope: Scope) -> None:
        """Begin to answer on this connection; a client that can is given an id to come back with."""
        await start_events(send)
        carrier = Carrier(send, 0, waits=False)
        scope[ON_DISCONNECT] = partial(self.leave, carrier)
        self._attach(carrier)
        if self._keeper.primes:
            await _put(send, self._frame(0, retry=_RETRY))

    async def event(self, message: bytes) -> None:
        """One message."""
        self._append(message)
        await self._carry()

    async def ping(self) -> None:
        """A sign of life for whoever is there."""
        carrier = self._carrier
        if carrier is not None and not carrier.busy:
            await send_ping(carrier.send)

    async def pause(self, retry: int) -> None:
        """Let a client that can come back for the rest in *retry* milliseconds."""
        carrier = self._carrier
        if carrier is None or carrier.busy or not self._keeper.primes:
            return
        self._carrier = None
        await _put(carrier.send, self._frame(carrier.at, retry=retry))
        await self._let_go(carrier)

    async def last(self, message: bytes) -> None:
        """The answer, after which the stream ends."""
        self._over = True
        self._append(message)
        self._keeper.ended(self, unread=self._carrier is None)
        await self._carry()

    def abandon(self) -> None:
        """Its writer writes no more, with an answer or without."""
        if self._over:
            return
        self._over = True
        carrier, self._carrier = self._carrier, None
        if carrier is not None:
            self._drop(carrier)
        self._keeper.ended(self, unread=True)

    # --- for a client that comes back -------------------------------------------------------------------------------

    async def follow(self, send: Send, scope: Scope, after: int, *headers: tuple[bytes, bytes]) -> None:
        """Send what came after the event *after* and what is still to come, in place of any other connection."""
        await start_events(send, headers)
        carrier = Carrier(send, after, waits=True)
        scope[ON_DISCONNECT] = partial(self.leave, carrier)
        self._attach(carrier)
        await self._carry()
        await carrier.over
        await end_events(send)

    async def join(self, send: Send, after: int | None, *headers: tuple[bytes, bytes]) -> Carrier:
        """Like `follow`, for the one who writes the stream and ends the response; None: from now on."""
        await start_events(send, headers)
        carrier = Carrier(send, self.newest if after is None else after, waits=True)
        self._attach(carrier)
        await self._carry()
        return carrier

    def leave(self, carrier: Carrier) -> None:
        """A connection that closes cancels nothing."""
        carrier.release()
        if self._carrier is carrier:
            self._carrier = None

    # --- inside -----------------------------------------------------------------------------------------------------

    def _attach(self, carrier: Carrier) -> None:
        before, self._carrier = self._carrier, carrier
        if before is not None:
            self._drop(before)

    def _drop(self, carrier: Carrier) -> None:
        """End a response without waiting for its client; one that is being written to is ended by who does that."""
        if carrier.waits or carrier.busy:
            carrier.release()
        else:
            self._keeper.later(self._let_go(carrier))

    async def _let_go(self, carrier: Carrier) -> None:
        if not carrier.over.done():
            carrier.release()
            if not carrier.waits:
                await end_events(carrier.send)

    async def _carry(self) -> None:
        """Send what the one who is connected has not got."""
        carrier = self._carrier
        if carrier is None or carrier.busy:
            return
        carrier.busy = True
        while carrier is self._carrier and max(carrier.at, self.floor) < self.newest:
            carrier.at = max(carrier.at, self.floor) + 1
            message = self._kept[carrier.at - self.floor - 1]
            await _put(carrier.send, self._frame(carrier.at, message))
        carrier.busy = False
        if carrier is not self._carrier:
            if not carrier.waits:
                await end_events(carrier.send)
        elif self._over:
            self._carrier = None
            self._keeper.ended(self, unread=False)
            await self._let_go(carrier)

    def _append(self, message: bytes) -> None:
        self.newest += 1
        self._kept.append(message)
        self._keeper.kept(self, len(message) + EVENT)

    def drop_oldest(self) -> int:
        """Forget one event; returns what it cost."""
        self.floor += 1
        return len(self._kept.popleft()) + EVENT

    def _frame(self, event: int, message: bytes | None = None, retry: int | None = None) -> bytes:
        """One event; without a message one that only says where to go on from."""
        if message is None:
            return b"id: %d-%d\r\nretry: %d\r\ndata: \r\n\r\n" % (self.number, event, retry or 0)
        if b"\n" in message or b"\r" in message:
            message = b"\r\ndata: ".join(message.splitlines())
        return b"event: message\r\nid: %d-%d\r\ndata: %b\r\n\r\n" % (self.number, event, message)


class Direct:
    """The same for one connection, which ends with it."""

    __slots__ = ("_send",)

    async def start(self, send: Send, _scope: Scope) -> None:
        """Begin to answer on this connection."""
        self._send = send
        await start_events(send)

    async def event(self, message: bytes) -> None:
        """One message."""
        await send_event(self._send, message)

    async def ping(self) -> None:
        """A sign of life."""
        await send_ping(self._send)

    async def pause(self, _retry: int) -> None:
        """Nobody could come back."""

    async def last(self, message: bytes) -> None:
        """The answer, after which the stream ends."""
        await send_event(self._send, message)
        await end_events(self._send)

    def abandon(self) -> None:
        """Nothing is left behind."""


async def _put(send: Send, frame: bytes) -> None:
    await send({"type": "http.response.body", "body": frame, "more_body": True})
