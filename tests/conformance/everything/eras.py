"""The server as one of one era only, as older and newer servers than a dual-era one are."""

from __future__ import annotations

import json
from typing import Any

import anyio
import mcp_types as types
from anyio.abc import ObjectReceiveStream, ObjectSendStream
from mcp.server.lowlevel.server import Server
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ERAS = ("both", "legacy", "modern")
UNSUPPORTED = "Unsupported protocol version"


async def serve_stdio(server: Server[Any], era: str) -> None:
    """Serve on the standard streams until the client closes them."""
    async with stdio_server() as (read, write):
        if era == "legacy":
            async with server.lifespan(server) as state:
                await serve_loop(server, read, write, lifespan_state=state)
            return
        if era == "both":
            await server.run(read, write, server.create_initialization_options())
            return
        send, receive = anyio.create_memory_object_stream[SessionMessage | Exception]()
        async with anyio.create_task_group() as group:
            group.start_soon(_refuse_handshakes, read, send, write)
            await server.run(receive, write, server.create_initialization_options())


async def _refuse_handshakes(
    read: ObjectReceiveStream[SessionMessage | Exception],
    onwards: ObjectSendStream[SessionMessage | Exception],
    write: ObjectSendStream[SessionMessage],
) -> None:
    async with onwards:
        async for item in read:
            message = item.message if isinstance(item, SessionMessage) else None
            if isinstance(message, types.JSONRPCRequest) and message.method == "initialize":
                asked = (message.params or {}).get("protocolVersion")
                refusal = types.JSONRPCError(jsonrpc="2.0", id=message.id, error=_unsupported(asked))
                await write.send(SessionMessage(refusal))
            else:
                await onwards.send(item)


def _unsupported(asked: Any) -> types.ErrorData:
    data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": asked}
    return types.ErrorData(code=types.UNSUPPORTED_PROTOCOL_VERSION, message=UNSUPPORTED, data=data)


class OneEra:
    """An ASGI application that turns requests of the other era away."""

    def __init__(self, app: ASGIApp, era: str) -> None:
        self.app = app
        self.era = era

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        version = dict(scope["headers"]).get(b"mcp-protocol-version", b"").decode()
        legacy = not version or version in HANDSHAKE_PROTOCOL_VERSIONS
        if legacy == (self.era == "legacy"):
            await self.app(scope, receive, send)
        elif self.era == "legacy":
            error = types.ErrorData(code=types.INVALID_REQUEST, message=f"Bad Request: {UNSUPPORTED}: {version}")
            await _answer(
                send, 400, {"jsonrpc": "2.0", "id": "server-error", "error": error.model_dump(exclude_none=True)}
            )
        elif scope["method"] == "POST":
            body = json.loads(await _body(receive))
            error = _unsupported((body.get("params") or {}).get("protocolVersion"))
            await _answer(send, 400, {"jsonrpc": "2.0", "id": body.get("id"), "error": error.model_dump()})
        else:
            await _answer(send, 405, {})


async def _body(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        part: Message = await receive()
        body += bytes(part.get("body", b""))
        if not part.get("more_body"):
            return body


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
