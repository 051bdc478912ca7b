"""The stateless leg (2026-07-28): the envelope and the headers are checked on every request, nothing is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mcpcompose.gateway.bridge import without_envelope
from mcpcompose.gateway.envelope import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    UNSUPPORTED_VERSION,
    Failure,
    Malformed,
    Notification,
    Request,
    Response,
    Result,
    answer_bytes,
    message,
    parse,
)
from mcpcompose.gateway.exchange import deliver, status
from mcpcompose.gateway.kernel import Forwarded, Kernel, modern_caller
from mcpcompose.gateway.listeners import Listener
from mcpcompose.gateway.serve import ON_DISCONNECT
from mcpcompose.gateway.subscribers import LISTS, Holder
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
from mcpcompose.upstream.call import QUIET, Ask
from mcpcompose.upstream.headers import METHOD, NAME, NAMED, PROTOCOL_VERSION, decode_value
from mcpcompose.upstream.wire import (
    META_CAPABILITIES,
    META_SUBSCRIPTION,
    META_VERSION,
    MODERN_VERSIONS,
    encode,
    members,
)


def envelope_problem(request: Request, headers: Mapping[str, str] | None) -> Failure | None:
    """The first rule of the modern envelope that *request* breaks; without *headers* those of stdio."""
    meta = request.params.get("_meta")
    if not isinstance(meta, dict):
        return Failure(INVALID_PARAMS, f"`params._meta` must hold `{META_VERSION}` and `{META_CAPABILITIES}`")
    missing = [key for key in (META_VERSION, META_CAPABILITIES) if key not in meta]
    if missing:
        return Failure(INVALID_PARAMS, f"`params._meta` lacks {', '.join(f'`{key}`' for key in missing)}")
    version = meta[META_VERSION]
    if headers is not None and (problem := _header_problem(request, version, headers)) is not None:
        return problem
    if not isinstance(version, str):
        return Failure(INVALID_PARAMS, f"`{META_VERSION}` is not a string")
    return version_problem(version)


def version_problem(version: str) -> Failure | None:
    """The answer to a revision that is not known."""
    if version in MODERN_VERSIONS:
        return None
    data = {"supported": list(MODERN_VERSIONS), "requested": version}
    return Failure(UNSUPPORTED_VERSION, "Unsupported protocol version", data)


def _header_problem(request: Request, version: Any, headers: Mapping[str, str]) -> Failure | None:
    if headers.get(PROTOCOL_VERSION) is None or headers.get(PROTOCOL_VERSION) != version:
        return Failure(HEADER_MISMATCH, f"the {PROTOCOL_VERSION} header does not match the body")
    if headers.get(METHOD) != request.method:
        return Failure(HEADER_MISMATCH, f"the {METHOD} header does not match the body")
    key = NAMED.get(request.method)
    value = request.params.get(key) if key is not None else None
    if value is not None and decode_value(headers.get(NAME)) != value:
        return Failure(HEADER_MISMATCH, f"the {NAME} header does not match the body's `{key}`")
    return None


class ModernLeg:
    """Serves one POST, remembering nothing."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def serve(self, visit: Visit, body: bytes) -> None:
        """Answer the message in *body*."""
        send, headers = visit.send, visit.headers
        try:
            read = message(parse(body))
        except Malformed as error:
            await respond(send, status(error.failure), answer_bytes(error.id, error.failure))
            return
        match read:
            case Notification():
                problem = version_problem(headers.get(PROTOCOL_VERSION, ""))
                await (respond(send, 202) if problem is None else respond(send, 400, answer_bytes(None, problem)))
            case Response():
                failure = Failure(-32600, "this revision has no requests to clients")
                await respond(send, 400, answer_bytes(None, failure))
            case Request():
                await self._request(visit, read)

    async def _request(self, visit: Visit, request: Request) -> None:
        send, headers, endpoint = visit.send, visit.headers, visit.endpoint
        problem = envelope_problem(request, headers)
        if visit.twice is not None:
            problem = Failure(HEADER_MISMATCH, f"the {visit.twice} header comes more than once")
        if problem is not None:
            await respond(send, status(problem), answer_bytes(request.id, problem))
            return
        taken = accepts(headers)
        if request.method == "subscriptions/listen":
            if not taken[1]:
                raise Refused(406, "a subscription is answered as text/event-stream")
            await self._listen(visit, request)
            return
        version, meta = headers[PROTOCOL_VERSION], request.params["_meta"]
        caller = modern_caller(visit.client, endpoint.profile, endpoint.server, version, meta, headers)
        outcome = self._kernel.begin(request, caller, endpoint)
        if isinstance(outcome, Forwarded):
            visit.scope[ON_DISCONNECT] = outcome.call.cancel
        elif isinstance(outcome, Failure):
            await respond(send, status(outcome), answer_bytes(request.id, outcome))
            return
        await deliver(visit, request.id, outcome, taken)

    async def _listen(self, visit: Visit, request: Request) -> None:
        send, endpoint = visit.send, visit.endpoint
        wanted = request.params.get("notifications")
        if not isinstance(wanted, dict):
            failure = Failure(INVALID_PARAMS, "`notifications` is not an object")
            await respond(send, 400, answer_bytes(request.id, failure))
            return
        listener = Listener(endpoint.profile, endpoint.server, kinds_of(wanted), visit.client)
        if not self._kernel.listeners.add(listener):
            raise Refused(503, self._kernel.listeners.excuse)
        visit.scope[ON_DISCONNECT] = listener.close
        subscribers, holder = self._kernel.others.subscribers, Holder(visit.client, listener.say)
        try:
            honoured = await subscribers.honour(holder, wanted, endpoint, envelope_of(request.params))
            await start_events(send)
            await send_event(send, acknowledgement(request, honoured))
            while not listener.closed:
                notes = await listener.news(QUIET)
                for note in notes:
                    if not isinstance(note, Ask):
                        await send_event(send, tagged(request, *note))
                if not notes and not listener.closed:
                    await send_ping(send)
            await send_event(send, answer_bytes(request.id, listened(request)))
            await end_events(send)
        finally:
            self._kernel.listeners.remove(listener)
            subscribers.drop(holder)


def kinds_of(wanted: Mapping[str, Any]) -> frozenset[str]:
    """Our words for the lists in a subscription's filter."""
    return frozenset(kind for name, kind in LISTS.items() if wanted.get(name) is True)


def envelope_of(params: dict[str, Any]) -> Mapping[str, Any]:
    """What the client says of itself with this request."""
    return without_envelope(params)[1] or {}


def acknowledgement(request: Request, honoured: Mapping[str, Any]) -> bytes:
    """The first frame of a subscription."""
    params = {"_meta": {META_SUBSCRIPTION: request.id}, "notifications": honoured}
    return encode({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params})


def tagged(request: Request, method: str, params: bytes) -> bytes:
    """A notification, for that subscription."""
    fields = members(params) if params else {}
    meta = members(bytes(fields["_meta"])) if fields and "_meta" in fields else {}
    tag = {META_SUBSCRIPTION: request.id}
    return encode({"jsonrpc": "2.0", "method": method, "params": {**(fields or {}), "_meta": {**(meta or {}), **tag}}})


def listened(request: Request) -> Result:
    """The end of a subscription in good order."""
    return Result(encode({"resultType": "complete", "_meta": {META_SUBSCRIPTION: request.id}}))
