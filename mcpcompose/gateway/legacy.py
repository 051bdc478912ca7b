"""The handshake leg (2024-11-05 to 2025-11-25): `initialize` opens a session, everything else belongs to one."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from mcpcompose.gateway.envelope import (
    HEADER_MISMATCH,
    INVALID_REQUEST,
    Failure,
    Malformed,
    Notification,
    Request,
    Response,
    answer_bytes,
    message,
    notification_bytes,
    parse,
)
from mcpcompose.gateway.exchange import QUIET, deliver
from mcpcompose.gateway.kernel import Caller, Forwarded, Kernel, initialized
from mcpcompose.gateway.listeners import Listener
from mcpcompose.gateway.serve import ON_DISCONNECT
from mcpcompose.gateway.sessions import Session, Sessions
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.gateway.wire_http import (
    Refused,
    Visit,
    accepts,
    end_events,
    respond,
    send_event,
    send_ping,
    start_events,
)
from mcpcompose.upstream.headers import SESSION
from mcpcompose.upstream.wire import META_VERSION

_BATCHED: Final = frozenset({"2024-11-05", "2025-03-26"})
"""Revisions that allow several messages in one body."""
_LARGEST_BATCH: Final = 100
_CALLS: Final = 1000
"""Calls of one session at once; they go on when the client closes the connection."""


class LegacyLeg:
    """Serves POST, GET and DELETE of sessions."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.sessions = Sessions()

    async def post(self, visit: Visit, body: bytes) -> None:
        """Answer the message or the messages in *body*."""
        send = visit.send
        try:
            value = parse(body)
            read = None if isinstance(value, list) else message(value)
        except Malformed as error:
            await respond(send, 400, answer_bytes(error.id, error.failure))
            return
        if isinstance(read, Request) and read.method == "initialize":
            await self._initialize(visit, read)
            return
        session = self._session(visit, read)
        match read:
            case None:
                await self._batch(visit, value, session)
            case Request():
                await self._request(visit, read, session)
            case Notification():
                _noticed(session, read)
                await respond(send, 202)
            case Response():
                await respond(send, 202)

    async def get(self, visit: Visit) -> None:
        """The session's own stream; a new one takes the place of one that is still open."""
        send, endpoint = visit.send, visit.endpoint
        if not accepts(visit.headers)[1]:
            raise Refused(406, "this stream is text/event-stream")
        session = self._session(visit)
        if session.listener is not None:
            session.listener.close()
        listener = Listener(endpoint.profile, endpoint.server, client=visit.client)
        if not self._kernel.listeners.add(listener):
            raise Refused(503, "too many streams are open")
        session.listener = listener
        visit.scope[ON_DISCONNECT] = listener.close
        try:
            await start_events(send, ((SESSION.encode(), session.id.encode()),))
            await send_ping(send)
            while not listener.closed:
                changed = await listener.changes(QUIET)
                for kind in changed:
                    await send_event(send, notification_bytes(f"notifications/{kind}/list_changed", b""))
                if not changed and not listener.closed:
                    await send_ping(send)
            await end_events(send)
        finally:
            self._kernel.listeners.remove(listener)
            if session.listener is listener:
                session.listener = None

    async def delete(self, visit: Visit) -> None:
        """The client ends its session."""
        self.sessions.close(self._session(visit))
        await respond(visit.send, 200)

    def _session(self, visit: Visit, read: Any = None) -> Session:
        id_, endpoint = visit.headers.get(SESSION), visit.endpoint
        if id_ is None:
            raise NoSession(400, _without_session(read), read)
        session = self.sessions.get(id_, visit.client, endpoint.profile, endpoint.server)
        if session is None:
            raise NoSession(404, Failure(INVALID_REQUEST, "Session not found"), read)
        return session

    async def _initialize(self, visit: Visit, request: Request) -> None:
        send, endpoint = visit.send, visit.endpoint
        version, result = initialized(request.params, endpoint)
        session = self.sessions.open(visit.client, endpoint.profile, endpoint.server, version)
        if session is None:
            raise Refused(503, "too many sessions are busy")
        header = (SESSION.encode(), session.id.encode())
        content = answer_bytes(request.id, result)
        if accepts(visit.headers)[0]:
            await respond(send, 200, content, headers=(header,))
        else:
            await start_events(send, (header,))
            await send_event(send, content)
            await end_events(send)

    async def _request(self, visit: Visit, request: Request, session: Session) -> None:
        """A client that closes the connection does not cancel; a cancelled notification does."""
        send, taken = visit.send, accepts(visit.headers)
        if request.id in session.calls or len(session.calls) >= _CALLS:
            failure = Failure(INVALID_REQUEST, "its id is in use, or too many are")
            await respond(send, 200, answer_bytes(request.id, failure))
            return
        outcome = self._kernel.begin(request, _caller(session), visit.endpoint)
        if not isinstance(outcome, Forwarded):
            await deliver(send, request.id, outcome, modern=False, accepts=taken)
            return
        session.calls[request.id] = outcome.call
        try:
            await deliver(send, request.id, outcome, modern=False, accepts=taken)
        finally:
            session.calls.pop(request.id, None)

    async def _batch(self, visit: Visit, values: Any, session: Session) -> None:
        send, endpoint = visit.send, visit.endpoint
        if session.version not in _BATCHED or not values or len(values) > _LARGEST_BATCH:
            failure = Failure(INVALID_REQUEST, "the body is not one JSON-RPC message")
            await respond(send, 400, answer_bytes(None, failure))
            return
        answers = await asyncio.gather(*(self._one_of_batch(value, session, endpoint) for value in values))
        content = [answer for answer in answers if answer is not None]
        if content:
            await respond(send, 200, b"[" + b",".join(content) + b"]")
        else:
            await respond(send, 202)

    async def _one_of_batch(self, value: Any, session: Session, endpoint: EndpointTable) -> bytes | None:
        try:
            read = message(value)
        except Malformed as error:
            return answer_bytes(error.id, error.failure)
        if isinstance(read, Notification):
            _noticed(session, read)
        if not isinstance(read, Request):
            return None
        outcome = self._kernel.begin(read, _caller(session), endpoint)
        if isinstance(outcome, Forwarded):
            return answer_bytes(read.id, outcome.shape(await outcome.call.answer()))
        return answer_bytes(read.id, outcome)


class NoSession(Refused):
    """A message without a session, answered as JSON-RPC where it was a request."""

    def __init__(self, status: int, failure: Failure, read: Any) -> None:
        super().__init__(status, failure.message)
        self.body = answer_bytes(read.id if isinstance(read, Request) else None, failure)


def _without_session(read: Any) -> Failure:
    """A request of the modern era that lacks its version header gets that era's answer."""
    if isinstance(read, Request):
        meta = read.params.get("_meta")
        if isinstance(meta, dict) and META_VERSION in meta:
            return Failure(HEADER_MISMATCH, "the mcp-protocol-version header is missing")
    return Failure(INVALID_REQUEST, "Missing session ID")


def _caller(session: Session) -> Caller:
    return Caller(session.client, session.profile, session.server, session.version)


def _noticed(session: Session, notification: Notification) -> None:
    if notification.method == "notifications/cancelled":
        id_ = notification.params.get("requestId")
        call = session.calls.get(id_) if isinstance(id_, (int, str)) else None
        if call is not None:
            call.cancel()
