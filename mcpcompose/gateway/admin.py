"""
The admin API: what `ps`, `logs`, `tools call`, `down` and a second `up` say to the running gateway.

Served on a unix socket in the 0700 runtime folder, mode 0600, to processes of the same user only
(peer credentials are checked on every connection). Long actions answer with one JSON object per line.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mcpcompose.errors import FileProblems, McpComposeError
from mcpcompose.gateway.protocol import HttpProtocol
from mcpcompose.gateway.serve import Bounds, Listening, is_same_user, listen, unix_socket


class Control(Protocol):
    """
    What can be asked of a running gateway; the actions implement it.

    Streams yield JSON objects, one per line on the wire. Errors are `McpComposeError`; one raised in the
    middle of a stream ends it with the line `{"error": …}`.
    """

    async def status(self) -> Mapping[str, Any]:
        """Everything `ps` shows."""

    def apply(self, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Serve this file from now on; yields progress."""

    def down(self, request: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        """Take everything down and end; `volumes` is a flag of the request."""

    def start(self, servers: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        """Start servers; none named means all."""

    def stop(self, servers: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        """Stop servers; none named means all."""

    def restart(self, servers: Sequence[str]) -> AsyncIterator[Mapping[str, Any]]:
        """Restart servers; none named means all."""

    def logs(self, servers: Sequence[str], *, follow: bool, tail: int | None) -> AsyncIterator[Mapping[str, Any]]:
        """Lines of the servers' logs."""

    async def tools(self, profile: str | None) -> Sequence[Mapping[str, Any]]:
        """The exposed tools of a profile."""

    async def offers(self) -> Mapping[str, Any]:
        """What a lock holds of what the servers offer, by server."""

    async def withheld(self) -> Sequence[Mapping[str, Any]]:
        """What of the servers' definitions waits for a person's acceptance, where there is no lock."""

    async def accept(self, hashes: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Accept exactly these of them."""

    async def call(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """One call through the gateway's own pipeline: `tool`, `arguments`, `profile`."""

    async def sessions(self) -> Sequence[Mapping[str, Any]]:
        """The governed sessions: what each client has read, and is pinned to."""

    async def reset_session(self, client: str) -> bool:
        """End the governed session of a client; False when it has none."""

    async def token(self, client: str, *, rotate: bool) -> Mapping[str, Any]:
        """A client's token, made on first use, or another one."""


def admin_app(control: Control) -> Starlette:
    """The admin API over *control*."""
    streams = {"apply": control.apply, "down": control.down}
    servers = {"start": control.start, "stop": control.stop, "restart": control.restart}

    async def status(_request: Request) -> Response:
        return _json(await control.status())

    async def stream(request: Request) -> Response:
        return _lines(streams[_last(request)](await _body(request)))

    async def per_server(request: Request) -> Response:
        names = (await _body(request)).get("servers") or []
        return _lines(servers[_last(request)](tuple(map(str, names))))

    async def logs(request: Request) -> Response:
        query = request.query_params
        tail = query.get("tail")
        follow = query.get("follow") in {"1", "true"}
        return _lines(control.logs(query.getlist("server"), follow=follow, tail=int(tail) if tail else None))

    async def tools(request: Request) -> Response:
        return _json(await control.tools(request.query_params.get("profile")))

    async def offers(_request: Request) -> Response:
        return _json(await control.offers())

    async def call(request: Request) -> Response:
        return _json(await control.call(await _body(request)))

    async def token(request: Request) -> Response:
        body = await _body(request)
        return _json(await control.token(str(body.get("client") or "default"), rotate=body.get("rotate") is True))

    return Starlette(
        routes=[
            Route("/status", status),
            *(Route(f"/{name}", stream, methods=["POST"]) for name in streams),
            *(Route(f"/{name}", per_server, methods=["POST"]) for name in servers),
            Route("/logs", logs),
            Route("/tools", tools),
            Route("/offers", offers),
            Route("/call", call, methods=["POST"]),
            Route("/token", token, methods=["POST"]),
            *_judging(control),
        ],
        exception_handlers={McpComposeError: _refused, msgspec.MsgspecError: _malformed, ValueError: _malformed},
    )


def _judging(control: Control) -> tuple[Route, ...]:
    """What a person decides about what servers offer, and about what clients have read."""

    async def withheld(_request: Request) -> Response:
        return _json(await control.withheld())

    async def accept(request: Request) -> Response:
        return _json(await control.accept(tuple(map(str, (await _body(request)).get("hashes") or []))))

    async def sessions(_request: Request) -> Response:
        return _json(await control.sessions())

    async def reset_session(request: Request) -> Response:
        client = str((await _body(request)).get("client"))
        return _json({"client": client, "ended": await control.reset_session(client)})

    return (
        Route("/withheld", withheld),
        Route("/accept", accept, methods=["POST"]),
        Route("/sessions", sessions),
        Route("/sessions/reset", reset_session, methods=["POST"]),
    )


async def serve_admin(control: Control, path: Path) -> Listening:
    """Serve the admin API on the unix socket *path*; a leftover of a dead gateway is replaced (the lock is held)."""
    bounds = Bounds(stalled=None)  # `logs -f` may stand still in a pager
    return await listen(admin_app(control), unix_socket(path), bounds=bounds, protocol=_SameUserProtocol)


def error_object(error: McpComposeError) -> dict[str, Any]:
    """An error as JSON: enough for the other side to show it and to exit with its code."""
    fields: dict[str, Any] = {
        "type": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "exit_code": error.exit_code,
    }
    if hashes := getattr(error, "hashes", None):
        fields["hashes"] = list(hashes)
    if isinstance(error, FileProblems):
        fields["problems"] = [
            {"message": p.message, "hint": p.hint, "position": str(p.position) if p.position else None}
            for p in error.problems
        ]
    return fields


class _SameUserProtocol(HttpProtocol):
    """Closes connections of other users before a byte of theirs is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if not is_same_user(transport.get_extra_info("socket")):
            transport.abort()


def _last(request: Request) -> str:
    return request.url.path.rpartition("/")[2]


async def _body(request: Request) -> dict[str, Any]:
    content = await request.body()
    body = msgspec.json.decode(content) if content else {}
    if not isinstance(body, dict):
        raise ValueError("the body is not an object")  # noqa: TRY004  answered as any other malformed body
    return body


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def _lines(events: AsyncIterator[Mapping[str, Any]]) -> Response:
    async def lines() -> AsyncIterator[bytes]:
        try:
            async for event in events:
                yield msgspec.json.encode(event) + b"\n"
        except McpComposeError as error:
            yield msgspec.json.encode({"error": error_object(error)}) + b"\n"

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def _refused(_request: Request, error: Exception) -> Response:
    return _json({"error": error_object(cast("McpComposeError", error))}, 400)


async def _malformed(_request: Request, error: Exception) -> Response:
    return _json({"error": {"type": "UsageError", "message": str(error), "hint": None, "exit_code": 2}}, 400)
