"""The handshake leg (2024-11-05 to 2025-11-25): `initialize` opens a session, everything else belongs to one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from mcpcompose.gateway.asks import OpenAsks, with_title
from mcpcompose.gateway.envelope import (
    HEADER_MISMATCH,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    Failure,
    Malformed,
    Notification,
    Request,
    RequestId,
    Response,
    answer_bytes,
    message,
    notification_bytes,
    parse,
)
from mcpcompose.gateway.eventlog import OWN, Position
from mcpcompose.gateway.exchange import deliver
from mcpcompose.gateway.kernel import Forwarded, Kernel, initialized, leveled
from mcpcompose.gateway.listeners import Listener
from mcpcompose.gateway.serve import ON_DISCONNECT
from mcpcompose.gateway.sessions import Session, Sessions
from mcpcompose.gateway.table import CHANGES, EndpointTable
from mcpcompose.gateway.wire_http import (
    Refused,
    Visit,
    accepts,
    end_events,
    respond,
    send_event,
    start_events,
)
from mcpcompose.spec.limits import exceeded
from mcpcompose.upstream.call import QUIET, Ask, Note
from mcpcompose.upstream.headers import METHOD, NAME, NAMED, SESSION, decode_value
from mcpcompose.upstream.levels import SET_LEVEL
from mcpcompose.upstream.wire import META_VERSION

_BATCHED: Final = frozenset({"2024-11-05", "2025-03-26"})
"""Revisions that allow several messages in one body."""
_LARGEST_BATCH: Final = 100
_LAST_EVENT: Final = "last-event-id"


class LegacyLeg:
    """Serves POST, GET and DELETE of sessions."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self.sessions = Sessions(peers=kernel.peers)

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
        if isinstance(read, Request) and (mismatch := _mirrored(read, visit.headers)) is not None:
            await respond(send, 400, answer_bytes(read.id, mismatch))
            return
        match read:
            case None:
                await self._batch(visit, value, session)
            case Request():
                await self._request(visit, read, session)
            case Notification():
                self._noticed(session, read, visit.endpoint)
                await respond(send, 202)
            case Response():
                session.asks.answered(read)
                await respond(send, 202)

    async def get(self, visit: Visit) -> None:
        """The rest of a call's stream, or the session's own; a new one takes the place of one that is still open."""
        send = visit.send
        if not accepts(visit.headers)[1]:
            raise Refused(406, "this stream is text/event-stream")
        session = self._session(visit)
        header = (SESSION.encode(), session.id.encode())
        position = _position(session, visit.headers.get(_LAST_EVENT))
        if position is not None and position.stream.number != OWN:
            await position.stream.follow(send, visit.scope, position.event, header)
            return
        await self._listen(visit, session, position.event if position is not None else None)

    async def _listen(self, visit: Visit, session: Session, after: int | None) -> None:
        """Show the client what happens outside of its calls, and first what it missed."""
        send, endpoint = visit.send, visit.endpoint
        if session.listener is not None:
            session.listener.close()
        listener = Listener(endpoint.profile, endpoint.server, client=visit.client)
        if not self._kernel.listeners.add(listener):
            raise Refused(503, self._kernel.listeners.excuse)
        session.listener = listener
        self._kernel.hears(session.id)
        visit.scope[ON_DISCONNECT] = listener.close
        own, here = session.log.own(), (session.profile, session.server)
        carrier = None
        try:
            self._catch_up(session, listener)
            carrier = await own.join(send, after, (SESSION.encode(), session.id.encode()))
            await own.ping()
            while not listener.closed:
                notes = await listener.news(QUIET)
                for note in notes:
                    content = outside(note, self._kernel.table.endpoint(*here), session.asks, listener)
                    if content is not None:
                        await own.event(content)
                if not notes and not listener.closed:
                    await own.ping()
            await end_events(send)
        finally:
            self._kernel.listeners.remove(listener)
            if carrier is not None:
                own.leave(carrier)
            if session.listener is listener:
                session.listener = None
                session.heard = self._marks(session)

    def _catch_up(self, session: Session, listener: Listener) -> None:
        """Tell what changed while nobody listened."""
        if session.heard:
            for kind, mark in self._marks(session).items():
                if session.heard.get(kind) != mark:
                    listener.tell(kind)

    def _marks(self, session: Session) -> dict[str, int]:
        """What tells whether a list is another one."""
        endpoint = self._kernel.table.endpoint(session.profile, session.server)
        if endpoint is None:
            return {}
        return {
            kind: hash(tuple(endpoint.listed(method, modern=False) for method in methods))
            for kind, methods in CHANGES.items()
        }

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
        session = self.sessions.open(
            visit.client, endpoint.profile, endpoint.server, version, *introduced(request.params)
        )
        if session is None:
            raise Refused(503, exceeded("too many sessions are busy", self.sessions.most, "gateway.limits.sessions"))
        self.sessions.watch()
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
        if request.id in session.calls or len(session.calls) >= self._kernel.limits.calls:
            failure = unfit(request, session.calls, self._kernel.limits.calls)
            await respond(send, 200, answer_bytes(request.id, failure))
            return
        if request.method == SET_LEVEL:
            session.caller = leveled(session.caller, request.params)
        outcome = self._kernel.begin(request, session.caller, visit.endpoint)
        if not isinstance(outcome, Forwarded):
            await deliver(visit, request.id, outcome, taken)
            return
        session.calls[request.id] = outcome.call
        try:
            await deliver(visit, request.id, outcome, taken, session.asks, session.log)
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
            self._noticed(session, read, endpoint)
        elif isinstance(read, Response):
            session.asks.answered(read)
        if not isinstance(read, Request):
            return None
        most = self._kernel.limits.calls
        if read.id in session.calls or len(session.calls) >= most:
            return answer_bytes(read.id, unfit(read, session.calls, most))
        if read.method == SET_LEVEL:
            session.caller = leveled(session.caller, read.params)
        outcome = self._kernel.begin(read, session.caller, endpoint)
        if not isinstance(outcome, Forwarded):
            return answer_bytes(read.id, outcome)
        session.calls[read.id] = outcome.call
        try:
            return answer_bytes(read.id, outcome.shape(await outcome.call.answer()))
        finally:
            session.calls.pop(read.id, None)

    def _noticed(self, session: Session, notification: Notification, endpoint: EndpointTable) -> None:
        if notification.method == "notifications/cancelled":
            id_ = notification.params.get("requestId")
            call = session.calls.get(id_) if isinstance(id_, (int, str)) else None
            if call is not None:
                call.cancel()
        else:
            self._kernel.others.noticed(
                notification.method, notification.params, session.caller, endpoint, session.asks
            )


def _mirrored(request: Request, headers: Mapping[str, str]) -> Failure | None:
    """
    Headers of the stateless revision that say something else than the body: somebody on the way may decide by them.

    The handshake revisions know no such headers; who sends them all the same means them (basic/transports of
    2026-07-28, server validation).
    """
    method, key = headers.get(METHOD), NAMED.get(request.method)
    if method is not None and method != request.method:
        return Failure(HEADER_MISMATCH, f"the {METHOD} header does not match the body")
    name = headers.get(NAME)
    if name is not None and decode_value(name) != (request.params.get(key) if key is not None else None):
        return Failure(HEADER_MISMATCH, f"the {NAME} header does not match the body")
    return None


class NoSession(Refused):
    """A message without a session, answered as JSON-RPC where it was a request."""

    def __init__(self, status: int, failure: Failure, read: Any) -> None:
        super().__init__(status, failure.message)
        self.body = answer_bytes(read.id if isinstance(read, Request) else None, failure)


def outside(note: Note, endpoint: EndpointTable | None, asks: OpenAsks, listener: Listener) -> bytes | None:
    """One message that belongs to no call; None when there is nothing to show. One of several servers is named."""
    if not isinstance(note, Ask):
        return notification_bytes(*note)
    if note.server is not None and endpoint is not None and endpoint.server is None and len(endpoint.servers) > 1:
        with_title(note, note.server)
    return asks.show(note, listener.say)


def _position(session: Session, last_event_id: str | None) -> Position | None:
    """Where to go on; None for a stream of its own from now on. Raises `Refused` for what cannot be gone on with."""
    if last_event_id is None:
        return None
    position = session.log.find(last_event_id)
    if position is None and not last_event_id.startswith(f"{OWN}-"):
        raise Refused(400, "what came after this event id is not kept")
    return position


def _without_session(read: Any) -> Failure:
    """A request of the modern era that lacks its version header gets that era's answer."""
    if isinstance(read, Request):
        meta = read.params.get("_meta")
        if isinstance(meta, dict) and META_VERSION in meta:
            return Failure(HEADER_MISMATCH, "the mcp-protocol-version header is missing")
    return Failure(INVALID_REQUEST, "Missing session ID")


def unfit(request: Request, calls: Collection[RequestId], most: int) -> Failure:
    """Why a request cannot be taken beside those that are under way."""
    if request.id in calls:
        return Failure(INVALID_REQUEST, "its id is in use")
    return Failure(INTERNAL_ERROR, exceeded("too many requests are under way", most, "gateway.limits.calls"))


def introduced(params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What a client says in `initialize` that it can do, and who it is."""
    capabilities, info = params.get("capabilities"), params.get("clientInfo")
    return (capabilities if isinstance(capabilities, dict) else {}), (info if isinstance(info, dict) else None)
