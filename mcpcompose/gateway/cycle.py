"""One request and its answer on a connection, as an ASGI application sees them."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, Protocol

from mcpcompose.upstream.wire import encode

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Any]
"""An ASGI application."""

ON_DISCONNECT: Final = "mcpcompose.on_disconnect"
"""Where an application puts into its scope what is called when the client goes away, so that no task waits for it."""
_EXPECTED: Final = (b"expect", b"100-continue")
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in http.HTTPStatus}
_BODILESS: Final = frozenset({204, 304})
_JOINED: Final = 64 << 10
"""A body up to here goes out in one piece with its head."""


class Wire(Protocol):
    """The connection that a cycle is on."""

    transport: asyncio.Transport
    paused: bool

    async def drained(self) -> None:
        """Wait until the client has read, or is gone."""

    def wanted(self) -> None:
        """The application wants more of the body."""

    def answered(self) -> None:
        """The answer is complete."""


def refusal(status: int, message: str) -> bytes:
    """A whole answer to what is no request, after which the connection is closed."""
    body = encode({"error": message})
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return _STATUS[status] + b"\r\n" + head + body


class Cycle:
    """A request whose head is there. Bytes of its body come with `feed`; it ends with `answered` or `disconnected`."""

    __slots__ = (
        "_chunked",
        "_continued",
        "_head",
        "_left",
        "_more",
        "_parts",
        "_started",
        "_waiter",
        "_whole",
        "_wire",
        "buffered",
        "complete",
        "disconnected",
        "keep_alive",
        "scope",
    )

    def __init__(self, wire: Wire, scope: Scope, *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.complete = False
        self.disconnected = False
        self.buffered = 0
        self._wire = wire
        self._continued = False
        self._parts: list[bytes] = []
        self._more = True
        self._whole = False
        self._waiter: asyncio.Future[None] | None = None
        self._started = False
        self._head: bytes | None = None
        self._chunked = False
        self._left = 0

    # --- the request ------------------------------------------------------------------------------------------------

    def feed(self, body: bytes) -> None:
        """A piece of the body; of one that was answered already, nobody wants to know."""
        if not self.complete:
            self._parts.append(body)
            self.buffered += len(body)
            self._wake()

    def end(self) -> None:
        """The body is complete."""
        self._more = False
        self._whole = True
        self._wake()

    def disconnect(self) -> None:
        """The client is gone: nothing is sent any more, and who waits for the body is told."""
        self.disconnected = True
        self._wake()

    async def receive(self) -> Event:
        """ASGI's `receive`: what has come of the body since the last time; when that was all, the end of it all."""
        while not (self._parts or self._whole or self.disconnected or self.complete):
            if self._more:
                self._go_on()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._event()

    def _go_on(self) -> None:
        """More of the body is wanted: a client that waits to be told so is told once."""
        self._wire.wanted()
        if not self._continued:
            self._continued = True
            if not self._started and _EXPECTED in [(name, value.lower()) for name, value in self.scope["headers"]]:
                self._wire.transport.write(_CONTINUE)

    def _event(self) -> Event:
        if self.complete or self.disconnected:
            return {"type": "http.disconnect"}
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        self.buffered = 0
        self._whole = False
        if self._more:
            self._wire.wanted()
        return {"type": "http.request", "body": body, "more_body": self._more}

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # --- the answer -------------------------------------------------------------------------------------------------

    async def send(self, message: Event) -> None:
        """ASGI's `send`; waits while the client does not read. To a client that is gone nothing is sent."""
        if self._wire.paused and not self.disconnected:
            await self._wire.drained()
        if self.disconnected:
            return
        if self._started:
            if self.complete or message["type"] != "http.response.body":
                raise RuntimeError(f"`{message['type']}` after the answer")
            self._body(message.get("body", b""), more=message.get("more_body", False))
        elif message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        else:
            raise RuntimeError(f"`{message['type']}` before the answer")

    @property
    def started(self) -> bool:
        """Whether anything of the answer was sent."""
        return self._started

    def _start(self, status: int, headers: Any) -> None:
        self._started = True
        lines = [_STATUS.get(status) or b"HTTP/1.1 %d " % status]
        length: bytes | None = None
        closes = False
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"connection":
                closes = value.strip().lower() == b"close"
            lines.append(b"%b: %b" % (name, value))
        if closes:
            self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        if self.scope["method"] == "HEAD" or status in _BODILESS:
            self._left = -1
        elif length is None:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked")
        else:
            self._left = int(length)
        head = b"\r\n".join(lines)
        if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1:
            raise RuntimeError("a header with a line break")
        head += b"\r\n\r\n"
        if length is None:
            self._wire.transport.write(head)
        else:
            self._head = head  # its body follows at once

    def _body(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, None
        if self._chunked:
            content = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if not more:
                content += b"0\r\n\r\n"
            if content:
                self._wire.transport.write(content)
        else:
            self._plain(head, body, more=more)
        if not more:
            self.complete = True
            self._parts = []
            self.scope.pop(ON_DISCONNECT, None)  # it holds the call, and that its result
            self._wake()
            self._wire.answered()

    def _plain(self, head: bytes | None, body: bytes, *, more: bool) -> None:
        if self._left < 0:  # to HEAD, or with a status that has no body
            body = b""
        else:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("a body of another length than its head says")
        transport = self._wire.transport
        if head is None:
            transport.write(body)
        elif len(body) <= _JOINED:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)
