"""
The HTTP front: who asks, for what, in which era.

In this order: Host and Origin, the bearer token, the path, the body. Everything is decided on `scope["path"]`.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from mcpcompose.auth.tokens import DEFAULT_PROFILE, Tokens
from mcpcompose.gateway.envelope import INTERNAL_ERROR
from mcpcompose.gateway.kernel import Kernel
from mcpcompose.gateway.legacy import LegacyLeg, NoSession
from mcpcompose.gateway.modern import ModernLeg
from mcpcompose.gateway.table import EndpointTable
from mcpcompose.gateway.wire_http import (
    Receive,
    Refused,
    Scope,
    Send,
    Visit,
    accepts,
    read_body,
    read_headers,
    refuse,
    respond,
)
from mcpcompose.upstream.headers import PROTOCOL_VERSION
from mcpcompose.upstream.wire import HANDSHAKE_VERSIONS, encode

_log: Final = logging.getLogger(__name__)

_BROKEN: Final = encode(
    {"jsonrpc": "2.0", "id": None, "error": {"code": INTERNAL_ERROR, "message": "internal error of the gateway"}}
)
_PROFILE: Final = re.compile(r"/profiles/([A-Za-z0-9][A-Za-z0-9_.-]{0,63})/mcp")
_SERVER: Final = re.compile(r"/servers/([a-z][a-z0-9-]{0,23})/mcp")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
_METHODS: Final = (b"allow", b"GET, POST, DELETE")


class HttpFront:
    """The ASGI application of one project."""

    def __init__(self, kernel: Kernel, tokens: Tokens) -> None:
        self._kernel = kernel
        self._tokens = tokens
        self._legacy = LegacyLeg(kernel)
        self._modern = ModernLeg(kernel)
        self._auth = True
        self._limit = 16 << 20

    def configure(self, *, auth: bool, body_limit: int) -> None:
        """Whether a token is needed, and how large a body may be."""
        self._auth = auth
        self._limit = body_limit

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return len(self._legacy.sessions)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        try:
            await self._serve(scope, receive, send)
        except NoSession as refused:
            await respond(send, refused.status, refused.body)
        except Refused as refused:
            await refuse(send, refused)
        except Exception:  # noqa: BLE001
            # One of the three edges: a request that breaks must not take the connection's others with it.
            _log.exception("request failed")
            await respond(send, 500, _BROKEN)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers, twice = read_headers(scope)
        _check_origin(headers, twice)
        path = scope["path"]
        if path == "/health":
            await self._health(send, headers)
            return
        client, profile = self._authenticate(headers)
        visit = Visit(scope, send, headers, twice, self._endpoint(path, profile), client)
        method = scope["method"]
        if method == "POST":
            await self._post(visit, receive)
        elif method not in {"GET", "DELETE"}:
            raise Refused(405, f"`{method}` is not offered here", _METHODS)
        elif _is_modern(headers):
            raise Refused(405, "this revision has POST only", (b"allow", b"POST"))
        elif method == "GET":
            await self._legacy.get(visit)
        else:
            await self._legacy.delete(visit)

    async def _post(self, visit: Visit, receive: Receive) -> None:
        headers = visit.headers
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "the body must be application/json")
        if not any(accepts(headers)):
            raise Refused(406, "answers are application/json or text/event-stream")
        body = await read_body(receive, headers, self._limit)
        if _is_modern(headers):
            await self._modern.serve(visit, body)
        else:
            await self._legacy.post(visit, body)

    def _authenticate(self, headers: dict[str, str]) -> tuple[str, str | None]:
        """The client, and the profile it is bound to (None: any)."""
        if not self._auth:
            return "anonymous", None
        scheme, _, token = headers.get("authorization", "").partition(" ")
        found = self._tokens.check(token.strip()) if scheme.lower() == "bearer" else None
        if found is None:
            raise Refused(401, "a bearer token of this project is needed", (b"www-authenticate", b"Bearer"))
        return found

    def _endpoint(self, path: str, bound: str | None) -> EndpointTable:
        """What is not for this client is not there."""
        profile, server = bound or DEFAULT_PROFILE, None
        if match := _PROFILE.fullmatch(path):
            if bound not in {None, match[1]}:
                raise Refused(404, "not found")
            profile = match[1]
        elif match := _SERVER.fullmatch(path):
            server = match[1]
        elif path != "/mcp":
            raise Refused(404, "not found")
        endpoint = self._kernel.table.endpoint(profile, server)
        if endpoint is None:
            raise Refused(404, "not found")
        return endpoint

    async def _health(self, send: Send, headers: dict[str, str]) -> None:
        """That it lives; how the servers are only to those who may use them."""
        answer: dict[str, object] = {"status": "ok"}
        if "authorization" in headers or not self._auth:
            _, profile = self._authenticate(headers)
            endpoint = self._kernel.table.endpoint(profile or DEFAULT_PROFILE)
            if endpoint is not None:
                answer["servers"] = self._kernel.status(endpoint)
        await respond(send, 200, encode(answer))


def _check_origin(headers: dict[str, str], twice: str | None) -> None:
    """Only loopback names: a web page whose own name leads here gets nothing."""
    if twice is not None and not twice.startswith("mcp-"):
        raise Refused(400, f"the {twice} header comes more than once")
    if not _is_loopback(headers.get("host", "")):
        raise Refused(421, "this host is not served here")
    origin = headers.get("origin")
    if origin is not None:
        scheme, separator, host = origin.partition("://")
        if scheme not in {"http", "https"} or not separator or not _is_loopback(host):
            raise Refused(403, "this origin is not allowed")


def _is_loopback(host: str) -> bool:
    name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
    if not colon:
        name = host
    return name.lower() in _LOOPBACK and (not colon or port.isdigit())


def _is_modern(headers: dict[str, str]) -> bool:
    """No version header, or a handshake revision: the handshake leg. Anything else is told so by the other."""
    version = headers.get(PROTOCOL_VERSION)
    return version is not None and version not in HANDSHAKE_VERSIONS
