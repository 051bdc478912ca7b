"""HTTP as the front needs it: headers read once, bodies with a cap, answers, server-sent events."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from mcpcompose.gateway.cycle import Event, Receive, Scope, Send
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.spec.limits import exceeded, size
from mcpcompose.upstream.wire import encode

__all__ = ["Receive", "Scope", "Send"]

JSON: Final = b"application/json"
_SINGLE: Final = frozenset(
    {
        "host",
        "origin",
        "authorization",
        "content-type",
        "content-length",
        "mcp-protocol-version",
        "mcp-method",
        "mcp-name",
        "mcp-session-id",
    }
)
_KNOWN: Final = {
    name.encode(): name
    for name in (*_SINGLE, "accept", "accept-encoding", "accept-language", "connection", "user-agent", "last-event-id")
}
"""So that the names of most headers need not be read anew."""
_SSE_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]
PING: Final = b": ping\r\n\r\n"


@dataclass(slots=True)
class Visit:
    """One HTTP request that may be served: *twice* names a header that came twice though it decides something."""

    scope: Scope
    send: Send
    headers: dict[str, str]
    twice: str | None
    endpoint: EndpointTable
    client: str


class Refused(Exception):  # noqa: N818  an answer, not an event
    """Answer with this HTTP status and no more."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers


def read_headers(scope: Scope) -> tuple[dict[str, str], str | None]:
    """Headers by lowercase name, and the name of one that came twice though it decides something."""
    lines = scope["headers"]
    headers = {_KNOWN.get(name) or name.decode("latin-1"): value.decode("latin-1") for name, value in lines}
    if len(headers) == len(lines):
        return headers, None
    headers.clear()
    twice: str | None = None
    for raw_name, raw_value in lines:
        name = raw_name.decode("latin-1")
        if name in headers:
            if name in _SINGLE or name.startswith("mcp-param-"):
                twice = name
            headers[name] += ", " + raw_value.decode("latin-1")
        else:
            headers[name] = raw_value.decode("latin-1")
    return headers, twice


async def read_body(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    """The whole body. Raises `Refused` when it is too large or broken off; who is too slow is cut off before that."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    event = await receive()
    _check(event)
    body: bytes = event.get("body", b"")
    if event.get("more_body"):
        parts, length = [body], len(body)
        while event.get("more_body") and length <= limit:
            event = await receive()
            _check(event)
            parts.append(event.get("body", b""))
            length += len(parts[-1])
        body = b"".join(parts)
    if len(body) > limit:
        raise _too_large(limit)
    return body


def _check(event: Event) -> None:
    if event["type"] != "http.request":
        raise Refused(400, "the body was broken off")


def _too_large(limit: int) -> Refused:
    text = exceeded("the body is too large", size(limit), "gateway.limits.body")
    return Refused(413, text, (b"connection", b"close"))


async def respond(
    send: Send, status: int, body: bytes = b"", kind: bytes = JSON, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> None:
    """One whole answer."""
    lines = [(b"content-length", b"%d" % len(body)), *headers]
    if body:
        lines.append((b"content-type", kind))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": body})


async def refuse(send: Send, refused: Refused) -> None:
    """The answer to what is refused before any JSON-RPC is read."""
    body = encode({"error": refused.message})
    await respond(send, refused.status, body, headers=refused.headers)


async def start_events(send: Send, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Begin a stream of events."""
    await send({"type": "http.response.start", "status": 200, "headers": [*_SSE_HEADERS, *headers]})


async def send_event(send: Send, message: bytes) -> None:
    """One message as one event; bytes that came with line breaks go as several data lines."""
    if b"\n" in message or b"\r" in message:
        message = b"\r\ndata: ".join(message.splitlines())
    await send(
        {"type": "http.response.body", "body": b"event: message\r\ndata: %b\r\n\r\n" % message, "more_body": True}
    )


async def send_ping(send: Send) -> None:
    """A sign of life that no client reads."""
    await send({"type": "http.response.body", "body": PING, "more_body": True})


async def end_events(send: Send) -> None:
    """The end of a stream."""
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def accepts(headers: dict[str, str]) -> tuple[bool, bool]:
    """Whether to answer with plain JSON, and whether events may come: who names events first wants them anyway."""
    return _accepted(headers.get("accept"))


_NEVER: Final = (0.0, 0)
"""The weight of what is not taken."""


@lru_cache(maxsize=16)
def _accepted(accept: str | None) -> tuple[bool, bool]:
    if accept is None:
        return True, True
    taken: dict[str, tuple[float, int]] = {}
    for place, choice in enumerate(accept.lower().split(",")):
        kind, _, parameters = choice.partition(";")
        taken.setdefault(kind.strip(), (_weight(parameters), -place))
    anything = taken.get("*/*", _NEVER)
    json = max(taken.get("application/json", _NEVER), taken.get("application/*", _NEVER), anything)
    events = max(taken.get("text/event-stream", _NEVER), taken.get("text/*", _NEVER), anything)
    return json > _NEVER and json >= events, events > _NEVER


def _weight(parameters: str) -> float:
    """RFC 9110, section 12.4.2; what is none is 1."""
    name, _, value = parameters.partition("=")
    try:
        return min(max(float(value), 0.0), 1.0) if name.strip() == "q" else 1.0
    except ValueError:
        return 1.0
