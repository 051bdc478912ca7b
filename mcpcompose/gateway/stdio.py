"""
MCP over a unix socket, one connection per shim: newline-delimited JSON-RPC in both eras, over the same kernel.

The first line says who it is: `{"token": …}`, or `{"profile": …}` (the socket is this user's own).
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import time
from pathlib import Path
from typing import Any, Final

from mcpcompose.auth.tokens import DEFAULT_PROFILE, Tokens
from mcpcompose.gateway.envelope import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    Failure,
    Malformed,
    Notification,
    Request,
    RequestId,
    answer_bytes,
    message,
    notification_bytes,
    parse,
)
from mcpcompose.gateway.kernel import Caller, Forwarded, Kernel, initialized
from mcpcompose.gateway.listeners import Listener
from mcpcompose.gateway.modern import (
    acknowledgement,
    envelope_problem,
    honoured_kinds,
    kinds_of,
    listened,
    tagged_change,
)
from mcpcompose.gateway.serve import is_same_user, unix_socket
from mcpcompose.gateway.shim import shim
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.upstream.call import Call
from mcpcompose.upstream.wire import META_VERSION, MODERN_VERSIONS, encode

__all__ = ["StdioFront", "shim"]

LOCAL: Final = "(local)"
"""The client of a shim that names a profile and needs no token; no client of the file can be called so."""
_HELLO_SECONDS: Final = 10.0
_CONNECTIONS: Final = 200
LAST_WORDS: Final = 10.0
"""Seconds for what is in flight when a client has closed its side."""
_LOOK: Final = 0.2
_REQUESTS: Final = 1000
"""Requests of one connection at once."""


class StdioFront:
    """Listens for shims."""

    def __init__(self, kernel: Kernel, tokens: Tokens) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._limit = 16 << 20
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def configure(self, *, body_limit: int) -> None:
        """How long a line may be."""
        self._limit = body_limit

    async def start(self, path: Path) -> None:
        """Listen on *path*, which only this user can connect to."""
        self._server = await asyncio.start_unix_server(self._connected, sock=unix_socket(path), limit=self._limit)

    async def stop(self, drain: float = 5.0) -> None:
        """Take no more, let requests in flight end, close every connection."""
        if self._server is not None:
            self._server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=min(drain, 0.5))
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        try:
            if task is None or len(self._connections) >= _CONNECTIONS:
                return
            if not is_same_user(writer.get_extra_info("socket")):
                return
            self._connections.add(task)
            who = await self._hello(reader)
            if who is None:
                writer.write(answer_bytes(None, Failure(INVALID_REQUEST, "unknown token or profile")) + b"\n")
                return
            await _Conversation(self._kernel, self._tokens, *who, reader, writer).run()
        except (OSError, ValueError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # so `stop` ends it; asyncio's own callback would log a task that ends cancelled
        finally:
            if task is not None:
                self._connections.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _hello(self, reader: asyncio.StreamReader) -> tuple[str, str] | None:
        """The client and its profile."""
        try:
            async with asyncio.timeout(_HELLO_SECONDS):
                hello = parse(await reader.readline())
        except (Malformed, TimeoutError, ValueError):
            return None
        if not isinstance(hello, dict):
            return None
        token = hello.get("token")
        if isinstance(token, str):
            return self._tokens.check(token)
        profile = hello.get("profile") or DEFAULT_PROFILE
        known = isinstance(profile, str) and self._kernel.table.endpoint(profile) is not None
        return (LOCAL, profile) if known else None


class _Conversation:
    """One connection; it is the session of a handshake client."""

    def __init__(  # noqa: PLR0917  who, over what
        self,
        kernel: Kernel,
        tokens: Tokens,
        client: str,
        profile: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._client = client
        self._profile = profile
        self._reader = reader
        self._writer = writer
        self._version: str | None = None
        self._calls: dict[RequestId, Call | Listener] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """
        Until the client closes its side; what is still in flight then has `LAST_WORDS` seconds, if anybody listens.

        A client that the file binds to another profile meanwhile has to come again.
        """
        try:
            while line := await self._line():
                if self._client != LOCAL and not self._tokens.is_bound(self._client, self._profile):
                    return
                if not line.isspace():
                    await self._take(line)
            await self._last_words()
        finally:
            for call in tuple(self._calls.values()):
                call.close() if isinstance(call, Listener) else call.cancel("the client went away")
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _line(self) -> bytes:
        """The next line, empty at the end; one over the limit is skipped to its end, refused, and costs no other."""
        too_long = False
        while True:
            try:
                line = await self._reader.readuntil()
            except asyncio.IncompleteReadError as end:
                line = end.partial
            except asyncio.LimitOverrunError as error:
                await self._reader.readexactly(error.consumed)
                too_long = True
                continue
            if not too_long:
                return line
            too_long = False
            await self._write(answer_bytes(None, Failure(INVALID_REQUEST, "the message is larger than is read here")))

    async def _last_words(self) -> None:
        """`echo … | mcp-compose run --stdio` closes its side at once and still wants the answers."""
        end = time.monotonic() + LAST_WORDS
        while time.monotonic() < end and any(isinstance(call, Call) for call in self._calls.values()):
            if self._is_gone():
                return
            await asyncio.wait(self._tasks, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)

    def _is_gone(self) -> bool:
        """Whether the other side is closed as a whole, not only for writing."""
        socket = self._writer.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(socket.fileno(), 0)
        return bool(poll.poll(0))

    async def _take(self, line: bytes) -> None:
        try:
            read = message(parse(line))
        except Malformed as error:
            await self._write(answer_bytes(error.id, error.failure))
            return
        if isinstance(read, Notification):
            self._noticed(read)
        elif isinstance(read, Request):
            endpoint = self._kernel.table.endpoint(self._profile)
            if endpoint is None:
                await self._write(
                    answer_bytes(read.id, Failure(INVALID_REQUEST, f"there is no profile `{self._profile}` any more"))
                )
            else:
                await self._request(read, endpoint)

    async def _request(self, request: Request, endpoint: EndpointTable) -> None:
        if request.method == "initialize":
            first = self._version is None
            self._version, result = initialized(request.params, endpoint)
            await self._write(answer_bytes(request.id, result))
            if first:
                self._spawn(self._tell_changes())
            return
        meta = request.params.get("_meta")
        modern = isinstance(meta, dict) and META_VERSION in meta
        if modern or self._version is None:
            problem = envelope_problem(request, None)
            if problem is not None:
                await self._write(answer_bytes(request.id, problem))
                return
        version = MODERN_VERSIONS[-1] if modern else self._version or ""
        if request.id in self._calls or len(self._calls) >= _REQUESTS:
            await self._write(answer_bytes(request.id, Failure(INVALID_REQUEST, "its id is in use, or too many are")))
        elif modern and request.method == "subscriptions/listen":
            await self._listen(request, endpoint)
        else:
            caller = Caller(self._client, self._profile, None, version)
            outcome = self._kernel.begin(request, caller, endpoint)
            if isinstance(outcome, Forwarded):
                self._calls[request.id] = outcome.call
                self._spawn(self._forward(request.id, outcome))
            else:
                await self._write(answer_bytes(request.id, outcome))

    async def _forward(self, id_: RequestId, outcome: Forwarded) -> None:
        call = outcome.call
        try:
            while call.reply is None or call.notes:
                await call.news()
                for method, params in call.take_notes():
                    await self._write(notification_bytes(method, params))
            await self._write(answer_bytes(id_, outcome.shape(call.reply)))
        finally:
            self._calls.pop(id_, None)

    async def _listen(self, request: Request, endpoint: EndpointTable) -> None:
        honoured = honoured_kinds(request.params)
        if honoured is None:
            await self._write(answer_bytes(request.id, Failure(INVALID_PARAMS, "`notifications` is not an object")))
            return
        listener = Listener(endpoint.profile, None, kinds_of(honoured), self._client)
        self._kernel.listeners.add(listener)
        self._calls[request.id] = listener
        await self._write(acknowledgement(request, honoured))
        self._spawn(self._tell_subscriber(request, listener))

    async def _tell_subscriber(self, request: Request, listener: Listener) -> None:
        try:
            while not listener.closed:
                for kind in await listener.changes(60.0):
                    await self._write(tagged_change(request, kind))
            await self._write(answer_bytes(request.id, listened(request)))
        finally:
            self._kernel.listeners.remove(listener)
            self._calls.pop(request.id, None)

    async def _tell_changes(self) -> None:
        listener = Listener(self._profile, None, client=self._client)
        self._kernel.listeners.add(listener)
        try:
            while not listener.closed:
                for kind in await listener.changes(60.0):
                    await self._write(encode({"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}))
        finally:
            self._kernel.listeners.remove(listener)

    def _noticed(self, notification: Notification) -> None:
        if notification.method == "notifications/cancelled":
            id_ = notification.params.get("requestId")
            call = self._calls.get(id_) if isinstance(id_, (int, str)) else None
            if isinstance(call, Listener):
                call.close()
            elif call is not None:
                call.cancel()

    async def _write(self, line: bytes) -> None:
        """Bytes that came with line breaks lose them: outside of strings they mean nothing, inside there are none."""
        if b"\n" in line or b"\r" in line:
            line = line.replace(b"\n", b" ").replace(b"\r", b" ")
        self._writer.write(line + b"\n")
        await self._writer.drain()

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
