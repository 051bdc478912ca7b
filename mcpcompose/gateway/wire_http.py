"""HTTP as the front needs it: headers read once, bodies with a cap, answers, server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

from mcpcompose.gateway.table import EndpointTable
from mcpcompose.upstream.wire import encode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

JSON: Final = b"application/json"
_BODY_SECONDS: Final = 30.0
"""How long a client may pause within a body."""
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
    headers: dict[str, str] = {}
    twice: str | None = None
    for raw_name, raw_value in scope["headers"]:
        name = raw_name.decode("latin-1")
        if name in headers:
            if name in _SINGLE or name.startswith("mcp-param-"):
                twice = name
            headers[name] += ", " + raw_value.decode("latin-1")
        else:
            headers[name] = raw_value.decode("latin-1")
    return headers, twice


async def read_body(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    """The whole body. Raises `Refused` when it is too large, too slow or broken off."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise Refused(413, f"the body is larger than {limit} bytes")
    event = await receive()
    _check_event(event)
    body: bytes = event.get("body", b"")
    if not event.get("more_body"):
        _check(body, limit)
        return body
    parts = bytearray(body)
    while event.get("more_body"):
        event = await _receive(receive)
        parts += event.get("body", b"")
        _check(parts, limit)
    return bytes(parts)


async def _receive(receive: Receive) -> MutableMapping[str, Any]:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            event = await receive()
    except TimeoutError:
        raise Refused(408, "the body did not come in time", (b"connection", b"close")) from None
    _check_event(event)
    return event


def _check_event(event: MutableMapping[str, Any]) -> None:
    if event["type"] != "http.request":
        raise Refused(400, "the body was broken off")


def _check(body: bytes | bytearray, limit: int) -> None:
    if len(body) > limit:
        raise Refused(413, f"the body is larger than {limit} bytes", (b"connection", b"close"))


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
    """Whether the client takes plain JSON, and events."""
    accept = headers.get("accept")
    if accept is None or "*/*" in accept:
        return True, True
    return "application/json" in accept or "application/*" in accept, "text/event-stream" in accept
