"""
HTTP/1.1 on one connection: Node's parser, one request at a time, bounds on everything that a client may hold.

Who sends no request, half of one, or does not read its answer is cut off after a while; a second request before
the answer to the first (pipelining, which no client does) cuts the connection off at once. Trailers are dropped.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

import httptools

from mcpcompose.gateway.cycle import ON_DISCONNECT, App, Cycle, refusal
from mcpcompose.spec.limits import GatewayTimeouts, Limits, exceeded, size

_OVERHEAD: Final = 10
"""Bytes on the wire for one byte of a body: chunk sizes and trailers are no way around the bound of the head."""
_BUFFERED: Final = 64 << 10
"""Bytes of a body that wait for the application before no more is read."""
_TAKEN: Final = 64 << 10
"""Bytes that a client has to read in the time it has."""
_PERCENT, _QUERY, _FRAGMENT = b"%?#"
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}

_log: Final = logging.getLogger(__name__)


@dataclass(slots=True)
class Bounds:
    """What the clients of one socket may hold. Changed in place: it holds from then on for every connection."""

    connections: int = 2000
    head_bytes: int = 64 << 10
    headers: int = 200
    receiving: float = 30.0
    """Seconds for a whole head, and between two pieces of a body."""
    stalled: float | None = 60.0
    """Seconds that a client may leave its answer unread once the buffers are full."""
    keep_alive: float = 75.0
    """Seconds that a connection may be idle."""

    def follow(self, limits: Limits, timeouts: GatewayTimeouts) -> None:
        """What the file says, from now on."""
        self.connections = limits.connections
        self.head_bytes = limits.head
        self.headers = limits.headers
        self.receiving = timeouts.receive
        self.stalled = timeouts.stalled
        self.keep_alive = timeouts.keep_alive


@dataclass(eq=False, slots=True)
class Served:
    """What the connections of one socket have in common."""

    app: App
    bounds: Bounds
    connections: set[HttpProtocol] = field(default_factory=set)
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    transport: asyncio.Transport

    def __init__(self, served: Served, loop: asyncio.AbstractEventLoop) -> None:
        self.cycle: Cycle | None = None
        self.paused = False
        self._served = served
        self._bounds = served.bounds
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._receiving = False
        self._in_body = False
        self._chunk = 0
        self._raw_bytes = 0
        self._body_bytes = 0
        self._unread = False
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._stall: asyncio.TimerHandle | None = None
        self._drained: asyncio.Event | None = None

    # --- the connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it when there are too many; a first request is due soon."""
        self.transport = transport
        self._served.connections.add(self)
        most = self._bounds.connections
        if len(self._served.connections) > most:
            text = exceeded("too many connections are open", most, "gateway.limits.connections")
            _log.warning("a connection is refused: %s", text)
            self._refuse(503, text)
        else:
            self._expect_within(self._bounds.receiving)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Tell the request that runs."""
        self._served.connections.discard(self)
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        self._parser = None
        cycle, self.cycle = self.cycle, None
        if cycle is not None and not cycle.complete:
            cycle.disconnect()
            gone = cycle.scope.pop(ON_DISCONNECT, None)
            if gone is not None:
                gone()
        self._go_on()

    def data_received(self, data: bytes) -> None:
        """More of a request; the time for the rest of it begins anew in a body, not in a head."""
        if self.transport.is_closing():
            return
        in_body = self._in_body
        self._chunk = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # no other protocol is spoken here; what follows is no request
            self._receiving = False
            self.shutdown()
        except httptools.HttpParserError:
            self._refuse(400, "the request is not HTTP")
        if self._receiving:
            self._raw_bytes += self._chunk
            if self._raw_bytes > self._bounds.head_bytes + _OVERHEAD * self._body_bytes:
                self._refuse_head()
            elif self._due is None or (in_body and not self._answered):
                self._expect_within(self._bounds.receiving)

    def pause_writing(self) -> None:
        """The buffers are full."""
        self.paused = True
        if self._drained is None:
            self._drained = asyncio.Event()
        self._drained.clear()
        self._watch_reader(None)

    def resume_writing(self) -> None:
        """The client reads."""
        self._go_on()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def shutdown(self) -> None:
        """Close when the answer is out, or at once when nothing runs."""
        if self.cycle is None or self.cycle.complete:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    # --- for the request that runs ----------------------------------------------------------------------------------

    async def drained(self) -> None:
        """Wait until the client has read, or is gone."""
        if self._drained is not None:
            await self._drained.wait()

    def wanted(self) -> None:
        """More of the body is wanted."""
        if self._unread:
            self._unread = False
            self.transport.resume_reading()

    def answered(self) -> None:
        """The answer is complete; what is still to come of the request is read and dropped, for a while."""
        self.wanted()
        if self.cycle is not None and not self.cycle.keep_alive:
            self.transport.close()
        elif not self._receiving:
            self._expect_within(self._bounds.keep_alive)

    # --- the parser -------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url = b""
        self._headers = []
        self._in_body = False
        self._raw_bytes = self._body_bytes = 0
        self._receiving = True
        self._due = None

    def on_url(self, url: bytes) -> None:
        """A piece of its address."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer after the body goes nowhere."""
        self._headers.append((name.lower(), value.strip(b" \t")))  # blanks around it are no part of it (RFC 9110, 5.5)

    def on_headers_complete(self) -> None:
        """Begin to serve the request, unless another one is being served."""
        bounds = self._bounds
        if not self._answered:
            self.transport.abort()
        elif len(self._headers) > bounds.headers or self._is_large():
            self._refuse_head()
        elif not self.transport.is_closing():
            self._in_body = True
            self._begin()
            self._headers = []

    def _is_large(self) -> bool:
        most = self._bounds.head_bytes
        if self._raw_bytes + self._chunk <= most:  # with whatever came after it
            return False
        return len(self._url) + sum([len(name) + len(value) for name, value in self._headers]) > most

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        cycle = self.cycle
        if cycle is not None and not self.transport.is_closing():
            cycle.feed(body)
            if cycle.buffered > _BUFFERED and not self._unread:
                self._unread = True
                self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._receiving = self._in_body = False
        self._due = None
        if self.cycle is not None and not self.transport.is_closing():
            self.cycle.end()
            if self.cycle.complete:  # answered before it was read to its end
                self._expect_within(self._bounds.keep_alive)

    def _begin(self) -> None:
        url, parser = self._url, self._parser
        if url[:1] == b"/" and not (_PERCENT in url or _QUERY in url or _FRAGMENT in url):
            raw_path, query = url, b""
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path or b"", parsed.query or b""
        path = raw_path.decode("ascii")
        version = parser.get_http_version()
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": self._headers,
            "server": None,
            "client": None,
        }
        keep_alive = version != "1.0" and parser.should_keep_alive()
        cycle = self.cycle = Cycle(self, scope, keep_alive=keep_alive)
        task: asyncio.Task[None] = self._loop.create_task(self._served.app(scope, cycle.receive, cycle.send))
        self._served.tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, cycle))

    def _ended(self, task: asyncio.Task[None], cycle: Cycle) -> None:
        """What the application left open is closed."""
        self._served.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("a request failed", exc_info=error)
        if not cycle.complete and not cycle.disconnected:
            status, text = (503, "the gateway ends") if task.cancelled() else (500, "internal error of the gateway")
            self._refuse(status, text)

    # --- time, and what is refused ----------------------------------------------------------------------------------

    @property
    def _answered(self) -> bool:
        """No request is being served."""
        return self.cycle is None or self.cycle.complete

    def _refuse(self, status: int, message: str) -> None:
        """Answer what is no request that can be served, unless an answer is under way."""
        self._receiving = False
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.complete and self.cycle.started:
            self.transport.abort()
            return
        self.transport.write(refusal(status, message))
        self.transport.close()

    def _refuse_head(self) -> None:
        most, count = size(self._bounds.head_bytes), self._bounds.headers
        text = exceeded("the headers are too large", most, "gateway.limits.head")
        self._refuse(431, f"{text}; or there are too many: at most {count} (`gateway.limits.headers`)")

    def _go_on(self) -> None:
        self.paused = False
        if self._drained is not None:
            self._drained.set()

    def _watch_reader(self, before: int | None) -> None:
        """Cut off who took next to nothing since the last look."""
        seconds = self._bounds.stalled
        if seconds is None or self.transport.is_closing():
            return
        unread = self.transport.get_write_buffer_size()
        if before is not None and before - unread < _TAKEN:
            _log.info("a client did not read its answer for %g s (`gateway.timeouts.stalled`): cut off", seconds)
            self.transport.abort()
        else:
            self._stall = self._loop.call_later(seconds, self._watch_reader, unread)

    def _expect_within(self, seconds: float) -> None:
        """Cut off who has not sent what is due by then; a timer that stands earlier only looks and waits on."""
        self._due = due = self._loop.time() + seconds
        if self._timer is None or self._timer_due > due:
            self._wait_until(due)

    def _wait_until(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._due is None or self.transport.is_closing():
            return
        if self._due > self._loop.time():
            self._wait_until(self._due)
        elif self._receiving:
            seconds = self._bounds.receiving
            self._refuse(408, f"the request did not come within {seconds:g} s (`gateway.timeouts.receive`)")
        else:
            self.transport.close()
