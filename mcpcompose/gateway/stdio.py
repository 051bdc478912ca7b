"""
MCP over a unix socket, one connection per shim: newline-delimited JSON-RPC in both eras, over the same kernel.

The first line says who it is: `{"token": …}`, or `{"profile": …}` (the socket is this user's own).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mcpcompose.auth.tokens import DEFAULT_PROFILE, Tokens
from mcpcompose.gateway.asks import OpenAsks
from mcpcompose.gateway.envelope import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    Failure,
    Malformed,
    Notification,
    Request,
    RequestId,
    Response,
    answer_bytes,
    message,
    parse,
)
from mcpcompose.gateway.exchange import next_notes, note_bytes
from mcpcompose.gateway.kernel import Caller, Forwarded, Kernel, handshake_caller, initialized, leveled, modern_caller
from mcpcompose.gateway.legacy import introduced, outside, unfit
from mcpcompose.gateway.lines import Lines
from mcpcompose.gateway.listeners import Listener
from mcpcompose.gateway.modern import (
    acknowledgement,
    envelope_of,
    envelope_problem,
    kinds_of,
    listened,
    tagged,
)
from mcpcompose.gateway.serve import is_same_user, unix_socket
from mcpcompose.gateway.shim import shim
from mcpcompose.gateway.subscribers import Holder
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.spec.limits import exceeded
from mcpcompose.spec.project import Gateway
from mcpcompose.upstream.call import METHOD_NOT_FOUND, Ask, Call, Origin, failure
from mcpcompose.upstream.levels import SET_LEVEL
from mcpcompose.upstream.wire import META_VERSION, MODERN_VERSIONS

__all__ = ["StdioFront", "shim"]

LOCAL: Final = "(local)"
"""The client of a shim that names a profile and needs no token; no client of the file can be called so."""
_HELLO_SECONDS: Final = 10.0
_SHARE: Final = 10
"""One connection here for so many over HTTP."""
LAST_WORDS: Final = 10.0
"""Seconds for what is in flight when a client has closed its side."""
_LOOK: Final = 0.2


class StdioFront:
    """Listens for shims."""

    def __init__(self, kernel: Kernel, tokens: Tokens) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._gateway = Gateway()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def configure(self, gateway: Gateway) -> None:
        """How long a line may be, and how many may connect; for clients that are here already too."""
        self._gateway = gateway

    async def start(self, path: Path) -> None:
        """Listen on *path*, which only this user can connect to."""
        self._server = await asyncio.start_unix_server(
            self._connected, sock=unix_socket(path), limit=self._gateway.limits.body
        )

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
            most = max(1, self._gateway.limits.connections // _SHARE)
            if task is None or len(self._connections) >= most:
                text = exceeded("too many connections are open", most, "gateway.limits.connections")
                writer.write(answer_bytes(None, Failure(INVALID_REQUEST, text)) + b"\n")
                return
            if not is_same_user(writer.get_extra_info("socket")):
                return
            self._connections.add(task)
            who = await self._hello(reader)
            if who is None:
                writer.write(answer_bytes(None, Failure(INVALID_REQUEST, "unknown token or profile")) + b"\n")
                return
            await _Conversation(self._kernel, self._tokens, *who, reader, writer, lambda: self._gateway).run()
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
        gateway: Callable[[], Gateway],
    ) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._gateway = gateway
        self._client = client
        self._profile = profile
        self._lines = Lines(reader, writer, gateway)
        self._id = f"stdio-{secrets.token_hex(8)}"
        self._caller: Caller | None = None
        self._asks = OpenAsks({})
        self._listener: Listener | None = None
        self._calls: dict[RequestId, Call | Listener] = {}
        self._parked: set[Call] = set()
        """Calls that may wait for this client to come back with answers."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """
        Until the client closes its side; what is still in flight then has `LAST_WORDS` seconds, if anybody listens.

        A client that the file binds to another profile meanwhile has to come again.
        """
        try:
            while line := await self._lines.read():
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
            self._asks.close()
            self._kernel.rounds.parked.left(self._parked)
            self._kernel.peers.remove(self._id)

    def _end_session(self) -> None:
        """What servers know of this client is over, and so is what they ask it."""
        for call in tuple(self._calls.values()):
            call.close() if isinstance(call, Listener) else call.cancel("the session ended")
        self._asks.close()
        self._kernel.peers.remove(self._id)
        self._id = f"stdio-{secrets.token_hex(8)}"

    async def _last_words(self) -> None:
        """`echo … | mcp-compose run --stdio` closes its side at once and still wants the answers."""
        end = time.monotonic() + LAST_WORDS
        while time.monotonic() < end and any(isinstance(call, Call) for call in self._calls.values()):
            if self._lines.is_gone:
                return
            await asyncio.wait(self._tasks, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)

    async def _take(self, line: bytes) -> None:
        try:
            read = message(parse(line))
        except Malformed as error:
            await self._lines.write(answer_bytes(error.id, error.failure))
            return
        if isinstance(read, Notification):
            self._noticed(read)
        elif isinstance(read, Response):
            self._asks.answered(read)
        else:
            endpoint = self._kernel.table.endpoint(self._profile)
            if endpoint is None:
                await self._lines.write(
                    answer_bytes(read.id, Failure(INVALID_REQUEST, f"there is no profile `{self._profile}` any more"))
                )
            else:
                await self._request(read, endpoint)

    async def _request(self, request: Request, endpoint: EndpointTable) -> None:
        if request.method == "initialize":
            first = self._caller is None
            if not first:
                self._end_session()
            version, result = initialized(request.params, endpoint)
            capabilities, info = introduced(request.params)
            origin = Origin(self._client, self._id, capabilities=capabilities, info=info)
            self._caller = handshake_caller(origin, self._profile, None, version)
            self._asks = OpenAsks(capabilities)
            await self._lines.write(answer_bytes(request.id, result))
            self._kernel.peers.add(self._id, self)
            if first:
                self._spawn(self._tell_changes())
            return
        meta = request.params.get("_meta")
        modern = isinstance(meta, dict) and META_VERSION in meta
        caller = None if modern else self._caller
        if caller is None:
            problem = envelope_problem(request, None)
            if problem is not None:
                await self._lines.write(answer_bytes(request.id, problem))
                return
            version = MODERN_VERSIONS[-1]
            caller = modern_caller(self._client, self._profile, None, version, request.params["_meta"], None)
        most = self._gateway().limits.calls
        if request.id in self._calls or len(self._calls) >= most:
            await self._lines.write(answer_bytes(request.id, unfit(request, self._calls, most)))
        elif modern and request.method == "subscriptions/listen":
            await self._listen(request, endpoint)
        else:
            if request.method == SET_LEVEL and self._caller is caller:
                self._caller = caller = leveled(caller, request.params)
            outcome = self._kernel.begin(request, caller, endpoint)
            if isinstance(outcome, Forwarded):
                self._calls[request.id] = outcome.call
                self._spawn(self._forward(request.id, outcome))
            else:
                await self._lines.write(answer_bytes(request.id, outcome))

    async def _forward(self, id_: RequestId, outcome: Forwarded) -> None:
        asks = None if outcome.modern else self._asks
        answer = None
        try:
            while answer is None:
                notes, answer = await next_notes(outcome, None)
                for note in notes:
                    content = note_bytes(note, outcome, asks)
                    if content is not None:
                        await self._lines.write(content)
            self._parked = {call for call in self._parked if call.reply is None}
            if outcome.call.reply is None:
                self._parked.add(outcome.call)
            await self._lines.write(answer_bytes(id_, answer))
        finally:
            self._calls.pop(id_, None)

    async def _listen(self, request: Request, endpoint: EndpointTable) -> None:
        wanted = request.params.get("notifications")
        if not isinstance(wanted, dict):
            await self._lines.write(
                answer_bytes(request.id, Failure(INVALID_PARAMS, "`notifications` is not an object"))
            )
            return
        listener = Listener(endpoint.profile, None, kinds_of(wanted), self._client)
        if not self._kernel.listeners.add(listener):
            text = self._kernel.listeners.excuse
            await self._lines.write(answer_bytes(request.id, Failure(INTERNAL_ERROR, text)))
            return
        self._calls[request.id] = listener
        self._spawn(self._tell_subscriber(request, listener, wanted, endpoint))

    async def _tell_subscriber(
        self, request: Request, listener: Listener, wanted: dict[str, Any], endpoint: EndpointTable
    ) -> None:
        subscribers, holder = self._kernel.others.subscribers, Holder(self._client, listener.say)
        try:
            honoured = await subscribers.honour(holder, wanted, endpoint, envelope_of(request.params))
            await self._lines.write(acknowledgement(request, honoured))
            while not listener.closed:
                for note in await listener.news(60.0):
                    if not isinstance(note, Ask):
                        await self._lines.write(tagged(request, *note))
            await self._lines.write(answer_bytes(request.id, listened(request)))
        finally:
            self._kernel.listeners.remove(listener)
            subscribers.drop(holder)
            self._calls.pop(request.id, None)

    async def _tell_changes(self) -> None:
        self._listener = listener = Listener(self._profile, None, client=self._client)
        self._kernel.listeners.add(listener)
        self._kernel.hears(self._id)
        try:
            while not listener.closed:
                for note in await listener.news(60.0):
                    content = outside(note, self._kernel.table.endpoint(self._profile), self._asks, listener)
                    if content is not None:
                        await self._lines.write(content)
        finally:
            self._kernel.listeners.remove(listener)

    # --- as a peer: what servers say to this client outside of its calls ---------------------------------------------

    def said(self, method: str, params: bytes) -> None:
        """A notification of a server."""
        if self._listener is not None:
            self._listener.say(method, params)

    def asked(self, ask: Ask) -> None:
        """A question of a server."""
        if self._listener is None or not self._listener.ask(ask):
            ask.answer(failure(METHOD_NOT_FOUND, "the client does not listen"))

    @property
    def level(self) -> str | None:
        """The least severe log messages it wants."""
        return self._caller.origin.level if self._caller is not None else None

    @property
    def listens(self) -> bool:
        """It always does."""
        return True

    def _noticed(self, notification: Notification) -> None:
        if notification.method == "notifications/cancelled":
            id_ = notification.params.get("requestId")
            call = self._calls.get(id_) if isinstance(id_, (int, str)) else None
            if isinstance(call, Listener):
                call.close()
            elif call is not None:
                call.cancel()
        elif self._caller is not None and (endpoint := self._kernel.table.endpoint(self._profile)) is not None:
            self._kernel.others.noticed(notification.method, notification.params, self._caller, endpoint, self._asks)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
