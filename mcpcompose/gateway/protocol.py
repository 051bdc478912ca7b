"""
One HTTP connection of a client: uvicorn's httptools protocol, with bounds on everything a client may hold.

Who sends no request, half of one, or does not read its answer is cut off after a while; a second request before
the answer to the first (pipelining, which no client does) cuts the connection off at once. Heavy: imports uvicorn.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mcpcompose.gateway.serve import ON_DISCONNECT

_HEADER_BYTES: Final = 64 << 10
_HEADERS: Final = 200
_OVERHEAD: Final = 10
"""Bytes on the wire for one byte of a body: chunk sizes and trailers are no way around the bound of the head."""
_CONNECTIONS: Final = 2000
_RECEIVING: Final = 30.0
"""Seconds for a whole head, and between two pieces of a body."""
_STALLED: Final = 60.0
"""Seconds a client may leave its answer unread once the buffers are full."""

_log: Final = logging.getLogger(__name__)


class Protocol(HttpToolsProtocol):
    """One connection."""

    connections_limit: ClassVar[int] = _CONNECTIONS
    receiving_seconds: ClassVar[float] = _RECEIVING
    stalled_seconds: ClassVar[float | None] = _STALLED

    _raw_bytes = 0
    _body_bytes = 0
    _receiving = False
    _cut: asyncio.TimerHandle | None = None
    _stall: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse it when there are too many; a first request is due soon."""
        super().connection_made(transport)
        if len(self.connections) > self.connections_limit:
            _log.warning("more than %d connections: one is refused", self.connections_limit)
            transport.abort()
        else:
            self._set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that runs."""
        cycle: Any = self.cycle
        for timer in (self._cut, self._stall):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if cycle is not None and not cycle.response_complete:
            gone = cycle.scope.get(ON_DISCONNECT)
            if gone is not None:
                gone()

    def data_received(self, data: bytes) -> None:
        """More of a request; the time for the rest of it begins anew in a body, not in a head."""
        if self.transport.is_closing():
            return
        in_body = self._receiving and "path" in self.scope
        super().data_received(data)
        running: Any = self.cycle
        if self._receiving:
            self._raw_bytes += len(data)
            if self._raw_bytes > _HEADER_BYTES + _OVERHEAD * self._body_bytes:
                self._abort()
            elif in_body or self._cut is None:
                self._set_timer()
        elif (running is None or running.response_complete) and self.timeout_keep_alive_task is None:
            if self._cut is None:  # bytes that begin no request
                self._set_timer()
        elif self._cut is not None:
            self._cut.cancel()
            self._cut = None

    def on_message_begin(self) -> None:
        """A request begins."""
        self._raw_bytes = self._body_bytes = 0
        self._receiving = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to serve the request, unless another one is being served."""
        running: Any = self.cycle
        size = len(self.url) + sum([len(name) + len(value) for name, value in self.headers])
        if (
            size > _HEADER_BYTES
            or len(self.headers) > _HEADERS
            or (running is not None and not running.response_complete)
        ):
            self._abort()
        elif not self.transport.is_closing():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._receiving = False
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body_bytes += len(body)
        if not self.transport.is_closing():
            super().on_body(body)

    def pause_writing(self) -> None:
        """The buffers are full."""
        super().pause_writing()
        self._watch_reader(None)

    def resume_writing(self) -> None:
        """The client reads."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _watch_reader(self, before: int | None) -> None:
        """Cut off who took next to nothing since the last look."""
        if self.stalled_seconds is None or self.transport.is_closing():
            return
        unread = self.transport.get_write_buffer_size()
        if before is not None and before - unread < _HEADER_BYTES:
            self._abort()
        else:
            self._stall = self.loop.call_later(self.stalled_seconds, self._watch_reader, unread)

    def _set_timer(self) -> None:
        if self._cut is not None:
            self._cut.cancel()
        self._cut = self.loop.call_later(self.receiving_seconds, self._abort)

    def _abort(self) -> None:
        self.transport.abort()
